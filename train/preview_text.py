"""The preview as text: what carries loss in colour, or between brackets where there are no colours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rich.cells import cell_len

from schemas.terminal import NO_SCREEN, Screen, printable
from train.preview import Preview, ShownRow, ShownSequence, SplitLedger
from train.rows import SplitRow
from train.token_texts import TokenText

LOSS, LOSS_END = "⟦", "⟧"
CUT = "✂"
LINE_BREAK, TAB, SPACE = "⏎", "⇥", "␣"
MARKS = frozenset((LOSS, LOSS_END, CUT, LINE_BREAK, TAB, SPACE))
"""Signs of ours; where a row has one itself, its escape is shown."""
GUTTER = "  │ "
EXCERPT = 200
SHOWN_TEXTS = 400
"""Texts shown of each sequence, and SHOWN_PIECES of the sequences of a row, unless all are asked for."""
SHOWN_PIECES = 3
NOTES = {
    "grpo": "the prompt carries no loss: answers are drawn, and rewarded",
    "reward": "a reward model gives one score at the last token; marked is the answer that is judged",
}


class Piece(NamedTuple):
    """Text in one style."""

    text: str
    styles: tuple[str, ...] = ()


def render(preview: Preview, limit: int | None = None, screen: Screen | None = None) -> str:
    """The preview as text.

    Args:
        preview: what is shown.
        limit: tokens shown of each sequence; null for 400, 0 for all.
        screen: the terminal that it goes to: gives colours, and the width at which lines are broken.
    """
    page = screen or NO_SCREEN
    lines = [*_heading(preview, page), ""]
    for shown in preview.rows:
        lines += [*_row(shown, preview, SHOWN_TEXTS if limit is None else limit, screen), ""]
    if not preview.matching:
        lines += ["no row fits what was asked for", ""]
    if preview.matching > len(preview.rows):
        more = f"… {counted(preview.matching - len(preview.rows), 'more row')} (--rows N, --row ID)"
        lines += [page.paint(more, "dim"), ""]
    return "\n".join([*lines, *ledger_lines(preview, page)]) + "\n"


def _heading(preview: Preview, page: Screen) -> list[str]:
    what = f"{preview.split} split of {preview.source}" if preview.split else f"rows of {preview.source}"
    settings = f"method {preview.method}, model {preview.base_model}, at most {preview.max_length:,} tokens a sequence"
    sample = page.paint("coloured", "green", "bold") if page.colour else f"{LOSS}between brackets{LOSS_END}"
    lines = [page.paint(printable(what), "bold"), printable(settings)]
    if preview.method != "grpo":
        lines.append(f"what carries loss is {sample}; {CUT} tokens cut to fit, {LINE_BREAK} line break, {SPACE} space")
    if preview.method in NOTES:
        lines.append(NOTES[preview.method])
    return lines


def _row(shown: ShownRow, preview: Preview, limit: int, screen: Screen | None) -> list[str]:
    page = screen or NO_SCREEN
    title = page.paint(printable(shown.row.place), "bold") + page.paint(f"  {printable(shown.row.row_id)}", "dim")
    lines = [title, *(f"  {line}" for line in row_facts(shown, preview.method))]
    if shown.refused is not None:
        lines[1:] = [f"  {page.paint(line, 'red')}" for line in refusal_lines(shown)]
        return [*lines, *_laid_out([Piece(excerpt(shown.row), ("dim",))], screen)]
    for sequence in shown.sequences[:SHOWN_PIECES] if limit else shown.sequences:
        if sequence.name:
            lines.append(f"  {page.paint(sequence.name, 'cyan')}  {sequence_facts(sequence, preview.method)}")
        for part in shown_parts(sequence, limit):
            if isinstance(part, str):
                lines.append(page.paint(f"  {part}", "dim"))
            else:
                lines += _laid_out(_pieces(sequence, part, page), screen)
    left_out = pieces_left_out(shown, limit)
    return [*lines, page.paint(f"  {left_out}", "dim")] if left_out else lines


def pieces_left_out(shown: ShownRow, limit: int) -> str:
    """How many pieces of a long text are not shown, if any."""
    left = shown.sequences[SHOWN_PIECES:] if limit else ()
    tokens = sum(len(sequence.tokens.input_ids) for sequence in left)
    return (
        f"… {counted(len(left), 'more piece')}, {tokens:,} tokens, not shown (--max-tokens 0 shows all)" if left else ""
    )


def excerpt(row: SplitRow) -> str:
    """The beginning of a row's JSON, on one line."""
    text = json.dumps(row.record, ensure_ascii=False)
    return printable(text[:EXCERPT]) + ("…" if len(text) > EXCERPT else "")


