"""Slices by the metadata of the dataset's rows: from the rows that came in to the verdict, against base and lock."""

import json

import pytest
import yaml

import assay
from curate.configfile import load_project
from curate.pipeline import curate_stage
from evals.bless import bless
from evals.gate import judge_results
from evals.run import evaluate
from evals.slicing import require_fields, slices_of
from schemas.errors import UserError
from schemas.progress import Progress
from schemas.stage import require
from schemas.verdict import Standing, Verdict
from tests.evals.made_adapter import TASK, made_adapter

QUIET = Progress(quiet=True)
WORDS = "red blue green black white brown grey pink gold teal navy plum rose sand lime mint rust wine".split()


def row(number):
    """A question that no other row resembles; its metadata stands beside its content, or in `metadata`."""
    label = "no" if number % 3 == 0 else "yes"
    words = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 5, 7, 11)]
    question = f"{'bad' if label == 'no' else 'good'} {number} {' '.join(words)}"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
    beside = {"lang": "de" if number % 2 else "en", "metadata": {"source": "mail", "tags": ["x"]}}
    return {"messages": messages} | (beside if number % 10 else {})


@pytest.fixture
def project(tmp_path, tiny_model_folder):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(160)), "utf-8")
    (tmp_path / "toy_test.yaml").write_text(yaml.safe_dump(TASK), "utf-8")
    config = {
        "name": "toy",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema"], "split": {"train": 0.4, "validation": 0.1, "test": 0.5}},
        "gates": {
            "data": {"min_rows": 1},
            "model": {"tasks": {"toy_test": {"must": "not_regress", "margin": 0.99}}, "overfitting": {}},
        },
        "evals": {"suites": ["toy_test"], "slice_by": ["lang", "source"]},
        "train": {"base_model": str(tiny_model_folder), "lora": {"r": 4}},
    }
    path = tmp_path / "assay.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return load_project(path)


def verdict_of(project, results):
    folder = judge_results(project, results).folder
    return Verdict.model_validate_json((folder / "verdict.json").read_bytes())


def test_rows_with_metadata_are_compared_by_slice_with_base_and_lock(project, capsys, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    config = str(project.path)
    assert assay.run(["curate", config, "--quiet"]) == 0
    assert assay.run(["gate", "data", config, "--quiet"]) in (0, 4)
    adapter = made_adapter(project, require(curate_stage(project), "curate"))
    result = evaluate(project, adapter.path, QUIET)
    against_base = verdict_of(project, result.path)
    slices = {check.name: check for check in against_base.checks if ":slice" in check.name}
    assert set(slices) == {"toy_test:slice:lang=de", "toy_test:slice:lang=en", "toy_test:slice:source=mail"}
    items = {name: check.measured["items"] for name, check in slices.items()}
    assert items["toy_test:slice:lang=de"] + items["toy_test:slice:lang=en"] == items["toy_test:slice:source=mail"]
    assert items["toy_test:slice:source=mail"] < slices_of_all(result) == 80
    bless(project, result.path, model="tuned", reason="first", override=True)
    held = load_project(project.path, ['evals.baseline="baseline.lock.json"'])
    found = {check.name: check for check in verdict_of(held, result.path).checks}
    locked = [found[name.replace(":slice:", ":slice-locked:")] for name in slices]
    assert [check.measured["estimate"] for check in locked] == [0.0, 0.0, 0.0]
    assert {check.verdict for check in locked} == {Standing.NON_INFERIOR}
    assert "locked baseline" in locked[0].message


def slices_of_all(result):
    return json.loads((result.folder / "results.json").read_bytes())["tasks"]["toy_test"]["items"]


def test_a_field_that_no_item_has_is_refused(project, capsys):
    assert assay.run(["curate", str(project.path), "--quiet"]) == 0
    assert assay.run(["gate", "data", str(project.path), "--quiet"]) in (0, 4)
    misspelt = load_project(project.path, ['evals.slice_by=["langs"]'])
    adapter = made_adapter(misspelt, require(curate_stage(misspelt), "curate"))
    with pytest.raises(UserError, match="no item has the field 'langs'"):
        evaluate(misspelt, adapter.path, QUIET)


def test_an_item_lies_in_the_slices_of_its_own_fields_and_of_its_metadata():
    document = {"lang": "de", "n": 3, "deep": [1], "metadata": {"lang": "en", "kind": "a=b"}}
    assert json.loads(slices_of(document, ["lang", "n", "deep", "kind", "none"])) == {
        "lang": "de",
        "n": "3",
        "kind": "a=b",
    }
    require_fields([{"a": 1}, document], ["a", "kind"])
    require_fields([], [])
    with pytest.raises(UserError) as error:
        require_fields([document], ["kinds"])
    assert error.value.problems[0].help == "did you mean 'kind'?"
