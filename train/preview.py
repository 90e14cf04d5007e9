"""What training would receive, before it does: some rows token by token, and the count of all of them.

Needs tokenizers and jinja2, no torch and no transformers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from curate.configfile import Project
from curate.load_supervisor import load_supervisor
from curate.model_files import BUNDLED, find_tokenizer_folder, local_folder
from curate.supervision import Supervised, SupervisionError
from schemas.errors import UserError
from schemas.manifest import open_stage
from schemas.progress import SILENT, Progress
from train.base_model import ensure_base_model
from train.examples import Encoded, Example, TokenLedger, encode_rows, examples_of
from train.rows import SplitRow, choose_rows, read_split
from train.token_texts import TokenReader, TokenText

TRAINED = "train"
LONGEST = 3
NAMES = {"dpo": ("chosen", "rejected"), "reward": ("chosen", "rejected"), "grpo": ("prompt",)}
"""What the sequences of one row are called where they are not just the row."""
UNANSWERED = ("no-assistant-turn", "no-supervised-token")
"""Reasons for which a row has no supervised token."""


@dataclass(frozen=True)
class ShownSequence:
    """One sequence of a row, with the texts of its tokens."""

    name: str
    """chosen, rejected, prompt, or `piece 1 of 3`; empty where the row is the sequence."""
    tokens: Supervised
    texts: list[TokenText]


@dataclass(frozen=True)
class ShownRow:
    """One row as the trainer receives it."""

    row: SplitRow
    sequences: tuple[ShownSequence, ...]
    refused: SupervisionError | None
    """Why it cannot be trained; then there are no sequences."""
    chosen: bool
    """Whether it is among the rows that `train.max_examples` takes."""
    end_of_turn_supervised: bool = False
    """Whether what is trained ends in a token that tells the model to stop."""

    def total(self, count: Callable[[Supervised], int]) -> int:
        """The sum of a count over all sequences."""
        return sum(count(sequence.tokens) for sequence in self.sequences)


@dataclass(frozen=True)
class SplitLedger:
    """All rows of the split, counted."""

    rows_in: int
    rows_not_chosen: int
    """Rows that `train.max_examples` leaves out."""
    refused: dict[str, int]
    """Reason -> rows that cannot be trained for it; `assay train` starts only if there are none."""
    trained: TokenLedger
    """The rows that can be trained."""
    lengths: list[int]
    """Tokens of every example, ascending."""
    longest: list[tuple[SplitRow, int]]
    """The longest rows with their tokens."""

    @property
    def rows_refused(self) -> int:
        """Rows that cannot be trained."""
        return sum(self.refused.values())

    @property
    def rows_without_supervised_token(self) -> int:
        """Rows that cannot be trained because nothing in them would carry loss."""
        return sum(self.refused.get(reason, 0) for reason in UNANSWERED)

    def quantile(self, share: float) -> int:
        """The length that this share of the examples does not exceed (nearest rank)."""
        return self.lengths[max(0, math.ceil(share * len(self.lengths)) - 1)] if self.lengths else 0


@dataclass(frozen=True)
class Preview:
    """What `assay preview` shows."""

    source: str
    """The dataset or the file."""
    split: str
    """Empty for a file."""
    method: str
    base_model: str
    max_length: int
    rows: list[ShownRow]
    matching: int
    """Rows that fit what was asked for; more than are shown where there are many."""
    unreadable: int
    """Rows of a file that are no training record of any known kind."""
    ledger: SplitLedger


@dataclass(frozen=True)
class Wanted:
    """Which rows are shown."""

    rows: int = 5
    row_ids: tuple[str, ...] = ()
    """Row ids or their beginnings; then `rows` does not count."""
    only: str | None = None
    """truncated, refused or no-end-of-turn; null for all."""


def preview_dataset(
    project: Project, manifest: Path, split: str, wanted: Wanted, progress: Progress = SILENT
) -> Preview:
    """Preview one split of a curated dataset.

    Args:
        project: the config.
        manifest: of the dataset.
        split: train, validation or test. Of train, the rows that `train.max_examples` takes.
        wanted: which rows are shown.
        progress: told what is being done.

    Raises:
        ManifestError: the dataset does not hash to its manifest.
        UserError: the split is missing or empty, a row id is unknown, or the base model has no tokenizer here or no
            chat template.
    """
    _, folder = open_stage(manifest, "curate")
    rows = read_split(folder, split)
    if not rows:
        raise UserError(
            f"the {split} split is empty",
            where=str(folder / "data" / f"{split}.parquet"),
            found="0 rows",
            help="look at dropped.parquet beside it, or change curate.split",
        )
    limit = project.config.train.max_examples if split == TRAINED else None
    chosen = choose_rows(rows, limit, project.config.train.seed)
    return _preview(project, str(folder), split, _Found(rows, chosen), wanted, progress)


def preview_file(project: Project, path: Path, wanted: Wanted, progress: Progress = SILENT) -> Preview:
    """Preview the rows of a file as they are, before `assay curate` repairs, drops and splits them.

    Args:
        project: the config; its `data.columns` and `data.format` hold for the file too.
        path: the file, in any format that `assay curate` reads.
        wanted: which rows are shown.
        progress: told what is being done.

    Raises:
        UserError: as for `preview_dataset`, or the file cannot be read or holds no training record.
    """
    from curate.export import wire
    from curate.readers.read import read_corpus
    from curate.structure import shaped_rows

    data = project.config.data
    corpus = read_corpus([path], kind=data.format, columns=data.columns, memory_mb=data.memory_mb)
    known = corpus.rows.filter(corpus.rows["kind"].is_not_null())
    keys = dict(zip(known["index"], known.select("row_id", "line").iter_rows(), strict=True))
    rows = [
        SplitRow(keys[index][0], None, index, str(path), keys[index][1], wire(shaped))
        for index, shaped in shaped_rows(corpus, known)
    ]
    unreadable = corpus.height - len(rows)
    if not rows:
        raise UserError(
            "the file holds no row that can be trained",
            where=str(path),
            found=f"{unreadable} rows of no known kind" if unreadable else "0 rows",
            expected="conversations, texts, preferences or answers with a label",
            help="`assay audit` says what each row is missing",
        )
    return _preview(project, str(path), "", _Found(rows, rows, unreadable), wanted, progress)


class _Found(NamedTuple):
    rows: list[SplitRow]
    chosen: list[SplitRow]
    """Those of them that would be trained."""
    unreadable: int = 0


def _preview(
    project: Project,
    source: str,
    split: str,
    found: _Found,
    wanted: Wanted,
    progress: Progress,
) -> Preview:
    """Encode the chosen rows and those that were asked for, count the former and show some."""
    rows, chosen = found.rows, found.chosen
    config = project.config.train
    supervisor = load_supervisor(
        _tokenizer_folder(config.base_model, project.root), config.max_length, needs_template=config.method != "text"
    )
    named = _named(rows, wanted.row_ids)
    progress.begin(f"tokens of {len(chosen):,} rows")
    encoded = encode_rows(supervisor, chosen, config)
    examples = examples_of(supervisor, chosen, encoded, config)
    by_id = dict(zip((id(row) for row in chosen), encoded, strict=True))
    if named:
        others = [row for row in named if id(row) not in by_id]
        extra = dict(zip((id(row) for row in others), encode_rows(supervisor, others, config), strict=True))
        candidates = [(row, {**by_id, **extra}[id(row)]) for row in named]
    else:
        candidates = list(zip(chosen, encoded, strict=True))
    matching = [
        (row, item) for row, item in candidates if wanted.only is None or _fits(item, wanted.only, config.method)
    ]
    reader = TokenReader(supervisor.tokenizer, supervisor.eos_token_id)
    shown = matching if named else matching[: wanted.rows]
    return Preview(
        source=source,
        split=split,
        method=config.method,
        base_model=config.base_model,
        max_length=config.max_length,
        rows=[_shown(row, item, config.method, id(row) in by_id, reader) for row, item in shown],
        matching=len(matching),
        unreadable=found.unreadable,
        ledger=_ledger(rows, chosen, encoded, examples),
    )


def _tokenizer_folder(name: str, root: Path) -> Path:
    folder = find_tokenizer_folder(name, root)
    if folder is not None:
        return folder
    if name in BUNDLED:
        return ensure_base_model(name, root)  # converted once, which is the only thing here that takes torch
    local = local_folder(name, root)
    raise UserError(
        "the base model's tokenizer is not on this machine",
        where="train.base_model",
        found=name if local is None else str(local),
        expected="a bundled model, a model in the hub's cache, or a folder with tokenizer.json",
        help=f"`assay train` fetches a model from the hub; a bundled one needs none: {', '.join(BUNDLED)}"
        if local is None
        else "correct the path; no weights are needed for a preview",
    )


def _named(rows: Sequence[SplitRow], wanted: Sequence[str]) -> list[SplitRow]:
    """The rows whose ids were asked for, each once, in the order of the question.

    Raises:
        UserError: no row, or more than one, has an id that begins so.
    """
    chosen: dict[int, SplitRow] = {}
    for name in wanted:
        found = [row for row in rows if row.row_id == name] or [row for row in rows if row.row_id.startswith(name)]
        ids = {row.row_id for row in found}
        if len(ids) != 1:
            raise UserError(
                "no row has this id" if not ids else "several rows have ids that begin so",
                where="--row",
                found=name if not ids else f"{name}: {', '.join(sorted(ids)[:5])}{', …' if len(ids) > 5 else ''}",
                expected="the id of a row of this split, or how it begins",
                help="`assay preview` and `assay audit --format json` print the ids",
            )
        chosen |= {id(row): row for row in found}
    return list(chosen.values())


def _fits(item: Encoded, only: str, method: str) -> bool:
    if isinstance(item, SupervisionError):
        return only == "refused"
    if only == "truncated":
        return any(sequence.truncated_tokens for sequence in item)
    return only == "no-end-of-turn" and not _ends(item, method)


def _ends(sequences: Sequence[Supervised], method: str) -> bool:
    """Whether a row's answers end in a supervised end of turn; of a text in pieces, whether the last one does."""
    return all(sequence.end_of_turn_supervised for sequence in (sequences[-1:] if method == "text" else sequences))


