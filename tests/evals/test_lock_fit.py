"""Where a baseline lock is stale, and that small losses do not add up."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.bless import next_lock
from evals.evidence import read_evidence
from evals.gates import baseline, not_regress
from evals.lock import Circumstances, circumstances, differences, notes, with_lock
from schemas.config import ModelGateConfig
from schemas.lock import Blessing, Lock, LockedEngine, LockedItem, LockedNoise, LockedTask, body_digest, shortened
from schemas.verdict import Outcome
from tests.evals.made_evidence import NOT_REGRESS, made_evidence, scores_of

SHA = "0" * 64


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
SCORES = {"score", "original", "answer", "noise", "original_noise"}
"""Of a model, not of what it was asked."""
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
    places = [p for p in leaves(body) if p[0] not in FREE and p[-1] not in SCORES]
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


def test_noise_between_runs_of_a_locked_model_is_kept_and_widens_the_interval():
    base = scores_of(200, 200)
    runs = scores_of(190, 210) + scores_of(200, 200) + scores_of(210, 190)
    evidence = made_evidence({"base": base * 3, "tuned": runs}, task=NOT_REGRESS, runs=3)
    noise = evidence.noise("t", "tuned")
    assert noise is not None
    assert noise.variance > 0
    quiet = evidence.noise("t", "base")
    assert quiet is not None
    assert (quiet.variance, quiet.runs) == (0.0, 3)
    kept = LockedNoise(variance=noise.variance, runs=noise.runs)
    now = made_circumstances(base)
    noisy = replace(now, tasks={"t": now.tasks["t"].model_copy(update={"noise": kept, "original_noise": kept})})
    found = {}
    for name, circumstance in (("plain", now), ("noisy", noisy)):
        lock, _ = next_lock("n", None, circumstance, blessing(), ())
        candidate = made_evidence({"base": base, "tuned": base}, task=NOT_REGRESS)
        names = candidate.items["item_id"].str.replace("item", "").str.zfill(4)
        candidate = replace(candidate, items=candidate.items.with_columns(item_id="item" + names))
        found[name] = with_lock(candidate, lock, replace(now, weights={"x": "1" * 64})).compare("t", "locked").as_dict()
    assert found["noisy"]["low"] < found["plain"]["low"]
    assert found["noisy"]["runs"] == [3]
    assert "noise_variance" not in found["plain"]
    after, _ = next_lock("n", Lock.model_validate_json(lock.to_bytes()), now, blessing(), ())
    assert (after.tasks["t"].noise, after.tasks["t"].original_noise) == (None, kept)


def test_noise_is_of_the_items_that_never_failed():
    runs = [None, *scores_of(190, 209), *scores_of(200, 200)]
    evidence = made_evidence({"base": scores_of(200, 200) * 2, "tuned": runs}, runs=2)
    without = [*scores_of(190, 209), *scores_of(200, 200)[1:]]
    expected = made_evidence({"base": scores_of(200, 199) * 2, "tuned": without}, runs=2)
    assert evidence.noise("t", "tuned") == expected.noise("t", "tuned")


def test_answers_are_kept_as_long_as_they_are_short(real):
    lock, _, evidence = real
    (item, *_) = lock.tasks["toy_test"].items
    said = evidence.items.filter(model="tuned", item_id=item.item_id)["prediction"].item()
    assert item.answer == said in ("no", "yes")
    assert len(shortened("x" * 10_000)) == 501
    assert shortened("x" * 500) == "x" * 500
