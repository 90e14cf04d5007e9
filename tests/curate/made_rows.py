"""Small files and projects for the tests of the data room."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from curate.configfile import Project, load_project
from curate.findings import one_per_row
from curate.readers import source_from_bytes
from curate.rows import Corpus
from curate.rules import select_rules
from curate.rules.base import Example, FileHit, Hit, Rule

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
    return replace(corpus, evals=corpus_from(*example.evals)) if example.evals else corpus


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