def _shown(row: SplitRow, item: Encoded, method: str, chosen: bool, reader: TokenReader) -> ShownRow:
    if isinstance(item, SupervisionError):
        return ShownRow(row, (), item, chosen)
    names = NAMES.get(method) or ("",)
    if method == "text" and len(item) > 1:
        names = tuple(f"piece {k + 1} of {len(item)}" for k in range(len(item)))
    sequences = [
        ShownSequence(name, tokens, reader.read(tokens.input_ids, _breaks(tokens)))
        for name, tokens in zip(names, item, strict=True)
    ]
    return ShownRow(row, tuple(sequences), None, chosen, _ends(item, method))


def _breaks(tokens: Supervised) -> list[int]:
    """Where the loss begins or ends, and where tokens were cut."""
    mask = tokens.supervised
    return [k for k in range(1, len(mask)) if mask[k] != mask[k - 1]] + [place for place, _ in tokens.cuts]


def _ledger(
    rows: Sequence[SplitRow], chosen: Sequence[SplitRow], encoded: Sequence[Encoded], examples: Sequence[Example]
) -> SplitLedger:
    by_row: Counter[int] = Counter()
    for example in examples:
        by_row[example.row] += example.tokens
    return SplitLedger(
        rows_in=len(rows),
        rows_not_chosen=len(rows) - len(chosen),
        refused=dict(Counter(item.reason for item in encoded if isinstance(item, SupervisionError)).most_common()),
        trained=TokenLedger.of(examples),
        lengths=sorted(len(sequence.input_ids) for example in examples for sequence in example.sequences),
        longest=[(chosen[k], count) for k, count in by_row.most_common(LONGEST)],
    )