def refusal_lines(shown: ShownRow) -> list[str]:
    """Why a row cannot be trained, and what to do."""
    error = shown.refused
    if error is None:
        return []
    problem = error.problems[0]
    lines = [f"cannot be trained ({error.reason}): {printable(problem.what)}"]
    lines += [f"found {printable(problem.found)}"] if problem.found else []
    return lines + ([f"help: {printable(problem.help)}"] if problem.help else [])


def row_facts(shown: ShownRow, method: str) -> Iterator[str]:
    """What is said of a row beside its tokens."""
    if not shown.chosen:
        yield "not trained: train.max_examples takes other rows"
    record = shown.row.record
    if method == "kto":
        yield f"label: {'good' if record.get('label') else 'bad'} answer"
    if method == "grpo":
        text = record["reference"]
        text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        yield f"reference: {printable(text[:EXCERPT])}{'…' if len(text) > EXCERPT else ''}"
    if len(shown.sequences) == 1 and not shown.sequences[0].name:
        yield sequence_facts(shown.sequences[0], method)


def sequence_facts(sequence: ShownSequence, method: str) -> str:
    """The numbers of one sequence."""
    tokens = sequence.tokens
    said = [counted(len(tokens.input_ids), "token")]
    if method != "grpo":
        said.append(f"{tokens.supervised_tokens:,} supervised")
    if tokens.truncated_tokens:
        turns = ", ".join(map(str, tokens.truncated_turns))
        said.append(f"{tokens.truncated_tokens:,} cut from message {turns}")
    if method not in ("grpo", "text"):
        said.append(f"end of turn {'supervised' if tokens.end_of_turn_supervised else 'NOT supervised'}")
    return ", ".join(said)


def shown_parts(sequence: ShownSequence, limit: int) -> Iterator[list[TokenText] | str]:
    """The texts to show of a sequence, and in words what is left out between them.

    Args:
        sequence: of a row.
        limit: most texts; 0 for all.
    """
    texts = sequence.texts
    if not limit or len(texts) <= limit:
        yield texts
        return
    start, stop = limit - limit // 2, len(texts) - limit // 2
    first, last = texts[start].first, texts[stop].first if stop < len(texts) else len(sequence.tokens.input_ids)
    supervised = sum(sequence.tokens.supervised[first:last])
    cut = sum(count for place, count in sequence.tokens.cuts if first <= place < last)
    yield texts[:start]
    yield (
        f"… {last - first:,} tokens, {supervised:,} of them supervised, not shown"
        f"{f'; {cut:,} more were cut among them' if cut else ''} (--max-tokens 0 shows all)"
    )
    if stop < len(texts):
        yield texts[stop:]


# --------------------------------------------------------------------------------------------------- tokens to lines


def _pieces(sequence: ShownSequence, texts: list[TokenText], page: Screen) -> list[Piece]:
    """Styled text; supervised stretches stand between brackets where there are no colours."""
    mask, cuts = sequence.tokens.supervised, dict(sequence.tokens.cuts)
    made: list[Piece] = []
    inside = False
    for text, said in zip(texts, visible_texts(texts), strict=True):
        supervised = mask[text.first]
        if not page.colour and supervised != inside:
            made.append(Piece(LOSS if supervised else LOSS_END))
        inside = supervised
        if text.first in cuts:
            made.append(Piece(f"{CUT}{cuts[text.first]:,}{CUT}", ("yellow", "bold")))
        made.append(Piece(said, _styles(text, supervised)))
    return [*made, Piece(LOSS_END)] if inside and not page.colour else made


def _styles(text: TokenText, supervised: bool) -> tuple[str, ...]:
    if supervised:
        return ("green", "bold") if text.special else ("green",)
    return ("blue",) if text.special else ("dim",)


def visible_texts(texts: list[TokenText]) -> list[str]:
    """Each text with what a reader would not see made visible; a line break stays one, behind its mark.

    A space is marked where it is easily overlooked: beside another one, at the ends of a line, beside a special token.
    """
    made = []
    for k, text in enumerate(texts):
        before = "\n" if k == 0 or texts[k - 1].special else texts[k - 1].text[-1:]
        after = "\n" if k + 1 == len(texts) or texts[k + 1].special else texts[k + 1].text[:1]
        around = f"{before or ' '}{text.text}{after or ' '}"
        signs = zip(around, text.text, around[2:], strict=False)
        made.append(printable(text.text) if text.special else "".join(_visible(*sign) for sign in signs))
    return made


