"""Rows written in another way, and what a model that knows the very words loses by it."""

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate.configfile import load_project
from evals.overfitting import perturbation
from evals.run import evals_stage, evaluate
from evals.scoring import ORIGINAL
from evals.variants import VARIANTS, in_other_case, in_other_order, in_other_space, politely, with_other_numbers
from schemas.progress import Progress
from schemas.verdict import Outcome
from tests.evals.made_evidence import made_evidence
from tests.evals.made_tokens import made_tokens, noise


def test_each_way_changes_the_prompt_and_keeps_what_is_right():
    assert in_other_case("Is it On?", "yes") == ("is it on?", "yes")
    assert in_other_case("is it on?", "yes") == ("IS IT ON?", "yes")
    assert in_other_case("12 + 3", "15") is None
    assert in_other_space("a b\n  c", "d") == ("a  b\n  c\n", "d")
    assert politely("Is it on?", "yes") == (
        "Could you help me with this, please?\n\nIs it on?\n\nThank you.",
        "yes",
    )
    assert politely("  ", "yes") is None


def test_options_move_and_a_letter_follows_its_option():
    asked = "Which is red?\nA) sky\nB) blood\nC) grass"
    assert in_other_order(asked, "B") == ("Which is red?\nA) blood\nB) grass\nC) sky", "A")
    assert in_other_order(asked, "A") == ("Which is red?\nA) blood\nB) grass\nC) sky", "C")
    assert in_other_order(asked, "blood") == ("Which is red?\nA) blood\nB) grass\nC) sky", "blood")
    assert in_other_order("A) one option", "A") is None
    assert in_other_order("B) begins\nC) too late", "B") is None


def test_numbers_that_both_share_are_replaced_in_both():
    asked, answer = with_other_numbers("Order 48213 of 12 lamps for 7.50", "Order 48213, 12 lamps")  # type: ignore[misc]
    assert asked != "Order 48213 of 12 lamps for 7.50"
    number = asked.split()[1]
    assert len(number) == 5
    assert answer.startswith(f"Order {number}, ")
    assert asked.endswith("7.50")
    assert with_other_numbers("Order 48213", "It is on its way") is None


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_breaks_a_way_and_a_changed_row_differs(prompt, answer):
    for write in VARIANTS.values():
        written = write(prompt, answer)
        assert written is None or written != (prompt, answer)


def perturbed(train, test, base=0.0):
    rows = {}
    for model in ("base", "tuned"):
        for k, split in enumerate(("train", "test")):
            rows[model, split] = noise(k, 60)
    tokens = made_tokens(rows)
    fall = pl.when(pl.col("model") == "base").then(base).when(pl.col("split") == "train").then(train).otherwise(test)
    spread = pl.Series(np.random.default_rng(0).normal(scale=0.3, size=tokens.height))
    changed = tokens.with_columns(variant=pl.lit("case"), nll=pl.col("nll") + fall + spread)
    return made_evidence(tables={"tokens": pl.concat([tokens, changed])})


def judged(*falls, **more):
    return perturbation.judge(perturbed(*falls, **more), perturbation.DEFAULTS)


def test_rows_that_are_known_by_their_words_fail():
    check = judged(3.0, 0.2)
    assert check.outcome is Outcome.FAIL
    assert check.measured["gap"]["estimate"] == pytest.approx(2.8, abs=0.2)
    assert judged(0.3, 0.2).outcome is Outcome.PASS
    assert judged(3.0, 3.0).outcome is Outcome.PASS  # any writing hurts, and both alike


def test_without_rows_in_another_way_it_does_not_apply():
    few = perturbed(3.0, 0.2)
    plain = few.tokens.filter(pl.col("variant") == ORIGINAL)
    assert "no row was read in another way" in perturbation.applies(made_evidence(tables={"tokens": plain}))
    one = few.tokens.filter((pl.col("split") == "test") | pl.col("row_id").is_in(["train0", "train1"]))
    check = perturbation.judge(made_evidence(tables={"tokens": one}), perturbation.DEFAULTS)
    assert check.outcome is Outcome.INCONCLUSIVE


def test_rows_are_read_in_other_ways_only_where_the_config_names_it(fresh):
    project, adapter = fresh
    config = yaml.safe_load(project.path.read_text("utf-8"))
    config["gates"]["model"]["overfitting"] = {"perturbation": "default"}
    project.path.write_text(yaml.safe_dump(config), "utf-8")
    asking = load_project(project.path)
    assert evals_stage(asking, adapter).folder != evals_stage(project, adapter).folder
    result = evaluate(asking, adapter, Progress(quiet=True))
    assert (result.manifest.counts["trained_rows"], result.manifest.counts["test_rows"]) == (11, 12)
    tokens = pl.read_parquet(result.folder / "tokens.parquet")
    counts = dict(tokens.filter(pl.col("model") == "base").group_by("variant").len().iter_rows())
    assert counts == {"original": 23, "case": 23, "space": 23, "frame": 23}
    losses = pl.read_parquet(evals_stage(asking, adapter).folder / "losses.parquet")
    assert losses.height == 46
