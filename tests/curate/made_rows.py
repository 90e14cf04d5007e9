"""Small files and projects for the tests of the data room."""

import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from curate.configfile import Project, load_project
from curate.dedup.index import RowIndex, grown
from curate.earlier import Earlier, index_rows
from curate.findings import one_per_row
from curate.load_supervisor import load_token_settings
from curate.readers import source_from_bytes
from curate.row_tokens import TokenSettings
from curate.rows import Corpus
from curate.rules import select_rules
from curate.rules.base import Example, FileHit, Hit, Rule
from tests.tiny_model import CHATML, write_tiny_tokenizer

WORDS = (
    "amber basket candle dragon ember falcon garden hollow island jungle kettle ladder marble needle orchard pepper "
    "quartz ribbon saddle timber umbrella velvet walnut yellow zephyr anchor bottle copper dancer engine"
).split()


def chat(question: str, answer: str, **metadata: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    }
    return row | ({"metadata": metadata} if metadata else {})


def distinct_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows of 24 words that are not alike: each draws other words in another order; labels alternate."""
    rows = []
    for k in range(start, start + count):
        words = [WORDS[(k * 7 + n * (k % 11 + 3) + n * n * (k % 5)) % len(WORDS)] + str(k * 31 + n) for n in range(24)]
        rows.append(chat(" ".join(words), "yes" if k % 3 else "no", label="yes" if k % 3 else "no", id=k))
    return rows


def lines_of(rows: list[Any]) -> bytes:
    """JSONL; bytes stand for themselves."""
    return b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows)


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_bytes(lines_of(rows))
    return path


def corpus_of(example: Example) -> Corpus:
    corpus = corpus_from(*example.lines)
    settings = settings_for(example.template, example.max_length)
    evals = corpus_from(*example.evals) if example.evals else None
    earlier = earlier_than(corpus, corpus_from(*example.earlier)) if example.earlier else None
    return replace(corpus, evals=evals, earlier=earlier, token_settings=settings)


def earlier_than(corpus: Corpus, *datasets: Corpus, exact_only: bool = False) -> Earlier:
    """The rows of a corpus beside an index of others that is in memory only."""
    index = RowIndex(())
    for dataset in datasets:
        index = grown(index, index_rows(dataset), exact_only)
    return Earlier(index, index_rows(corpus))


TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "chatml": CHATML,
    "endless": TURNS.replace("<|im_end|>", "") + ASKS,
    "started": "<|endoftext|>" + TURNS + ASKS,
    "deaf": TURNS.replace("messages %}", "messages if m.role != 'developer' %}", 1) + ASKS,
    "late": "<|im_start|>user\n{{ messages[1].content }}\n{{ messages[0].content }}<|im_end|>\n"
    "{% if messages | length > 2 %}<|im_start|>assistant\n{{ messages[2].content }}<|im_end|>\n{% endif %}" + ASKS,
    "strict": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + TURNS + ASKS,
}
"""Chat templates by what is special about them."""


@functools.cache
def settings_for(template: str | None, max_length: int | None) -> TokenSettings | None:
    if template is None:
        return load_token_settings(None, max_length)
    with tempfile.TemporaryDirectory() as folder:
        start = "<|endoftext|>" if template == "started" else None
        write_tiny_tokenizer(Path(folder), TEMPLATES[template], start=start)
        return load_token_settings(folder, max_length)


def corpus_from(*rows: Any) -> Corpus:
    return source_from_bytes(lines_of(list(rows)))


def twins(corpus: Corpus, code: str, **options: Any) -> dict[int, int | None]:
    """Row -> the representative that a rule names for it."""
    (rule,) = select_rules([code], {code: options})
    return {hit.index: hit.twin for hit in one_per_row(rule.find(corpus))}


def all_hits(rule: Rule, corpus: Corpus) -> list[Hit | FileHit]:
    return [*rule.find(corpus), *rule.find_in_files(corpus)]


def make_project(folder: Path, rows: list[Any], **sections: Any) -> Project:
    """A config beside `rows.jsonl`; sections replace those of the config."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl", rows)
    config: dict[str, Any] = {
        "name": "made",
        "data": {"sources": ["rows.jsonl"]},
        "gates": {
            "data": {"min_rows": 10, "min_supervised_tokens": 20},
            "model": {"tasks": {"made_test": {"must": "improve", "detect": 0.5}}},
        },
        "evals": {"suites": ["made_test"], "limit": None},
        "train": {"base_model": "./no-such-model"},
    } | sections
    (folder / "assay.yaml").write_text(yaml.safe_dump(config), "utf-8")
    (folder / "made_test.yaml").write_text("task: made_test\ndataset_path: dataset:test\n", "utf-8")
    return load_project(folder / "assay.yaml")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
