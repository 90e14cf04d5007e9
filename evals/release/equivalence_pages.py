"""What the proofs of a release found, as JSON for programs, Markdown and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from curate.outputs.page import environment, html_page, html_text
from curate.outputs.standings import check_words
from evals.release.conclude import judge, summary
from evals.tables import Table, markdown_cell, markdown_lines
from schemas.atomic import write_atomic
from schemas.compare import Measured
from schemas.release import ReleasedTarget, SmokeTest
from schemas.terminal import printable_json
from schemas.verdict import Check, Outcome

TEMPLATES = Path(__file__).parents[1] / "templates"
SCHEMA = "assay/equivalence/1"
MISSING = "-"
PAGES = ("equivalence.json", "equivalence.md", "equivalence.html")
TITLES = {Outcome.PASS: "Proven equivalent", Outcome.FAIL: "Not equivalent"}
HOW = "Each export was loaded back by another path than the one that wrote it, and compared with the judged model."


def write_pages(folder: Path, name: str, proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> None:
    """Write PAGES.

    Args:
        folder: of the release.
        name: of the project.
        proven: what was exported.
        tested: the smoke test, if one was made.
    """
    record = {
        "schema": SCHEMA,
        "outcome": judge(proven, tested).value,
        "summary": summary(proven, tested),
        "targets": [target.equivalence.model_dump(mode="json") for target in proven],
        "smoke": None if tested is None else tested.model_dump(mode="json"),
    }
    written = (
        printable_json(json.dumps(record, indent=1, ensure_ascii=False)) + "\n",
        _markdown(name, proven, tested),
        _html(name, proven, tested),
    )
    for page, text in zip(PAGES, written, strict=True):
        write_atomic(folder / page, text.encode("utf-8", "backslashreplace"))


def _title(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> str:
    return TITLES.get(judge(proven, tested), "Not proven either way")


def tables(proven: Sequence[ReleasedTarget]) -> list[Table]:
    """Numbers and scores of every target, those that there are."""
    numbers = Table(
        "Token by token",
        "Differences of log-probabilities and KL divergence in nats; intervals in brackets.",
        ("target", "verdict", "sequences", "tokens", "largest difference", "KL a token", "same top token", "answers"),
        [_numbers(target) for target in proven],
    )
    scores = Table(
        "Score by task",
        "Exported minus judged model on the same items.",
        ("target", "task", "metric", "items", "judged", "exported", "difference"),
        [row for target in proven for row in _scores(target)],
    )
    return [table for table in (numbers, scores) if table.rows]


def _numbers(target: ReleasedTarget) -> tuple[str, ...]:
    found = target.equivalence
    largest = MISSING if found.max_log_p is None else f"{found.max_log_p:.3g}"
    return (
        target.name,
        _word(found.outcome),
        f"{found.sequences:,}",
        f"{found.tokens:,}",
        largest,
        _interval(found.kl, ".3g"),
        _interval(found.top_1, ".4f"),
        _interval(found.greedy, ".4f"),
    )


def _scores(target: ReleasedTarget) -> list[tuple[str, ...]]:
    return [
        (
            target.name,
            one.task,
            one.metric,
            f"{one.items:,}",
            f"{one.judged:.3f}",
            f"{one.exported:.3f}",
            _interval(one.difference, "+.3f"),
        )
        for one in target.equivalence.tasks
    ]


def _interval(found: Measured | None, form: str) -> str:
    if found is None or found.estimate is None:
        return MISSING
    if found.low is None or found.high is None:
        return f"{found.estimate:{form}}"
    return f"{found.estimate:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _markdown(name: str, proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> str:
    lines = [f"# {_title(proven, tested)}: {markdown_cell(name)}", "", f"{markdown_cell(summary(proven, tested))}.", ""]
    for table in tables(proven):
        lines += [*markdown_lines(table), ""]
    heads = ("part", "check", "outcome", "what was found", "what to do")
    rows = [_check(target.name, check) for target in proven for check in target.equivalence.checks]
    rows += [_check("smoke test", check) for check in (tested.checks if tested else ())]
    return "\n".join([*lines, *markdown_lines(Table("Checks", HOW, heads, rows))]) + "\n"


def _check(part: str, check: Check) -> tuple[str, ...]:
    passed = check.outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE)
    return part, check.name, _word(check.outcome), check.message, "" if passed else check.help


def _html(name: str, proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> str:
    filters = {"sentence": _sentence, "standing": check_words, "word": _word}
    parts = [(target.name, target.equivalence) for target in proven]
    return html_page(
        environment([TEMPLATES], html_text, filters),
        "equivalence.html.jinja",
        "equivalence.css.jinja",
        name=name,
        title=_title(proven, tested),
        outcome=judge(proven, tested),
        summary=summary(proven, tested),
        tables=tables(proven),
        parts=[*parts, *([("smoke test", tested)] if tested else [])],
    )


def _sentence(text: str) -> str:
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _word(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")
