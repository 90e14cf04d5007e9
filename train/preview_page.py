"""The preview as one self-contained HTML page: each token with its id, no script, no request, everything escaped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from curate.outputs.page import Safe, environment, html_page, html_text
from curate.outputs.worddiff import visible
from train.preview import Preview, ShownRow, ShownSequence
from train.preview_text import (
    NOTES,
    SHOWN_PIECES,
    SHOWN_TEXTS,
    counted,
    excerpt,
    ledger_facts,
    pieces_left_out,
    refusal_lines,
    row_facts,
    sequence_facts,
    shown_parts,
    visible_texts,
)
from train.token_texts import TokenText

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class SequenceHtml:
    """One sequence as the page shows it."""

    name: str
    facts: str
    parts: list[Safe | str]
    """Tokens as markup, and in words what is left out between them."""


@dataclass(frozen=True)
class RowHtml:
    """One row as the page shows it."""

    place: str
    row_id: str
    facts: list[str]
    refused: list[str]
    excerpt: str
    sequences: list[SequenceHtml]
    left_out: str


def render(preview: Preview, limit: int | None = None) -> str:
    """The page.

    Args:
        preview: what is shown.
        limit: tokens shown of each sequence; null for 400, 0 for all.
    """
    limit = SHOWN_TEXTS if limit is None else limit
    templates = environment(
        [TEMPLATES], html_text, {"count": "{:,}".format, "counted": counted, "is_markup": _is_markup}
    )
    return html_page(
        templates,
        "preview.html.jinja",
        "preview.css.jinja",
        preview=preview,
        ledger=preview.ledger,
        facts=ledger_facts(preview),
        rows=[_row(shown, preview.method, limit) for shown in preview.rows],
        more=preview.matching - len(preview.rows),
        note=NOTES.get(preview.method, ""),
    )


def _row(shown: ShownRow, method: str, limit: int) -> RowHtml:
    return RowHtml(
        place=shown.row.place,
        row_id=shown.row.row_id,
        facts=list(row_facts(shown, method)),
        refused=refusal_lines(shown),
        excerpt=excerpt(shown.row) if shown.refused else "",
        sequences=[
            _sequence(sequence, method, limit) for sequence in shown.sequences[: SHOWN_PIECES if limit else None]
        ],
        left_out=pieces_left_out(shown, limit),
    )


def _sequence(sequence: ShownSequence, method: str, limit: int) -> SequenceHtml:
    parts = [part if isinstance(part, str) else _tokens(sequence, part) for part in shown_parts(sequence, limit)]
    return SequenceHtml(sequence.name, sequence_facts(sequence, method), parts)


def _tokens(sequence: ShownSequence, texts: list[TokenText]) -> Safe:
    """A span for each text, its title saying the index and the ids of its tokens."""
    mask, cuts = sequence.tokens.supervised, dict(sequence.tokens.cuts)
    made = []
    for text, said in zip(texts, visible_texts(texts), strict=True):
        if text.first in cuts:
            count = f"{cuts[text.first]:,}"
            made.append(f'<span class="cut" title="{count} tokens cut here, so that the row fits">✂{count}✂</span>')
        kinds = " ".join(name for name, so in (("loss", mask[text.first]), ("special", text.special)) if so)
        ids = ", ".join(map(str, text.ids))
        told = f"token {text.first}, id {ids}: {text.text}" + ("; carries loss" if mask[text.first] else "; no loss")
        made.append(f'<span class="{kinds or "context"}" title="{html_text(told)}">{visible(said)}</span>')
    return Safe("".join(made))


def _is_markup(part: str) -> bool:
    return isinstance(part, Safe)
