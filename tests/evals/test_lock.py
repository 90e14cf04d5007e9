"""The baseline lock: what it holds, who may write it, where it is stale, and that small losses do not add up."""

import ast
import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import assay
import evals.bless
from evals.bless import bless, next_lock
from evals.evidence import read_evidence
from evals.gate import judge_results
from evals.gates import baseline, not_regress
from evals.lock import Circumstances, circumstances, differences, notes, read_lock, with_lock
from evals.run import evaluate
from schemas.config import ModelGateConfig
from schemas.errors import UserError
from schemas.lock import Blessing, Lock, LockedEngine, LockedItem, LockedTask, body_digest
from schemas.manifest import open_stage
from schemas.progress import Progress
from schemas.verdict import Outcome, Verdict
from tests.evals.made_adapter import made_project
from tests.evals.made_evidence import NOT_REGRESS, made_evidence, scores_of

SHA = "0" * 64
LENIENT = {"gates.model.tasks.toy_test": {"must": "not_regress", "margin": 0.99}, "gates.model.overfitting": {}}
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
    return {check.name: check.outcome for check in verdict.checks}


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


# ------------------------------------------------------------------------------------------------ each field matters


@pytest.fixture(scope="module")
def real(done):
    """A lock as it is made from a real evaluation, and the circumstances of the same evaluation."""
    project, _, result = done
    evidence = read_evidence(result.folder, project.config.gates.model, project.config.evals.seed)
    now = circumstances(evidence, result.manifest, result.folder, "tuned")
    lock, said = next_lock("toy", None, now, blessing(), ())
    assert said == ()
    return lock, now, evidence


def blessing(**more):
    return Blessing(
        **{"date": "2026-01-02", "by": None, "reason": "r", "model": "tuned", "weights": {}, "results": SHA}
        | {"verdict": None}
        | more
    )


def leaves(value, place=()):
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from leaves(child, (*place, name))
    elif isinstance(value, list) and value:
        for number, child in enumerate(value):
            yield from leaves(child, (*place, number))
    else:
        yield place


FREE = {"schema", "name", "looks", "history", "digest"}
"""Said of the lock itself, not of what is compared."""
OTHERS: dict[type, list[object]] = {
    str: ["zz", "99.1", "f" * 64],
    bool: [True, False],
    int: [7],
    float: [0.125],
    list: [[1]],
    dict: [{"x": 1}],
}


def test_the_same_evaluation_fits(real):
    lock, now, _ = real
    assert differences(lock, now) == []
    assert notes(lock, now) == []


@given(st.data())
def test_any_single_field_that_changes_makes_it_stale(real, data):
    lock, now, _ = real
    body = lock.model_dump(mode="json")
    places = [p for p in leaves(body) if p[0] not in FREE and p[-1] not in ("score", "original")]
    place = data.draw(st.sampled_from(places))
    changed = deepcopy(body)
    target = changed
    for step in place[:-1]:
        target = target[step]
    before = target[place[-1]]
    kind = str if before is None else type(before)
    target[place[-1]] = data.draw(st.sampled_from([value for value in OTHERS[kind] if value != before]))
    try:
        other = Lock.model_validate(changed)
    except ValidationError:
        return  # it would not even be read
    (said, *_) = differences(other, now)
    assert ": locked " in said
    assert ", now " in said


@given(st.data())
def test_any_part_that_is_missing_makes_it_stale(real, data):
    lock, now, _ = real
    task = lock.tasks["toy_test"]
    gone = data.draw(st.integers(0, len(task.items) - 1))
    fewer = task.model_copy(update={"items": task.items[:gone] + task.items[gone + 1 :]})
    short = lock.model_copy(update={"tasks": {"toy_test": fewer}})
    assert "tasks.toy_test.items: locked 11 items, now 12 items, 0 missing and 1 new" in differences(short, now)[0]
    other_way = replace(now, tasks={"toy_test": fewer})
    assert "tasks.toy_test.items: locked 12 items, now 11 items, 1 missing and 0 new" in differences(lock, other_way)[0]


def test_a_task_that_is_gone_or_was_never_locked_is_stale(real):
    lock, now, _ = real
    assert differences(lock, replace(now, tasks={})) == ["tasks.toy_test: locked there, now nothing"]
    more = now.conditions.model_copy(
        update={"tasks": {**now.conditions.tasks, "new": now.conditions.tasks["toy_test"]}}
    )
    asked = replace(now, conditions=more, tasks={**now.tasks, "new": now.tasks["toy_test"]})
    assert "tasks.new: locked nothing, now there" in differences(lock, asked)


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("5.23.0", "5.24.1", True),
        ("5.23.0", "6.0.0", False),
        ("0.4.13", "0.4.14", True),
        ("0.4.13", "0.5.0", False),
        ("2.13.0+cpu", "2.13.1+cu126", True),
        ("dev", "main", False),
    ],
)
def test_the_major_version_decides(real, old, new, fits):
    lock, now, _ = real

    def at(version):
        return lock.engine.model_copy(update={"versions": lock.engine.versions | {"torch": version}})

    held, here = lock.model_copy(update={"engine": at(old)}), replace(now, engine=at(new))
    said = f"engine.versions.torch: locked {old}, now {new}"
    assert differences(held, here) == ([] if fits else [said])
    assert notes(held, here) == [said]