def _visible(before: str, char: str, after: str) -> str:
    if char == " ":
        return SPACE if before in BLANKS or after in BLANKS else char
    if char in MARKS:
        return char.encode("unicode_escape").decode("ascii")
    return {"\n": f"{LINE_BREAK}\n", "\t": TAB}.get(char) or printable(char)


BLANKS = frozenset(" \t\n")


def _laid_out(pieces: Iterable[Piece], screen: Screen | None) -> list[str]:
    """Lines behind the gutter, broken where the row breaks them and where the terminal ends."""
    page = screen or NO_SCREEN
    room = max(screen.columns - len(GUTTER) - 1, 16) if screen else 1 << 30
    gutter = page.paint(GUTTER, "dim")
    lines, line, used = [], "", 0
    for piece in pieces:
        for k, part in enumerate(piece.text.split("\n")):
            if k:
                lines.append(gutter + line)
                line, used = "", 0
            for run, starts in _fitted(part, room, used):
                if starts:
                    lines.append(gutter + line)
                    line, used = "", 0
                line += page.paint(run, *piece.styles)
                used += cell_len(run)
    return [*lines, gutter + line] if line else lines


def _fitted(text: str, room: int, used: int) -> Iterator[tuple[str, bool]]:
    """A text in runs that fit into the cells of a line, and whether a run starts a new line."""
    if used + cell_len(text) <= room:
        yield text, False
        return
    run, starts = "", False
    for char in text:
        if used + cell_len(run + char) > room and (run or used):
            if run:
                yield run, starts
            run, used, starts = "", 0, True
        run += char
    yield run, starts


# --------------------------------------------------------------------------------------------------------- the ledger


def counted(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def ledger_facts(preview: Preview) -> list[tuple[str, str]]:
    """What the ledger says, as (name, value)."""
    ledger, trained = preview.ledger, preview.ledger.trained
    facts = [("rows in", f"{ledger.rows_in:,}")]
    if ledger.rows_not_chosen:
        facts.append(("rows not chosen", f"{ledger.rows_not_chosen:,} (train.max_examples)"))
    if preview.unreadable:
        facts.append(("rows of no known kind", f"{preview.unreadable:,} (assay audit names them)"))
    facts.append(("rows that can be trained", f"{trained.rows:,}"))
    if trained.examples != trained.rows:
        facts.append(("pieces", f"{trained.examples:,}"))
    facts.append(("rows that cannot be trained", _refused(ledger)))
    facts.append(("tokens", f"{trained.tokens:,}"))
    if preview.method != "grpo":
        share = f" ({trained.supervised_tokens / trained.tokens:.3f} of all)" if trained.tokens else ""
        facts.append(("tokens supervised", f"{trained.supervised_tokens:,}{share}"))
        facts.append(("rows with no supervised token", f"{ledger.rows_without_supervised_token:,}"))
        ends = f"{trained.rows_with_end_of_turn:,} of {counted(trained.rows, 'row')}"
        facts.append(("end of turn supervised" if preview.method != "text" else "end of text supervised", ends))
    facts.append(("tokens cut to fit", f"{trained.truncated_tokens:,} in {counted(trained.truncated_rows, 'row')}"))
    spread = [f"{ledger.quantile(share):,} {name}" for name, share in (("least", 0), ("median", 0.5), ("p95", 0.95))]
    facts.append(("tokens a sequence", ", ".join([*spread, f"{ledger.quantile(1):,} most"])))
    longest = ", ".join(f"{row.place} {row.row_id[:12]} ({count:,})" for row, count in ledger.longest)
    facts.append(("longest rows", longest or "none"))
    return facts


def _refused(ledger: SplitLedger) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in ledger.refused.items())
    return f"{ledger.rows_refused:,}" + (f" ({reasons}); assay train refuses them" if reasons else "")


def ledger_lines(preview: Preview, page: Screen) -> list[str]:
    """The ledger, one fact a line."""
    facts = ledger_facts(preview)
    width = max(len(name) for name, _ in facts)
    lines = [page.paint("ledger" + (f" of the {preview.split} split" if preview.split else ""), "bold")]
    for name, value in facts:
        bad = name == "rows that cannot be trained" and preview.ledger.rows_refused
        said = page.paint(printable(value), "red") if bad else printable(value)
        lines.append(f"  {name:<{width}}  {said}")
    return lines
