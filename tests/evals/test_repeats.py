"""Several answers to one item: each is scored, and they are one item all the same."""

import polars as pl

from evals.evidence import read_evidence
from evals.run import evaluate
from tests.evals.made_adapter import made_project
from tests.evals.test_harness import GENERATE, QUIET

DRAWN = {"until": ["<|im_end|>"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 2}


def test_samples_of_an_item_are_scored_each_and_averaged_inside_it(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task={**GENERATE, "generation_kwargs": DRAWN, "repeats": 3})
    result = evaluate(project, adapter, QUIET)
    items = pl.read_parquet(result.folder / "items.parquet")
    count = items.filter(pl.col("model") == "tuned")["item_id"].n_unique()
    for model in ("base", "tuned"):
        answers = items.filter(pl.col("model") == model)
        assert answers.height == 3 * count
        assert answers["sample"].unique().sort().to_list() == [0, 1, 2]
        assert answers.select("item_id", "prediction").n_unique() > count
    assert items.filter(pl.col("model") == "majority").height == count
    evidence = read_evidence(result.folder, project.config.gates.model, 0)
    assert {score.items for score in evidence.results.scores} == {count}
    assert evidence.compare("toy_test", "base").interval.items == count
