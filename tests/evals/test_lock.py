"""The baseline lock: who may write it, what it holds, and how the gate judges by it."""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import assay
import evals.bless
from evals.bless import bless
from evals.evidence import read_evidence
from evals.flips import find_flips
from evals.gate import judge_results
from evals.lock import circumstances, read_lock, with_lock
from evals.run import evaluate
from schemas.errors import UserError
from schemas.lock import body_digest
from schemas.manifest import open_stage
from schemas.progress import Progress
from schemas.verdict import Outcome, Verdict
from tests.evals.made_adapter import made_project
from tests.evals.made_evidence import OFF

LENIENT = {"gates.model.tasks.toy_test": {"must": "not_regress", "margin": 0.99}, "gates.model.overfitting": OFF}
REASON = "the first model that shipped"


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def judged(done, tmp_path, tiny_model_folder):
    """A project of its own with a finished evaluation, and conditions that it passes."""
    project, _, result = done
    root = tmp_path / "project"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("gate-model", "responses"))
    made_project(root, tiny_model_folder)
    return project_in(root), root / "runs" / "evals" / result.folder.name


def project_in(root, **more):
    from curate.configfile import load_project

    overrides = [f"{name}={json.dumps(value)}" for name, value in (LENIENT | more).items()]
    return load_project(root / "assay.yaml", overrides)


def verdict_of(project, results):
    finished = judge_results(project, results)
    return Verdict.model_validate_json((finished.folder / "verdict.json").read_bytes())


def outcomes(verdict):
    deciding = [check for check in verdict.checks if check.outcome is not Outcome.NOT_APPLICABLE]
    return {check.name: check.outcome for check in deciding}


def blessed(project, results):
    judge_results(project, results)
    return bless(project, results, model="tuned", reason=REASON, override=False)


# ----------------------------------------------------------------------------------------------------- who may bless


def test_a_model_that_passes_becomes_the_baseline(judged):
    project, results = judged
    with pytest.raises(UserError, match="may not become the baseline") as refused:
        bless(project, results, model="tuned", reason=REASON, override=False)
    assert "no verdict of the model gate without a lock" in refused.value.problems[0].found
    done = blessed(project, results)
    assert done.path == project.root / "baseline.lock.json"
    lock = read_lock(done.path)
    assert lock == done.lock
    assert (lock.blessing.reason, lock.blessing.model, lock.blessing.override) == (REASON, "tuned", None)
    assert set(lock.blessing.weights) == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    manifest, _ = open_stage(results, "evals")
    assert lock.blessing.results == manifest.content_digest
    assert lock.looks == (manifest.content_digest[:16],)
    assert len(lock.tasks["toy_test"].items) == 12
    assert done.path.read_bytes() == lock.to_bytes()
    assert done.path.read_text().count("\n") < 80


def test_a_model_that_failed_is_blessed_with_an_override_that_is_recorded(judged):
    _, results = judged
    strict = project_in(results.parents[2], **{"gates.model.tasks.toy_test.margin": 0.001})
    assert verdict_of(strict, results).outcome is Outcome.INCONCLUSIVE
    with pytest.raises(UserError) as refused:
        bless(strict, results, model="tuned", reason=REASON, override=False)
    assert "the verdict without a lock is inconclusive" in refused.value.problems[0].found
    assert not (strict.root / "baseline.lock.json").exists()
    lock = bless(strict, results, model="tuned", reason=REASON, override=True).lock
    assert (lock.blessing.override or "").startswith("the verdict without a lock is inconclusive: ")
    assert lock.blessing.verdict is None


def test_the_base_model_needs_no_verdict_unless_it_replaces_another(judged):
    project, results = judged
    first = bless(project, results, model="base", reason="as it came", override=True).lock
    assert (first.blessing.model, first.blessing.weights, first.blessing.override) == ("base", {}, None)
    with pytest.raises(UserError) as refused:
        bless(project, results, model="base", reason="as it came", override=False)
    assert refused.value.problems[0].found == "the base model replaces the model that is locked"


