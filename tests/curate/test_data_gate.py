import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

import assay
from curate.contamination.items import Item, eval_items
from curate.contamination.store import add_evals, build_evals
from curate.dataset import Dataset, open_dataset
from curate.gate import data_gate_stage, gate_data, judge, read_verdict
from curate.pipeline import curate
from curate.power import detectable_gain
from schemas.errors import ManifestError
from schemas.stage import Finished
from schemas.verdict import Check, Outcome, Verdict
from tests.curate.made_rows import chat, corpus_from, distinct_rows, lines_of, make_project

NAMES = [
    "min-rows",
    "min-supervised-tokens",
    "no-error-findings",
    "dropped-share",
    "contamination",
    "split-proof",
    "made_test:detectable-effect",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A project whose dataset passes, and its dataset."""
    project = make_project(tmp_path_factory.mktemp("gate"), distinct_rows(300))
    return project, curate(project)


def verdict_with(base: tuple[Any, Finished], **gates: Any) -> dict[str, Check]:
    project, dataset = base
    data = project.config.gates.data.model_copy(update=gates)
    config = project.config.model_copy(update={"gates": project.config.gates.model_copy(update={"data": data})})
    changed = type(project)(project.path, config, project.given)
    return {check.name: check for check in judge(changed, open_dataset(dataset.path), {}).checks}


def judged(base: tuple[Any, Finished], dataset: Dataset) -> dict[str, Check]:
    return {check.name: check for check in judge(base[0], dataset, {}).checks}


def changed(base: tuple[Any, Finished], folder: Path, **files: Any) -> Dataset:
    """A copy of the dataset with other files, as if the stage had written them."""
    dataset = base[1]
    for path in dataset.folder.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(dataset.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for name, content in files.items():
        if content is None:
            (folder / f"{name}.json").unlink()
        elif isinstance(content, pl.DataFrame):
            content.write_parquet(folder / "data" / f"{name}.parquet")
        else:
            (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return Dataset(folder, dataset.manifest)


def test_a_good_dataset_passes_every_check(base):
    project, dataset = base
    finished = gate_data(project, dataset.path)
    verdict = read_verdict(finished)
    assert [check.name for check in verdict.checks] == NAMES
    assert {check.outcome for check in verdict.checks} == {Outcome.PASS}
    assert verdict.outcome is Outcome.PASS
    assert verdict.subject == {"dataset": dataset.manifest.content_digest}
    assert finished.manifest.inputs[0].content == dataset.manifest.content_digest
    assert gate_data(project, dataset.path).reused


@pytest.mark.parametrize(
    ("name", "gates", "outcome"),
    [
        ("min-rows", {"min_rows": 241}, Outcome.FAIL),
        ("min-rows", {"min_rows": 240}, Outcome.PASS),
        ("min-supervised-tokens", {"min_supervised_tokens": 10_000}, Outcome.FAIL),
        ("min-supervised-tokens", {"min_supervised_tokens": 240}, Outcome.INCONCLUSIVE),
        ("contamination", {"contamination": "ignore"}, Outcome.NOT_APPLICABLE),
    ],
)
def test_thresholds_decide(base, name, gates, outcome):
    assert verdict_with(base, **gates)[name].outcome is outcome


def test_an_estimate_says_that_it_is_one(base):
    check = verdict_with(base)["min-supervised-tokens"]
    assert check.measured["estimated"] is True
    assert "estimated" in check.message


def test_tokens_are_counted_where_the_tokenizer_is_there(base, tiny_model_folder):
    project, dataset = base
    config = project.config.model_copy(
        update={"train": project.config.train.model_copy(update={"base_model": str(tiny_model_folder)})}
    )
    counted = type(project)(project.path, config, project.given)
    check = next(c for c in judge(counted, open_dataset(dataset.path), {}).checks if c.name == "min-supervised-tokens")
    assert check.measured["estimated"] is False
    assert check.measured["supervised_tokens"] > 240


def test_error_findings_left_in_the_rows_fail(base, tmp_path):
    train = pl.read_parquet(base[1].folder / "data" / "train.parquet")
    record = json.dumps(chat("write to kim@kde.org", "ok"))
    dirty = train.with_columns(record=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit(record)).otherwise("record"))
    check = judged(base, changed(base, tmp_path, train=dirty))["no-error-findings"]
    assert check.outcome is Outcome.FAIL
    assert check.measured["by_rule"] == {"PII501": 1}
    assert check.measured["first"][0]["row"] == 5
    assert "kim@kde.org" not in check.model_dump_json()


def test_a_large_dropped_share_fails_and_an_unknown_one_is_inconclusive(base, tmp_path):
    much = judged(base, changed(base, tmp_path / "a", ledger={"rows_in": 700}))["dropped-share"]
    unknown = judged(base, changed(base, tmp_path / "b", ledger=None))["dropped-share"]
    assert (much.outcome, unknown.outcome) == (Outcome.FAIL, Outcome.INCONCLUSIVE)


def test_a_test_prompt_among_the_training_rows_fails(base, tmp_path):
    frames = {name: pl.read_parquet(base[1].folder / "data" / f"{name}.parquet") for name in ("train", "test")}
    leaky = pl.concat([frames["train"][:-1], frames["test"][:1]])
    checks = judged(base, changed(base, tmp_path, train=leaky))
    assert checks["contamination"].outcome is Outcome.FAIL
    assert checks["contamination"].measured["test_prompts_elsewhere"] == 1
    assert checks["split-proof"].outcome is Outcome.FAIL
    assert checks["split-proof"].measured["cross_split_pairs"] == 1


def test_eval_items_in_the_rows_fail(base):
    project, dataset = base
    question = distinct_rows(1)[0]["messages"][0]["content"]
    (project.root / "evals.jsonl").write_bytes(lines_of([{"question": question, "answer": "x"}]))
    data = project.config.data.model_copy(update={"evals": ["evals.jsonl"]})
    guarded = type(project)(project.path, project.config.model_copy(update={"data": data}), project.given)
    check = next(c for c in judge(guarded, open_dataset(dataset.path), {}).checks if c.name == "contamination")
    assert check.outcome is Outcome.FAIL
    assert check.measured["eval_rows_by_rule"] == {"LEK401": 1}


def test_another_state_of_an_index_is_another_verdict(tmp_path):
    def items(*rows: Any) -> list[Item]:
        return list(eval_items(corpus_from(*rows)))

    build_evals(tmp_path / "i", items({"question": "How many legs have six spiders in all?", "answer": "48"}), None)
    rows = distinct_rows(60)
    project = make_project(tmp_path / "p", rows, data={"sources": ["rows.jsonl"], "index": ["../i"]})
    dataset = curate(project)
    first = gate_data(project, dataset.path)
    assert gate_data(project, dataset.path).reused
    add_evals(tmp_path / "i", items({"question": rows[3]["messages"][0]["content"], "answer": "yes"}), None)
    again = gate_data(project, dataset.path)
    assert not again.reused
    outcomes = [
        next(check.outcome for check in read_verdict(verdict).checks if check.name == "contamination")
        for verdict in (first, again)
    ]
    assert outcomes == [Outcome.PASS, Outcome.FAIL]


def test_a_missing_proof_is_inconclusive_unless_it_is_optional_and_a_false_one_fails(base, tmp_path):
    without = changed(base, tmp_path / "a", split_proof=None)
    assert judged(base, without)["split-proof"].outcome is Outcome.INCONCLUSIVE
    lying = changed(base, tmp_path / "b", split_proof={"cross_split_pairs": 3})
    check = judged(base, lying)["split-proof"]
    assert check.outcome is Outcome.FAIL
    assert "claims 3 pairs" in check.message


def test_no_evidence_at_all_is_never_a_pass(base, tmp_path):
    empty = {
        name: pl.read_parquet(base[1].folder / "data" / f"{name}.parquet")[:0]
        for name in ("train", "validation", "test")
    }
    folder = changed(base, tmp_path, **empty, ledger={"rows_in": 0}).folder
    (folder / "data" / "train.jsonl").write_bytes(b"")
    checks = judged(base, Dataset(folder, base[1].manifest))
    assert {check.outcome for check in checks.values()} == {Outcome.INCONCLUSIVE}


def effect(base: tuple[Any, Finished], task: dict[str, Any], limit: int | None, name: str = "made_test") -> Check:
    project, dataset = base
    config = project.config.model_dump()
    config["gates"]["model"]["tasks"] = {name: task}
    config["evals"] |= {"suites": [name], "limit": limit}
    changed_project = type(project)(project.path, type(project.config).model_validate(config), project.given)
    checks = judge(changed_project, open_dataset(dataset.path), {}).checks
    return next(check for check in checks if check.name == f"{name}:detectable-effect")


def test_the_effect_that_the_items_can_show_is_compared_with_the_one_asked_for(base):
    enough = effect(base, {"must": "improve", "detect": 0.4}, None)
    assert (enough.outcome, enough.measured["items"]) == (Outcome.PASS, 30)
    assert enough.measured["detectable"] == pytest.approx(detectable_gain(30, 0.05), abs=1e-6)
    hopeless = effect(base, {"must": "improve", "detect": 0.2, "min_gain": 0.2}, None)
    assert (hopeless.outcome, hopeless.measured["items_needed"]) == (Outcome.INCONCLUSIVE, None)
    assert "raise `detect` above `min_gain`" in hopeless.help
    few = effect(base, {"must": "improve", "detect": 0.4}, 12)
    assert (few.outcome, few.measured["items"]) == (Outcome.INCONCLUSIVE, 12)
    assert "items show it" in few.help
    margin = effect(base, {"must": "not_regress", "margin": 0.03}, None)
    assert (margin.outcome, margin.measured["items_needed"]) == (Outcome.INCONCLUSIVE, 4361)


def test_a_task_with_its_own_items_and_one_whose_file_is_elsewhere(base):
    root = base[0].root
    (root / "own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: own.jsonl}}\ndoc_to_text: !function a.b\n",
        "utf-8",
    )
    (root / "own.jsonl").write_text('{"a": 1}\n' * 500, "utf-8")
    assert effect(base, {"must": "improve", "detect": 0.1}, None, "own").measured["items"] == 500
    elsewhere = effect(base, {"must": "improve", "detect": 0.1}, 5000, "elsewhere")
    assert elsewhere.outcome is Outcome.INCONCLUSIVE
    assert "assumed" in elsewhere.message


def test_the_command_prints_each_format_and_exits_by_the_verdict(base, capsys):
    config = str(base[0].path)
    assert assay.run(["gate", "data", "-c", config]) == 0
    out = capsys.readouterr().out
    assert [name for name in NAMES if name not in out] == []
    assert assay.run(["gate", "data", config, "--format", "json"]) == 0
    assert Verdict.model_validate_json(capsys.readouterr().out).outcome is Outcome.PASS
    assert assay.run(["gate", "data", config, "--format", "junit"]) == 0
    assert len(list(ElementTree.fromstring(capsys.readouterr().out).iter("testcase"))) == len(NAMES)
    assert assay.run(["gate", "data", config, "--format", "markdown"]) == 0
    assert "| `min-rows` | pass |" in capsys.readouterr().out
    assert assay.run(["gate", "data", config, "--set", "gates.data.min_rows=1000"]) == 1
    assert assay.run(["gate", "data", config, "--set", "gates.model.tasks.made_test.detect=0.1"]) == 4
    assert assay.run(["gate", "data", config, "--set", "curate.split.seed=9"]) == 2
    assert "run `assay curate` first" in capsys.readouterr().err


def test_a_changed_dataset_is_refused(tmp_path):
    project = make_project(tmp_path, distinct_rows(60))
    dataset = curate(project)
    path = dataset.folder / "data" / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ManifestError):
        gate_data(project, dataset.path)


def test_other_thresholds_are_another_verdict(base):
    project, dataset = base
    config = project.config.model_dump()
    config["gates"]["data"]["min_rows"] = 11
    other = type(project)(project.path, type(project.config).model_validate(config), project.given)
    assert data_gate_stage(other, dataset.path).fingerprint != data_gate_stage(project, dataset.path).fingerprint


def test_what_is_no_dataset_is_refused_with_its_place(base, capsys, tmp_path):
    project, _ = base
    arguments = ["gate", "data", str(project.path), "--out", str(tmp_path / "runs")]
    for path, said in ((tmp_path / "none", "cannot be opened"), (tmp_path, "cannot be opened")):
        assert assay.run([*arguments, "--dataset", str(path)]) == 2
        assert said in capsys.readouterr().err
    verdict = gate_data(project, base[1].path)
    assert assay.run([*arguments, "--dataset", str(verdict.path)]) == 2
    assert "another stage" in capsys.readouterr().err


def kinds_of_rows(count: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of every kind but conversations, all different."""
    turns = [[{"role": "user", "content": f"question {n} of many"}] for n in range(count)]
    answers = [[{"role": "assistant", "content": f"answer {n}" + " and more" * n}] for n in range(count)]
    both = list(zip(turns, answers, strict=True))
    none = [{"role": "assistant", "content": "none"}]
    return {
        "text": [{"text": f"a text of its own, number {n}, " * (n + 1)} for n in range(count)],
        "dpo": [{"prompt": turn, "chosen": answer, "rejected": none} for turn, answer in both],
        "kto": [{"prompt": turn, "completion": answer, "label": True} for turn, answer in both],
        "grpo": [{"prompt": turn, "reference": answer[0]["content"]} for turn, answer in both],
    }


@pytest.mark.parametrize("method", ["text", "dpo", "kto"])
def test_tokens_of_every_kind_of_row_are_those_that_training_supervises(tmp_path, tiny_model_folder, method):
    from curate.load_supervisor import load_supervisor
    from train.examples import supervise
    from train.rows import read_split

    train = {"base_model": str(tiny_model_folder), "method": method, "max_length": 128}
    project = make_project(tmp_path, kinds_of_rows(12)[method], train=train)
    dataset = curate(project)
    check = next(c for c in judge(project, open_dataset(dataset.path), {}).checks if "tokens" in c.name)
    settings = project.config.train
    examples = supervise(
        load_supervisor(tiny_model_folder, 128), read_split(dataset.folder, "train"), settings, "train"
    )
    assert check.measured == {
        "supervised_tokens": sum(example.sequences[0].supervised_tokens for example in examples),
        "estimated": False,
        "rows_without": 0,
    }


def test_prompts_whose_answers_are_drawn_have_no_supervised_tokens_to_count(tmp_path):
    project = make_project(tmp_path, kinds_of_rows(12)["grpo"])
    check = next(c for c in judge(project, open_dataset(curate(project).path), {}).checks if "tokens" in c.name)
    assert check.outcome is Outcome.NOT_APPLICABLE


def test_texts_are_compared_across_splits_where_no_row_has_a_prompt(tmp_path):
    project = make_project(tmp_path, kinds_of_rows(60)["text"])
    dataset = curate(project)
    check = next(c for c in judge(project, open_dataset(dataset.path), {}).checks if c.name == "contamination")
    assert check.outcome is Outcome.PASS
    assert check.measured["test_prompts"] == len(pl.read_parquet(dataset.folder / "data" / "test.parquet"))


def test_a_relative_base_model_is_looked_up_beside_the_config(tmp_path, tiny_model_folder):
    (tmp_path / "beside").symlink_to(tiny_model_folder)
    project = make_project(tmp_path, distinct_rows(60), train={"base_model": "./beside"})
    check = next(c for c in judge(project, open_dataset(curate(project).path), {}).checks if "tokens" in c.name)
    assert check.measured["estimated"] is False
