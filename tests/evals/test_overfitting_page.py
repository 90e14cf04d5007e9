"""The page on what was learned, memorised and forgotten: plain words, rows by file and line, hostile data."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from evals.gates import overfitting
from evals.overfitting_page import as_html, as_markdown, as_text, overfitting_files
from evals.overfitting_story import tell
from schemas.verdict import Outcome, Verdict
from tests.evals.made_evidence import OFF, made_evidence
from tests.evals.made_tokens import draws, healthy, made_general, made_rows, made_tokens, noise

TITLES = [
    "What was learned",
    "What was memorised",
    "What was forgotten",
    "Whether the comparison is fair",
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
    return tell(evidence, list(overfitting.judge(evidence)))


def test_an_overfit_model_has_its_rows_named_and_advice():
    story = story_of(overfit())
    assert story.outcome is Outcome.FAIL
    first = story.rows[0]
    assert first.place.startswith("rows.jsonl:")
    assert len(story.rows) == 15
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
    assert f"{first.place}: {first.before:.2f} -> 0.10 nats a token" in text
    assert "100% of its tokens are its first choice, recited" in text


def test_a_healthy_model_is_told_what_it_learned():
    story = story_of(healthy())
    assert story.outcome is Outcome.PASS
    assert "of the base model's surprise is gone" in story.learned[0]
    assert story.advice == ()
    assert "Nothing: no measurement asks for it." in as_text(story)


def test_nothing_judged_is_no_page():
    evidence = healthy(overfitting=OFF)
    verdict = Verdict(gate="model", outcome="pass", subject={}, checks=tuple(overfitting.judge(evidence)), summary="")
    assert overfitting_files("n", evidence, verdict) == {}


def test_data_cannot_break_the_page():
    hostile = pl.lit("<script>alert(1)</script>|`\x1b[31m\nrows.jsonl")
    rows = made_rows([0.5] * 100, [0.5] * 100).with_columns(path=hostile)
    story = story_of(dataclasses.replace(overfit(), rows=rows))
    html = as_html(story, "<b>name")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html + as_markdown(story) + as_text(story)
    table = [line for line in as_markdown(story).splitlines() if "alert(1)" in line]
    assert len(table) == 15
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in table)
    assert "<script" not in as_markdown(story)
