"""What a selftest found, as text for a terminal, as Markdown and as one HTML page, all of the same tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.outputs.page import environment, html_page, html_text
from evals.selftest.case import GATE
from evals.selftest.data_rates import MAX_ALARMS as MAX_ROW_ALARMS
from evals.selftest.data_rates import MIN_RECALL, DataRates
from evals.selftest.rates import MAX_ALARMS, MEASUREMENTS, MIN_DETECTION, CaseRates, ModelRates, Rate, Spread
from evals.tables import Table, markdown_cell, markdown_lines, text_lines
from schemas.terminal import printable
from schemas.verdict import Outcome

TEMPLATES = Path(__file__).parents[1] / "templates"
DECISIONS = {
    Outcome.PASS: "The gates can be trusted as far as was asked",
    Outcome.FAIL: "A gate is not what it should be",
    Outcome.INCONCLUSIVE: "Too few trials to say",
}
INTERVAL = "In brackets the Clopper-Pearson interval; each end alone holds with 95%."
SHOWN_SEEDS = 20


@dataclass(frozen=True)
class Page:
    """What is shown, in any form."""

    title: str
    outcome: Outcome
    summary: str
    tables: tuple[Table, ...]

    @property
    def decision(self) -> str:
        """The outcome in a few plain words."""
        return DECISIONS[self.outcome]


def shown(rate: Rate | None) -> str:
    """Hits of trials with the interval."""
    if rate is None or not rate.trials:
        return "-"
    return f"{rate.hits} of {rate.trials} [{rate.low:.3f}, {rate.high:.3f}]"


# ----------------------------------------------------------------------------------------------------- model gates


def model_page(rates: ModelRates) -> Page:
    """The page of the model gates."""
    return Page(
        title=f"selftest of the model gate on {rates.base_model}, {rates.seeds} seeds",
        outcome=rates.outcome,
        summary=_model_summary(rates),
        tables=(_cases(rates), _outcomes(rates), _measurements(rates), _effects(rates), _misses(rates)),
    )


def _model_summary(rates: ModelRates) -> str:
    asked = f"asked: each fault caught in at least {MIN_DETECTION:g} of seeds, alarms in at most {MAX_ALARMS:g}"
    by_outcome = {
        word: [case.name for case in rates.cases if case.outcome is outcome]
        for outcome, word in ((Outcome.FAIL, "not met by"), (Outcome.INCONCLUSIVE, "not decided for"))
    }
    said = "; ".join(f"{word} {', '.join(names)}" for word, names in by_outcome.items() if names)
    quick = ". A quick run: its intervals are wide, and it says nothing about 0.95" if rates.quick else ""
    return f"{asked}; {said or 'met by all cases'}{quick}"


def _cases(rates: ModelRates) -> Table:
    rows = [
        (
            case.name,
            case.what,
            "; ".join(case.expected),
            shown(case.as_expected),
            shown(case.alarmed),
            case.outcome.value,
        )
        for case in rates.cases
    ]
    heads = ("case", "what was planted", "what must be said", "it was", "false alarms", "outcome")
    return Table("Planted models", INTERVAL, heads, rows)


def _outcomes(rates: ModelRates) -> Table:
    checks = sorted({check for case in rates.cases for check in case.says}, key=lambda name: (name != GATE, name))
    rows = [(check, *(_counts(case, check) for case in rates.cases)) for check in checks]
    rows.append(("score of base, of tuned", *(_scores(case) for case in rates.cases)))
    return Table(
        "What each check said",
        "Seeds by outcome: p pass, f fail, i inconclusive, n not applicable.",
        ("check", *(case.name for case in rates.cases)),
        rows,
    )


def _counts(case: CaseRates, check: str) -> str:
    return " ".join(f"{outcome[0]}{count}" for outcome, count in case.says.get(check, {}).items()) or "-"


def _scores(case: CaseRates) -> str:
    return ", ".join(f"{case.scores[model]:.2f}" for model in ("base", "tuned") if model in case.scores)


def _measurements(rates: ModelRates) -> Table:
    names = sorted({*rates.detection, *rates.false_alarms}, key=lambda name: (name != GATE, name))
    rows = [(name, shown(rates.detection.get(name)), shown(rates.false_alarms.get(name))) for name in names]
    note = (
        f"How often a check failed on all planted faults together, and on sound models; {GATE} is the whole verdict, "
        f"whose false alarms count models that should pass. A measurement need not see every fault. {INTERVAL}"
    )
    return Table("Detection and false alarms", note, ("check", "detection", "false alarms"), rows)


def _effects(rates: ModelRates) -> Table:
    bounds = {name: spread.bound for case in rates.cases for name, spread in case.effects.items()}
    cells = {name: tuple(_spread(case.effects.get(name)) for case in rates.cases) for name in bounds}
    rows = [(name.removeprefix(MEASUREMENTS), f"{bounds[name]:g}", *cells[name]) for name in sorted(bounds)]
    note = (
        "The median over the seeds, in brackets what a twentieth of them is below and above. A bound is well chosen "
        "where sound models stay below it and planted faults above."
    )
    heads = ("effect", "bound", *(f"{case.name} ({case.kind})" for case in rates.cases))
    return Table("Effects and their bounds", note, heads, rows)


def _spread(spread: Spread | None) -> str:
    return f"{spread.median:.3f} [{spread.low:.3f}, {spread.high:.3f}]" if spread else "-"


def _misses(rates: ModelRates) -> Table:
    rows = []
    for case in rates.cases:
        seeds = ", ".join(map(str, case.missed[:SHOWN_SEEDS])) + (", ..." if len(case.missed) > SHOWN_SEEDS else "")
        rows.append((case.name, seeds or "none", "; ".join(dict.fromkeys(case.errors.values())) or "-"))
    again = "`assay selftest model --cases CASE --first-seed N --seeds 1` runs one again"
    note = f"Seeds in which not all that must be said was said; {again}."
    return Table("Misses", note, ("case", "seeds", "errors"), rows)


# ------------------------------------------------------------------------------------------------------ data gates


def data_page(rates: DataRates) -> Page:
    """The page of the data gates."""
    left = f"; {rates.left_out:,} more cannot be read or are not in the sample" if rates.left_out else ""
    return Page(
        title=f"selftest of the data gates on a copy of {rates.rows:,} rows{left}",
        outcome=rates.outcome,
        summary=f"asked of each kind: at least {MIN_RECALL:g} of the planted rows found, alarms on at most "
        f"{MAX_ROW_ALARMS:g} of the others; {_data_summary(rates)}",
        tables=(_kinds(rates), _edits(rates)),
    )


def _data_summary(rates: DataRates) -> str:
    missed = [kind.name for kind in rates.kinds if kind.outcome is not Outcome.PASS]
    return f"not shown for {', '.join(missed)}" if missed else "met by all kinds"


def _kinds(rates: DataRates) -> Table:
    rows = [
        (
            kind.name,
            kind.what,
            shown(kind.found),
            shown(kind.precision),
            shown(kind.false_alarms),
            f"{kind.untouched:,}",
            kind.outcome.value,
        )
        for kind in rates.kinds
    ]
    heads = ("kind", "what was planted", "recall", "precision", "false alarms", "in the data as it is", "outcome")
    return Table("Planted rows", INTERVAL, heads, rows)


def _edits(rates: DataRates) -> Table:
    rows = [(kind.name, edit.name, shown(edit.found)) for kind in rates.kinds for edit in kind.edits]
    return Table("By way of planting", "", ("kind", "way", "recall"), rows)


# ----------------------------------------------------------------------------------------------------------- forms


def as_text(page: Page) -> str:
    """For a terminal."""
    lines = [printable(f"{page.decision}: {page.title}"), printable(page.summary)]
    for table in page.tables:
        lines += ["", *text_lines(table)]
    return "".join(f"{line}\n" for line in lines)


def as_markdown(page: Page) -> str:
    """GitHub-flavoured Markdown."""
    lines = [f"# {page.decision}", "", f"{markdown_cell(page.title)}. {markdown_cell(page.summary)}."]
    for table in page.tables:
        lines += ["", *markdown_lines(table)]
    return "\n".join(lines) + "\n"


def as_html(page: Page) -> str:
    """One page without scripts or requests."""
    return html_page(environment([TEMPLATES], html_text, {}), "selftest.html.jinja", "selftest.css.jinja", shown=page)


MODEL_FORMS: dict[str, Callable[[ModelRates], str]] = {
    "txt": lambda rates: as_text(model_page(rates)),
    "md": lambda rates: as_markdown(model_page(rates)),
    "html": lambda rates: as_html(model_page(rates)),
}
DATA_FORMS: dict[str, Callable[[DataRates], str]] = {
    "txt": lambda rates: as_text(data_page(rates)),
    "md": lambda rates: as_markdown(data_page(rates)),
    "html": lambda rates: as_html(data_page(rates)),
}
"""Suffix of a file -> how it is written."""
