"""The model gate's verdict as one HTML page: paired differences drawn, and the items on which the models part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.outputs.page import Safe, environment, html_page, html_text
from curate.outputs.standings import TONES, check_words, outcome_words, slice_places, task_places
from curate.outputs.worddiff import side_by_side, visible
from evals.evidence import LOCKED
from evals.flips import Flip, Flips
from evals.forest import axis_picture, described, forests, row_picture
from evals.report_facts import DECISIONS, level
from schemas.verdict import Outcome, Verdict

TEMPLATES = Path(__file__).with_name("templates")
SHOWN = 20
"""Items shown of each task and direction."""
ASKED_CHARS = 1200


def gate_page(name: str, verdict: Verdict, flips: Sequence[Flips], tested: str) -> str:
    """The page; everything that comes from a model or a row is escaped.

    Args:
        name: of the config.
        verdict: of the model gate.
        flips: of each judged task.
        tested: how often this gate was right where the truth was known, in a line.
    """
    filters = {
        "answers": _answers,
        "asked": lambda flip: Safe(visible(_cut(flip.asked))),
        "axis": axis_picture,
        "described": described,
        "picture": row_picture,
        "score": lambda score: "failed" if score is None else f"{score:g}",
        "sentence": lambda text: text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else "."),
        "standing": check_words,
        "tone": lambda standing: TONES[standing].value,
        "word": lambda outcome: outcome.value.replace("_", " "),
    }
    levels = sorted({level(check) for check in verdict.checks} - {""})
    return html_page(
        environment([TEMPLATES], html_text, filters),
        "gate.html.jinja",
        "gate.css.jinja",
        name=name,
        decision=DECISIONS[verdict.outcome],
        verdict=verdict,
        outcome=outcome_words(verdict),
        places=task_places(verdict),
        slices=slice_places(verdict),
        level=" and ".join(levels),
        forests=forests(verdict),
        flips=flips,
        shown=SHOWN,
        tested=tested,
        locked=LOCKED,
        decided=[check for check in verdict.checks if check.outcome is not Outcome.NOT_APPLICABLE],
    )


def _answers(flip: Flip) -> tuple[Safe, Safe]:
    """Both answers with their differences marked; a lock may hold none."""
    if flip.before is None:
        return Safe("<em>this lock keeps the score, not the answer</em>"), Safe(visible(_cut(flip.now)))
    return side_by_side(flip.before, flip.now)


def _cut(text: str) -> str:
    return text if len(text) <= ASKED_CHARS else f"{text[:ASKED_CHARS]}…"
