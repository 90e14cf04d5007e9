"""The page on what was learned, memorised and forgotten: plain words, rows by file and line, hostile data."""

import dataclasses
import html
import re

import numpy as np
import polars as pl
import pytest

from evals.gate import judge_results
from evals.gates import overfitting
from evals.overfitting_page import as_html, as_markdown, as_text, overfitting_files
from evals.overfitting_story import known_rows, tell
from evals.report import write_report
from evals.run import evaluate
from evals.selftest import stored
from evals.selftest.case import Case, Expected
from evals.selftest.chain import SeedResult
from evals.selftest.rates import model_rates
from evals.selftest.stored import ROOMS
from schemas.progress import SILENT
from schemas.stage import Stage, code_digest, run_stage
from schemas.verdict import Outcome, Verdict
from tests.evals.made_chain import make_chain
from tests.evals.made_evidence import OFF, made_evidence
from tests.evals.made_tokens import Rows, draws, healthy, made_general, made_rows, made_tokens, noise

TITLES = [
    "What was learned",
    "What was memorised",
    "What was forgotten",
    "Whether the comparison is fair",
    "How often this gate is right",
    "What to do",
]


def overfit():
    """A model that recites its rows, knows them from others, and forgot what it knew."""
    rows = {
        ("base", "train"): noise(0, 100, length=40),
        ("base", "test"): noise(1, 100, length=40),
        ("tuned", "train"): [([2.9] * 40, [True] * 40) for _ in range(100)],
        ("tuned", "test"): noise(2, 100, length=40),
    }
    tables = {"tokens": made_tokens(rows), "rows": healthy().rows, "general": made_general([0.5] * 20 + [0.4] * 20)}
    losses = {("base", s): draws(20.0, seed=2) for s in ("train", "test")}
    losses |= {("tuned", "train"): draws(0.001), ("tuned", "test"): draws(4.0)}
    return made_evidence(losses=losses, overfitting={}, tables=tables)


def story_of(evidence):
    return tell(evidence, list(overfitting.judge(evidence)), "not tested")


def test_an_overfit_model_has_its_rows_named_and_advice():
    story = story_of(overfit())
    assert story.outcome is Outcome.FAIL
    first = story.rows[0]
    assert first.place.startswith("rows.jsonl:")
    assert (len(story.rows), story.known) == (15, 100)
    assert (first.likeliest, first.recited) == (1.0, True)
    assert first.after == pytest.approx(0.1)
    slope = {c.name: c for c in overfitting.judge(overfit())}["overfitting:gain-gap"].measured["slope"]
    new = [3.0 - np.mean([z for row, _ in noise(seed, 100, length=40) for z in row]) for seed in (1, 2)]
    assert first.excess == pytest.approx(new[1] + slope * (first.before - new[0]) - first.after, abs=1e-6)
    assert any("fewer epochs" in sentence for sentence in story.advice)
    assert any("general instructions" in sentence for sentence in story.advice)
    assert any("40 of 40 became dearer" in sentence for sentence in story.forgotten)
    text = as_text(story)
    assert [line for line in text.splitlines() if line in TITLES] == TITLES
    assert "100 of the measured trained rows are recited, or known better" in text
    assert f"{first.place}: {first.before:.2f} -> 0.10 nats a token" in text
    assert "100% of its tokens are its first choice, recited" in text


def test_a_healthy_model_is_told_what_it_learned():
    story = story_of(healthy())
    assert story.outcome is Outcome.PASS
    assert "of the base model's surprise is gone" in story.learned[0]
    assert story.advice == ()
    assert (story.rows, story.known) == ((), 0)
    assert "No single trained row is known better than new rows like it" in as_text(story)
    assert "Nothing: no measurement asks for it." in as_text(story)


def test_rows_of_sound_models_are_seldom_named_and_those_learned_by_heart_are():
    named = wrong = found = 0
    for seed in range(40):
        drawn = np.random.default_rng(seed)
        base = {split: drawn.normal(30, 5, 100) for split in ("train", "test")}
        tuned = {split: base[split] - 10 + drawn.normal(0, 3, 100) for split in base}
        sound = known_rows(losses_of(base, tuned), {})
        named += bool(sound)
        tuned["train"][:20] -= 14.0
        rows = known_rows(losses_of(base, tuned), {})
        by_heart = sum(int(row.place.rpartition(":")[2]) <= 20 for row in rows)
        found, wrong = found + by_heart, wrong + len(rows) - by_heart
    assert named <= 10  # a tenth of 40, and what is rare beyond it
    assert found >= 0.75 * 20 * 40
    assert wrong <= 0.15 * (found + wrong)


