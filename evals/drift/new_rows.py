"""New rows: read as an audit reads them, then treated as the dataset's own rows were, each by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from curate.keys import row_keys
from curate.pipeline import UNREADABLE
from curate.readers import read_corpus
from curate.rows import Corpus
from curate.rules.catalogue import select_rules
from curate.steps import run_steps
from evals.drift.dataset import Known
from schemas.errors import ExitCode, UserError

UNANSWERED = ("no-assistant-turn", "last-turn-not-assistant", "empty-answer", "no-trained-turn")
"""Rules that drop a row for having no answer: new rows may come without."""
LABELLED = 0.9
"""Share of rows with an answer from which on the rows are answered, and one without is a faulty one."""
NAMED = 100


class NothingNew(UserError):
    """There is no new row: nothing can be said."""

    exit_code = ExitCode.INCONCLUSIVE


@dataclass(frozen=True)
class NewRows:
    """The rows that are left, and what became of the others."""

    rows: pl.DataFrame
    """`record` (JSON, redacted and repaired), `place`, `row_id`."""
    answered: bool
    read: int
    unreadable: int
    unreadable_at: tuple[str, ...]
    """file:line of the first of them."""
    dropped_by: dict[str, int]
    """Rule -> rows."""
    changed: int
    sources: tuple[str, ...]
    """Digests of the files as they were read."""


def read_new(paths: Sequence[Path], known: Known) -> NewRows:
    """Read new rows and apply the steps of the dataset that look at a row alone.

    Args:
        paths: files.
        known: the dataset.

    Raises:
        NothingNew: no file holds a row, or none was left.
        UserError: a file cannot be opened.
    """
    whole = read_corpus(paths, kind=known.reading.get("format"), columns=known.reading.get("columns"))
    where = ", ".join(map(str, paths))[:500]
    if not whole.height:
        raise NothingNew("there is no new row", where=where, help="name files that hold rows")
    readable, faults, _ = run_steps(whole, select_rules([*UNREADABLE]))
    readable = readable.without(readable.rows.filter(pl.col("kind").is_null())["index"])
    answered = _is_answered(readable)
    rules = [rule for rule in known.rules if answered or rule.name not in UNANSWERED]
    left, ledger, _ = run_steps(readable, tuple(rules))
    unreadable_at = [_place(path, line, row) for path, line, row in faults.drops.select("path", "line", "row").rows()]
    by_rule = Counter(ledger.drops["name"].to_list())
    if answered:
        left, silent = _without_silent(left)
        by_rule.update({UNANSWERED[0]: silent} if silent else {})
    if not left.height:
        raise NothingNew(
            "no new row can be compared",
            where=where,
            found=f"{whole.height:,} rows: {whole.height - readable.height:,} unreadable; "
            + ", ".join(f"{name}: {rows:,}" for name, rows in sorted(by_rule.items())),
            help="run `assay audit` on the file to see why",
        )
    return NewRows(
        rows=_table(left),
        answered=answered,
        read=whole.height,
        unreadable=whole.height - readable.height,
        unreadable_at=tuple(unreadable_at[:NAMED]),
        dropped_by=dict(sorted(by_rule.items())),
        changed=sum(index in left.rewritten for index in left.rows["index"]),
        sources=tuple(source.sha256 for source in whole.sources),
    )


def _is_answered(corpus: Corpus) -> bool:
    return corpus.height > 0 and int(_has_answer(corpus).sum()) >= LABELLED * corpus.height


def _has_answer(corpus: Corpus) -> pl.Series:
    """Whether each row has an answer, in the order of the rows."""
    found = row_keys(corpus).select("index", has=pl.col("answer").fill_null("").str.strip_chars() != "")
    return (
        corpus.rows.select("index").join(found, on="index", how="left", maintain_order="left")["has"].fill_null(False)
    )


def _without_silent(corpus: Corpus) -> tuple[Corpus, int]:
    """Less the rows without an answer among rows that have one, and how many these are."""
    if not corpus.height:
        return corpus, 0
    silent = corpus.rows["index"].filter(~_has_answer(corpus))
    return corpus.without(silent), len(silent)


def _table(corpus: Corpus) -> pl.DataFrame:
    names = [source.path for source in corpus.sources]
    where = corpus.rows.select("source", "line", "row").rows()
    return pl.DataFrame(
        {
            "record": [orjson.dumps(record).decode() for record in corpus.records(corpus.rows)],
            "place": [_place(names[source], line, row) for source, line, row in where],
            "row_id": corpus.rows["row_id"],
        }
    )


def _place(path: str, line: int | None, row: int) -> str:
    """file:line, or which record it is where a file has no lines."""
    return f"{path}:{line}" if line is not None else f"{path}#{row}"
