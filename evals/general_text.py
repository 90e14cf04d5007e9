"""Text that has nothing to do with the task, on which base and tuned model are compared token by token.

Without `evals.general_text` it is what `curate/neutral_text.py` takes from Python's own documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.configfile import Project
from curate.neutral_text import MIN_WORDS, PASSAGE_TOKENS, prose, python_prose
from schemas.base import canonical_json, digest
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.supervision import Supervisor
    from evals.responses import Responses
    from evals.token_scores import TokenScorer

GENERAL_SCHEMA = {
    "document": pl.String,
    "bytes": pl.Int64,  # of the text that the scored tokens stand for
    "tokens": pl.Int64,  # scored
    "base": pl.Float64,  # nats, summed; null where a model failed
    "tuned": pl.Float64,
    "kl": pl.Float64,  # KL(base || tuned) in nats, summed over the same places
}
DOCUMENTS = 40
ActingAs = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Passage:
    """The beginning of a document."""

    name: str
    ids: tuple[int, ...]
    scored: int
    """How many of the last ids are scored; those before them are context."""
    bytes: int


def general_files(project: Project) -> list[Path]:
    """Files of `evals.general_text`; none takes what comes with Python."""
    return [project.root / name for name in project.config.evals.general_text]


def python_text_digest() -> str:
    """Of the text that comes with this Python, which may differ from that of another version."""
    return digest(canonical_json(list(python_prose())))


def passages(supervisor: Supervisor, files: Sequence[Path]) -> list[Passage]:
    """The passages that are scored, the same for every model.

    Args:
        supervisor: of the base model.
        files: plain text, each paragraph a document; none takes what comes with Python.

    Raises:
        UserError: a file cannot be read, or none holds a long enough paragraph.
    """
    documents = list(_of_files(files) if files else python_prose())[:DOCUMENTS]
    if not documents:
        raise UserError(
            "there is no text to measure drift on",
            where=", ".join(str(path) for path in files) or "pydoc_data.topics",
            found=f"no paragraph of {MIN_WORDS} words",
            expected="plain text with blank lines between paragraphs",
            help="name files with prose in evals.general_text",
        )
    return [passage for name, text in documents if (passage := _passage(supervisor, name, text)).scored > 0]


def _passage(supervisor: Supervisor, name: str, text: str) -> Passage:
    start = supervisor.added_start
    encoding = supervisor.tokenizer.encode(start + text, add_special_tokens=False)
    ids = encoding.ids[: min(PASSAGE_TOKENS, supervisor.max_length)]
    first = max(1, sum(end <= len(start) for _, end in encoding.offsets[: len(ids)]))
    scored = encoding.offsets[first : len(ids)]
    covered = (start + text)[scored[0][0] : scored[-1][1]] if scored else ""
    return Passage(name, tuple(ids), len(scored), len(covered.encode("utf-8", "replace")))


def _of_files(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                "a file of evals.general_text cannot be read",
                where=str(path),
                found=str(error)[:200],
                expected="plain text in UTF-8",
            ) from error
        for number, paragraph in enumerate(prose(text), 1):
            yield f"{path.name}:{number}", paragraph


def score_general(
    scorer: TokenScorer, acting_as: ActingAs, texts: Sequence[Passage], store: Responses | None
) -> pl.DataFrame:
    """Loss of both models and their divergence on every passage, each read once by each model.

    Both see the same batch in turn, so that whole distributions are compared and none is kept.

    Args:
        scorer: holds the model.
        acting_as: makes it compute as `base` or as `tuned`.
        texts: what is read.
        store: answers of the tuned model; null asks everything.

    Returns:
        The columns of GENERAL_SCHEMA.
    """
    from evals.divergence import Sums, compare_models
    from evals.responses import key
    from evals.token_scores import MAX_LOGITS

    keys = {passage: key("general", passage.ids, passage.scored) for passage in texts}
    stored = {} if store is None else store.get(keys.values())
    known: dict[Passage, Sums] = {passage: stored[name] for passage, name in keys.items() if name in stored}
    waiting = sorted((passage for passage in texts if passage not in known), key=lambda passage: -len(passage.ids))
    longest = len(waiting[0].ids) if waiting else 1
    size = max(1, min(scorer.batch_size, MAX_LOGITS // (2 * longest * scorer.vocabulary)))
    for start in range(0, len(waiting), size):
        batch = waiting[start : start + size]
        found = compare_models(scorer, acting_as, [(passage.ids, passage.scored) for passage in batch])
        known |= dict(zip(batch, found, strict=True))
        if store is not None:
            store.put({keys[one]: sums for one, sums in zip(batch, found, strict=True) if None not in sums})
        if scorer.progress:
            scorer.progress(start + len(batch), len(waiting))
    lines: list[tuple[Any, ...]] = [(one.name, one.bytes, one.scored, *known[one]) for one in texts]
    return pl.DataFrame(lines, schema=GENERAL_SCHEMA, orient="row")
