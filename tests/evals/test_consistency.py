"""A verdict rests on files that agree with each other; digests alone do not show that an item was taken out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from evals.evidence import read_evidence
from evals.gate import judge_results
from schemas.config import ModelGateConfig
from schemas.errors import ManifestError
from schemas.manifest import list_files, read_manifest, write_manifest

CONDITIONS = ModelGateConfig(tasks={"toy_test": {"must": "improve", "detect": 0.2}})
TUNED, BASE, FIRST = pl.col("model") == "tuned", pl.col("model") == "base", pl.col("position") == 0
Edit = Callable[[pl.DataFrame], pl.DataFrame]


def scored(who: pl.Expr, score: float | None) -> Edit:
    """The items of some models with another score."""
    value = pl.lit(score, dtype=pl.Float64)
    return lambda items: items.with_columns(score=pl.when(who).then(value).otherwise(pl.col("score")))


ITEM_EDITS: dict[str, tuple[Edit, str]] = {
    "an item of one model gone": (lambda t: t.filter(~(TUNED & FIRST)), "11 items in items.parquet"),
    "an item of all models gone": (lambda t: t.filter(~FIRST), "11 items in items.parquet"),
    "an item twice": (lambda t: pl.concat([t, t.filter(FIRST)]), "more than once"),
    "an item in place of another": (
        lambda t: t.with_columns(item_id=pl.when(TUNED & FIRST).then(pl.lit("t1x")).otherwise("item_id")),
        "13 items in items.parquet, results.json says 12",
    ),
    "all right": (scored(TUNED, 1.0), "its items have the mean 1.000000"),
    "all base wrong": (scored(BASE, 0.0), "its items have the mean 0.000000"),
    "not a number": (scored(TUNED & FIRST, float("nan")), "1 items without a score, results.json says 0"),
    "infinite": (scored(TUNED & FIRST, float("inf")), "1 items without a score"),
    "null": (scored(BASE & FIRST, None), "1 items without a score"),
    "a reference gone": (lambda t: t.filter(pl.col("model") != "majority"), "majority: not in items.parquet"),
    "a model more": (lambda t: pl.concat([t, t.filter(BASE).with_columns(model=pl.lit("x"))]), "x: not in results"),
    "nothing": (lambda t: t.head(0), "not in items.parquet"),
    "scores as text": (lambda t: t.with_columns(pl.col("score").cast(pl.String)), "score is String"),
    "no cluster": (lambda t: t.with_columns(cluster=pl.lit(None, dtype=pl.Int64)), "cluster is null"),
    "a column gone": (lambda t: t.drop("cluster"), "no cluster"),
}
LOSS_EDITS: dict[str, tuple[Edit, str]] = {
    "a row gone": (lambda t: t.filter(~(TUNED & (pl.col("row_id") == "t0"))), "loss of tuned on test"),
    "a split gone": (lambda t: t.filter(pl.col("split") == "train"), "loss of base on test: None"),
    "rows twice": (lambda t: pl.concat([t, t]), "more than once"),
    "negative": (lambda t: t.with_columns(nll=pl.lit(-5.0)), "negative"),
    "smaller": (lambda t: t.with_columns(nll=pl.col("nll") * 0.99), "loss of base on test"),
    "not a number": (lambda t: t.with_columns(nll=pl.lit(float("nan"))), "loss of base on test: None"),
    "as text": (lambda t: t.with_columns(nll=pl.lit("x")), "nll is String"),
}


@pytest.fixture
def copied(done, tmp_path) -> Path:
    folder: Path = shutil.copytree(done[2].folder, tmp_path / "results")
    return folder


def edit(folder: Path, name: str, change: Edit) -> None:
    change(pl.read_parquet(folder / name)).write_parquet(folder / name)


def test_an_evaluation_agrees_with_itself(copied):
    assert read_evidence(copied, CONDITIONS, 0).has("toy_test", "tuned")


def test_the_order_of_rows_does_not_matter(copied):
    for name in ("items.parquet", "losses.parquet"):
        edit(copied, name, lambda table: table.reverse())
    assert read_evidence(copied, CONDITIONS, 0).has("toy_test", "tuned")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        pytest.param(file, *edits[name], id=name)
        for file, edits in (("items.parquet", ITEM_EDITS), ("losses.parquet", LOSS_EDITS))
        for name in edits
    ],
)
def test_edited_results_are_refused(copied, file, change, said):
    edit(copied, file, change)
    with pytest.raises(ManifestError) as caught:
        read_evidence(copied, CONDITIONS, 0)
    assert said in caught.value.problems[0].found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda results: results["tasks"].clear(), "results.json says 12 and None"),
        (lambda results: results["tasks"]["toy_test"].update(higher_is_better=False), "other metrics"),
        (lambda results: results["scores"].pop(), "not in results.json"),
        (lambda results: results["losses"].clear(), "results.json says None"),
    ],
    ids=["no task", "another direction", "a score gone", "no losses"],
)
def test_an_edited_summary_is_refused(copied, change, said):
    path = copied / "results.json"
    results = json.loads(path.read_bytes())
    change(results)
    path.write_text(json.dumps(results), "utf-8")
    with pytest.raises(ManifestError, match="do not agree") as caught:
        read_evidence(copied, CONDITIONS, 0)
    assert said in caught.value.problems[0].found


@pytest.mark.parametrize("name", ["tokens.parquet", "rows.parquet", "general.parquet"])
def test_tables_of_tokens_rows_and_neutral_text_are_those_that_were_written(copied, name):
    edit(copied, name, lambda table: table.head(table.height - 1))
    with pytest.raises(ManifestError, match="do not agree") as caught:
        read_evidence(copied, CONDITIONS, 0)
    assert f"{name} is not the one" in caught.value.problems[0].found
    (copied / name).unlink()
    with pytest.raises(ManifestError, match="the results cannot be read"):
        read_evidence(copied, CONDITIONS, 0)


def test_a_manifest_that_was_written_again_does_not_help(done, tmp_path):
    project, _, result = done
    shutil.copytree(project.runs, tmp_path / "runs")
    folder = tmp_path / "runs" / "evals" / result.folder.name
    edit(folder, "items.parquet", scored(TUNED, 1.0))
    manifest = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, manifest.model_copy(update={"files": list_files(folder)}))
    with pytest.raises(ManifestError, match="do not agree with each other"):
        judge_results(project, folder)