def test_a_value_from_a_template_is_shown_harmlessly(real):
    lock, now, _ = real
    template = now.tasks["toy_test"].template | {"doc_to_text": "\x1b[31m" + "x" * 500}
    other = replace(now, tasks={"toy_test": now.tasks["toy_test"].model_copy(update={"template": template})})
    (said,) = differences(lock, other)
    assert said.startswith("tasks.toy_test.template.doc_to_text: locked prompt, now \\x1b[31mxxx")
    assert len(said) < 220


# ------------------------------------------------------------------------------------------------------- the ratchet


def made_circumstances(scores, margin=0.05, weights=None):
    """400 items or so of a task `t`, answered with these scores."""
    items = tuple(
        LockedItem(item_id=f"item{k:04}", item_sha256=SHA, prompt_sha256=SHA, score=score, original=score)
        for k, score in enumerate(scores)
    )
    task = LockedTask(
        metric="acc", higher_is_better=True, output_type="multiple_choice", split=None, decoding={}, template={},
        files={}, original=0, items=items,
    )  # fmt: skip
    conditions = ModelGateConfig.model_validate({"tasks": {"t": {"must": "not_regress", "margin": margin}}})
    engine = LockedEngine(name="transformers", versions={"torch": "2.0"}, dtype="float32", device="cpu")
    return Circumstances(weights or {}, SHA, engine, conditions, 0, {"t": task})


def checks_against(lock, scores, weights=None):
    evidence = made_evidence({"base": [0.0] * len(scores), "tuned": scores}, task=NOT_REGRESS)
    names = evidence.items["item_id"].str.replace("item", "").str.zfill(4)
    evidence = replace(evidence, items=evidence.items.with_columns(item_id="item" + names))
    held = with_lock(evidence, lock, made_circumstances(scores, weights=weights or {"adapter/x": "1" * 64}))
    assert list(not_regress.judge(held)) == []  # the lock stands in for the base model
    return {check.name: check.outcome for check in baseline.judge(held)}


def test_three_small_losses_pass_one_by_one_and_fail_together():
    models = [scores_of(380 - 8 * step, 20 + 8 * step) for step in range(4)]
    lock, _ = next_lock("n", None, made_circumstances(models[0]), blessing(), ())
    seen = []
    for step, scores in enumerate(models[1:], 1):
        found = checks_against(lock, scores)
        assert found["t:not-regress-locked"] is Outcome.PASS
        seen.append(found["t:not-regress-original"])
        lock, _ = next_lock("n", lock, made_circumstances(scores), blessing(date=f"2026-02-0{step}"), ())
        assert lock.tasks["t"].original == 0
        assert len(lock.history) == step + 1
    assert seen[0] is Outcome.PASS
    assert seen[-1] is Outcome.FAIL


def test_the_original_begins_anew_only_where_the_task_is_another_one():
    first, _ = next_lock("n", None, made_circumstances(scores_of(10, 2)), blessing(), ())
    other = made_circumstances(scores_of(12, 0), margin=0.1)
    same, said = next_lock("n", first, other, blessing(), ())
    assert said == ()
    assert [item.original for item in same.tasks["t"].items] == scores_of(10, 2)
    task = other.tasks["t"].model_copy(update={"template": {"doc_to_text": "new"}})
    anew, said = next_lock("n", first, replace(other, tasks={"t": task}), blessing(), ())
    assert anew.tasks["t"].original == 1
    assert [item.original for item in anew.tasks["t"].items] == scores_of(12, 0)
    assert "t is not asked as it was" in said[0]
    _, said = next_lock("n", first, replace(other, tasks={"u": task}), blessing(), ())
    assert said == ("t is no longer in the lock",)


def test_the_locked_model_itself_passes_whatever_the_number_of_items():
    weights = {"adapter/x": "2" * 64}
    scores = scores_of(9, 3)
    lock, _ = next_lock("n", None, made_circumstances(scores), blessing(weights=weights), ())
    assert set(checks_against(lock, scores, weights).values()) == {Outcome.PASS}
    other = checks_against(lock, scores)  # as many right, by other weights: twelve items show nothing
    assert other["t:not-regress-locked"] is Outcome.INCONCLUSIVE
    failed = checks_against(lock, [None, *scores[1:]], weights)  # the same weights that fail now
    assert failed["t:not-regress-locked"] is Outcome.INCONCLUSIVE


def test_a_locked_model_that_failed_on_items_never_makes_the_candidate_better():
    lock, _ = next_lock("n", None, made_circumstances([None] * 100 + scores_of(300, 0)), blessing(), ())
    found = checks_against(lock, scores_of(0, 100) + scores_of(300, 0))
    assert found["t:not-regress-locked"] is not Outcome.PASS


def test_the_same_lock_gives_the_same_bytes():
    one, _ = next_lock("n", None, made_circumstances(scores_of(9, 3)), blessing(by="Zoë <z@x.org>\u2028"), ("b", "a"))
    assert "\u2028" not in one.to_bytes().decode()
    two = Lock.model_validate_json(one.to_bytes())
    assert two.to_bytes() == one.to_bytes()
    assert two.digest == body_digest(json.loads(one.to_bytes()))
    assert one.digest == ""