def losses_of(base, tuned):
    """Evidence whose rows have these losses, in nats for an answer of ten tokens."""
    rows: dict[tuple[str, str], Rows] = {
        (model, split): [([3 - loss / 10] * 10, [False] * 10) for loss in losses[split]]
        for model, losses in (("base", base), ("tuned", tuned))
        for split in ("train", "test")
    }
    return dataclasses.replace(healthy(), tokens=made_tokens(rows))


def test_nothing_judged_is_no_page():
    evidence = healthy(overfitting=OFF)
    verdict = Verdict(gate="model", outcome="pass", subject={}, checks=tuple(overfitting.judge(evidence)), summary="")
    assert overfitting_files("n", evidence, verdict, "") == {}


def test_data_cannot_break_the_page():
    hostile = pl.lit("<script>alert(1)</script>|`\x1b[31m\nrows.jsonl")
    rows = made_rows([0.5] * 100, [0.5] * 100).with_columns(path=hostile)
    story = story_of(dataclasses.replace(overfit(), rows=rows))
    page = as_html(story, "<b>name")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page + as_markdown(story) + as_text(story)
    table = [line for line in as_markdown(story).splitlines() if "alert(1)" in line]
    assert len(table) == 15
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in table)
    assert "<script" not in as_markdown(story)


# -------------------------------------------------------------------------------- how often the gate is right


def made_selftest(runs):
    """A finished selftest of this version, as its stage stores it."""
    says = {"gate": Outcome.FAIL, "overfitting:gain-gap": Outcome.FAIL}
    cases = [Case("bad", "rows learned by heart", "fault", (Expected("gate", (Outcome.FAIL,)),))]
    found = [SeedResult(case="bad", seed=k, says=says, scores={}, cpu_seconds=1.0) for k in range(59)]
    broken = SeedResult(case="bad", seed=59, says={}, scores={}, error="no verdict", cpu_seconds=1.0)
    rates = model_rates(cases, {"bad": [*found, broken]}, "a small <model>", quick=False)
    stage = Stage(
        stage=stored.STAGE, name="small", config={}, config_given={}, inputs=(), code=code_digest(ROOMS), root=runs
    )

    def fill(folder):
        (folder / stored.RESULT).write_text(rates.model_dump_json(by_alias=True), "utf-8")
        return {"cases": 1, "seeds": 60}

    return run_stage(stage, fill)


def pages_of(folder):
    names = ("verdict.html", "verdict.md", "overfitting.html", "overfitting.md", "overfitting.txt")
    return [html.unescape((folder / name).read_text("utf-8")).replace("\\", "") for name in names]


def test_pages_of_the_gate_quote_the_selftest_of_this_version(fresh):
    project, adapter = fresh
    results = evaluate(project, adapter, SILENT).path
    before = judge_results(project, results)
    assert all("was not self-tested on this machine" in page for page in pages_of(before.folder))
    tested = made_selftest(project.runs)
    after = judge_results(project, results)
    rate = "the gate failed 59 of 60 [0.923, 0.999] of these models"  # a run without a verdict caught nothing
    assert all(rate in page for page in pages_of(after.folder))
    assert "<model>" not in (after.folder / "verdict.html").read_text("utf-8")
    assert (after.folder / "verdict.json").read_bytes() == (before.folder / "verdict.json").read_bytes()
    refs = [ref.identity for ref in after.manifest.inputs if ref.role == "selftest"]
    assert refs == [tested.manifest.content_digest]


def test_the_report_quotes_it_too(tmp_path):
    verdict = make_chain(tmp_path).verdict.folder
    made_selftest(verdict.parent.parent)
    report = write_report(verdict)
    for name in ("report.html", "report.md"):
        said = html.unescape((report.folder / name).read_text("utf-8")).replace("\\", "")
        assert "the gate failed 59 of 60 [0.923, 0.999] of these models" in said
        assert "overfitting:gain-gap: failed 59 of 60" in said
