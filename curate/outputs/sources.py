"""What each file was taken for, and what a search for files left out."""

from __future__ import annotations

from typing import Any

from curate.audit import Audit
from curate.rows import Corpus
from schemas.terminal import printable

FILES_SHOWN = 8
SKIPPED_SHOWN = 5
SHAPE_WORDS = {
    "chat": "chat (messages)",
    "sharegpt": "chat (ShareGPT)",
    "openai-batch": "chat (OpenAI batch)",
    "alpaca": "instructions (Alpaca)",
    "prompt-completion": "prompt and completion",
    "preference": "preference pairs",
    "openai-preference": "preference pairs (OpenAI)",
    "kto": "feedback (KTO)",
    "reward": "prompts with a reference",
    "text": "plain text",
}


def detected(audit: Audit) -> list[dict[str, Any]]:
    """What each file was taken for: `path`, `format`, `split`, `within`, `rows`, and `shapes` with their counts.

    A row without a known shape counts as `unreadable`.
    """
    return [
        {"path": s.path, "format": s.format, "split": s.split, "within": s.within, "rows": s.rows, "shapes": shapes}
        for s, shapes in zip(audit.corpus.sources, audit.shapes, strict=True)
    ]


def source_line(found: dict[str, Any]) -> str:
    """One line on a file: its rows, format and shapes, as `rows.jsonl: 3 rows of chat (messages), jsonl`."""
    shapes = found["shapes"]
    named = [name for name in shapes if name != "unreadable"]
    said = [
        SHAPE_WORDS.get(name, name) if len(shapes) == 1 else f"{shapes[name]:,} {SHAPE_WORDS.get(name, name)}"
        for name in named
    ]
    said += [f"{shapes['unreadable']:,} of no known shape"] if "unreadable" in shapes else []
    of = " of " if len(shapes) == 1 and named else ": " if said else ""
    where = f" {found['within']}" if found["within"] else ""
    split = f", split {found['split']}" if found["split"] else ""
    line = f"{found['path']}: {_rows(found['rows'])}{of}{', '.join(said)}, {found['format']}{where}{split}"
    return printable(line) + (" (shapes are mixed)" if len(named) > 1 else "")


def files_read(audit: Audit) -> list[str]:
    """A line for each file, and one for those beyond FILES_SHOWN."""
    found = detected(audit)
    lines = [source_line(source) for source in found[:FILES_SHOWN]]
    if rest := found[FILES_SHOWN:]:
        more = f"and {len(rest):,} more file{'s' if len(rest) != 1 else ''}"
        lines.append(f"{more}: {_rows(sum(source['rows'] for source in rest))}")
    return lines


def eval_lines(numbers: dict[str, Any]) -> list[str]:
    """A line on each eval set: its items, those that rows hold and how much of them, and those that nobody compared.

    Args:
        numbers: of `Audit.eval_sets`.
    """
    lines = []
    for entry in numbers.get("eval_sets", ()):
        held = ", ".join(f"{count:,} {grade}" for grade, count in entry["items_hit"].items() if count)
        aside = {"not compared": entry["not_compared"], "compared as a whole only": entry["compared_as_a_whole_only"]}
        said = [f"in the rows: {held or 'none'}", *(f"{count:,} {what}" for what, count in aside.items() if count)]
        lines.append(printable(f"eval set {entry['eval_set']}: {entry['items']:,} items; {'; '.join(said)}"))
    if unread := numbers.get("eval_records_unread"):
        lines.append(f"of the eval files {unread:,} records could not be read: nobody knows whether the rows hold them")
    return lines


def skipped_lines(corpus: Corpus) -> list[str]:
    """What the search for files left out, and why; a few by name, the others counted."""
    shown = [f"not read: {path} ({why})" for path, why in list(corpus.skipped.items())[:SKIPPED_SHOWN]]
    more = len(corpus.skipped) - len(shown)
    return [printable(line) for line in shown] + ([f"not read: {more:,} more"] if more else [])


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