@pytest.mark.parametrize("reason", ["", "  \n\t", "x" * 1001, "bytes \udcff of another encoding"])
def test_a_reason_is_asked_for(judged, reason):
    with pytest.raises(UserError, match="a baseline needs a reason"):
        bless(*judged, model="tuned", reason=reason, override=True)


def test_every_evaluation_of_the_same_rows_counts_as_a_look(judged):
    project, results = judged
    (adapter,) = project.runs.glob("train/*/manifest.json")
    fewer = project_in(project.root, **{"evals.limit": 6})
    evaluate(fewer, adapter, Progress(quiet=True))
    first = blessed(project, results).lock
    assert len(first.looks) == 2
    for folder in project.runs.glob("evals/*"):
        if folder != results:
            shutil.rmtree(folder)
    assert bless(project, results, model="tuned", reason=REASON, override=True).lock.looks == first.looks


def test_blessing_reads_a_verdict_and_never_makes_one():
    tree = ast.parse(Path(evals.bless.__file__).read_text("utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "evals.gate"]
    assert [name.name for node in taken for name in node.names] == ["model_gate_stage"]


@pytest.mark.parametrize(("ci", "refused"), [("true", True), ("1", True), ("woodpecker", True), ("false", False)])
def test_ci_never_blesses(judged, monkeypatch, ci, refused):
    project, results = judged
    monkeypatch.setenv("CI", ci)
    if refused:
        with pytest.raises(UserError, match="not blessed in CI"):
            bless(project, results, model="tuned", reason=REASON, override=True)
    else:
        bless(project, results, model="tuned", reason=REASON, override=True)
    assert (project.root / "baseline.lock.json").exists() is not refused


def test_the_command_line(judged, capsys):
    project, results = judged
    words = ["bless", str(project.path), "--results", str(results)]
    for name, value in LENIENT.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    assert assay.run(words) == 2
    assert "--reason" in capsys.readouterr().err
    assert assay.run([*words, "--reason", " "]) == 2
    judge_results(project, results)
    assert assay.run([*words, "--reason", REASON]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(project.root / "baseline.lock.json")
    assert "set `evals.baseline: baseline.lock.json`" in said.err


# ------------------------------------------------------------------------------------------------ judged by the lock


def test_the_locked_model_passes_against_its_own_lock_and_the_verdict_names_it(judged):
    project, results = judged
    lock = blessed(project, results).lock
    held = project_in(project.root, **{"evals.baseline": "baseline.lock.json"})
    finished = judge_results(held, results)
    verdict = verdict_of(held, results)
    assert verdict.outcome is Outcome.PASS
    assert outcomes(verdict) == dict.fromkeys(
        ("baseline:fits", "toy_test:not-regress-locked", "toy_test:not-regress-original"), Outcome.PASS
    )
    assert verdict.subject["baseline"] == lock.digest
    assert (finished.folder / "baseline.lock.json").read_bytes() == lock.to_bytes()
    again = bless(held, results, model="tuned", reason="again", override=False).lock
    assert [one.reason for one in again.history] == [REASON, "again"]
    assert again.tasks["toy_test"].original == 0
    assert again.looks == lock.looks
    assert judge_results(held, results).folder != finished.folder  # another lock, another verdict
    assert open_stage(finished.folder, "gate-model")[0].config["baseline"] == lock.digest


def test_a_lock_that_does_not_fit_is_stale_and_names_the_field(judged, capsys):
    project, results = judged
    blessed(project, results)
    more = {"evals.baseline": "baseline.lock.json", "gates.model.tasks.toy_test.margin": 0.98}
    held = project_in(project.root, **more)
    verdict = verdict_of(held, results)
    assert verdict.outcome is Outcome.STALE
    assert outcomes(verdict) == {"baseline:fits": Outcome.STALE}
    assert "gates.model.tasks.toy_test.margin: locked 0.99, now 0.98" in verdict.checks[0].message
    words = [word for name, value in (LENIENT | more).items() for word in ("--set", f"{name}={json.dumps(value)}")]
    assert assay.run(["gate", "model", str(project.path), "--results", str(results), *words]) == 4
    with pytest.raises(UserError) as refused:
        bless(held, results, model="tuned", reason=REASON, override=False)
    assert "against baseline.lock.json is stale" in refused.value.problems[0].found


def test_a_first_lock_that_is_not_there_is_an_error(judged):
    project, results = judged
    held = project_in(project.root, **{"evals.baseline": "gone.lock.json"})
    with pytest.raises(UserError, match="cannot be opened") as error:
        judge_results(held, results)
    assert error.value.problems[0].where.endswith("gone.lock.json")


BROKEN = {
    "not JSON": (lambda text: text[:200], "baseline.lock.json:"),
    "no object": (lambda text: "[]", "schema None"),
    "another schema": (lambda text: text.replace("assay/lock/1", "assay/lock/9"), "schema 'assay/lock/9'"),
    "a score by hand": (lambda text: text.replace('"score": 0.0', '"score": 1.0', 1), "does not hash to its digest"),
    "NaN": (lambda text: text.replace('"score": 0.0', '"score": NaN', 1), "NaN is no number"),
    "a field twice": (lambda text: text.replace('{\n "schema"', '{\n "seed": 1,\n "schema"', 1), "is there twice"),
    "deep nesting": (lambda text: "[" * 100_000, ""),
    "no text": (lambda text: "\x00\udcff", ""),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_lock_is_named_with_its_place(judged, how):
    project, results = judged
    path = blessed(project, results).path
    change, said = BROKEN[how]
    path.write_text(change(path.read_text()), errors="surrogateescape")
    held = project_in(project.root, **{"evals.baseline": path.name})
    with pytest.raises(UserError, match="lock cannot be used") as error:
        judge_results(held, results)
    problem = error.value.problems[0]
    assert str(path) in problem.where
    assert said in f"{problem.where} {problem.found}"
    with pytest.raises(UserError, match="lock cannot be used"):  # and it is not blessed away
        bless(held, results, model="tuned", reason=REASON, override=True)


def test_a_wrong_field_is_named(judged):
    project, results = judged
    path = blessed(project, results).path
    raw = json.loads(path.read_bytes())
    raw["tasks"]["toy_test"]["items"].append(raw["tasks"]["toy_test"]["items"][0])
    path.write_text(json.dumps(raw | {"digest": body_digest(raw)}))
    with pytest.raises(UserError) as error:
        read_lock(path)
    assert "task 'toy_test' names an item twice" in error.value.problems[0].found


def test_answers_of_the_locked_model_stand_beside_the_candidate_s(judged):
    project, results = judged
    lock = blessed(project, results).lock
    held = project_in(project.root, **{"evals.baseline": "baseline.lock.json"})
    manifest, folder = open_stage(results, "evals")
    evidence = read_evidence(folder, held.config.gates.model, 0)
    turned = pl.col("prediction").replace_strict({"no": "yes", "yes": "no"})
    tuned = pl.col("model") == "tuned"
    items = evidence.items.with_columns(
        prediction=pl.when(tuned).then(turned).otherwise("prediction"),
        score=pl.when(tuned).then(1 - pl.col("score")).otherwise("score"),
    )
    other = replace(evidence, items=items)
    seen = with_lock(other, lock, circumstances(other, manifest, folder, "tuned"))
    found = find_flips(seen, folder, "toy_test")
    assert found.baseline == "locked"
    parted = (*found.lost, *found.gained)
    assert {flip.item_id: flip.before for flip in parted} == {
        item.item_id: item.answer for item in lock.tasks["toy_test"].items
    }
    assert all({flip.before, flip.now} == {"no", "yes"} for flip in parted)
    without = bless(held, results, model="tuned", reason="no answers", override=True, answers=False).lock
    assert {item.answer for item in without.tasks["toy_test"].items} == {None}
    assert {
        flip.before
        for flip in find_flips(
            with_lock(other, without, circumstances(other, manifest, folder, "tuned")), folder, "toy_test"
        ).lost
    } == {None}
