"""What answered is said as it was: engine, versions, dtype and device, in results, manifest and lock."""

import json
import shutil
from typing import Any

import polars as pl
import pytest

from evals.models import LoadedModels
from evals.parts import Parts
from evals.run import evals_stage, evaluate
from evals.token_scores import TokenScorer
from schemas.progress import Progress
from schemas.verdict import Outcome, Verdict
from tests.evals.made_adapter import made_project
from tests.evals.test_lock import blessed, project_in, verdict_of

QUIET = Progress(quiet=True)


def says(monkeypatch, **changes):
    """Let the loaded model say something else of itself."""
    whole: Any = LoadedModels.engine
    monkeypatch.setattr(LoadedModels, "engine", property(lambda loaded: whole.__get__(loaded) | changes))


def models_of(result):
    return json.loads((result.folder / "results.json").read_bytes())["models"]


def test_results_and_manifest_say_what_answered(done):
    import torch
    import transformers

    tuned = models_of(done[2])["tuned"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert (tuned["engine"], tuned["dtype"], tuned["device"]) == ("transformers", "float32", device)
    assert tuned["versions"]["transformers"] == transformers.__version__
    assert tuned["versions"]["torch"] == torch.__version__
    assert done[2].manifest.provenance.device == device


def test_the_store_holds_the_answers_of_one_device(fresh, monkeypatch):
    project, adapter = fresh
    evaluate(project, adapter, QUIET)
    shutil.rmtree(project.runs / "evals")
    passed = []
    whole = TokenScorer._score_batch

    def counted(scorer, batch):
        passed.append(len(batch))
        whole(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_score_batch", counted)
    again = evaluate(project, adapter, QUIET)
    assert passed == []
    assert models_of(again)["base"]["device"] == again.manifest.provenance.device
    shutil.rmtree(project.runs / "evals")
    says(monkeypatch, device="tpu")
    elsewhere = evaluate(project, adapter, QUIET)
    assert passed
    assert models_of(elsewhere)["base"]["device"] == elsewhere.manifest.provenance.device == "tpu"


def stopped(project, adapter, monkeypatch, after):
    """An evaluation that is killed once a part is finished."""
    whole = Parts.write

    def killed(parts, name, table):
        whole(parts, name, table)
        if name == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(project, adapter, QUIET)


def test_finished_parts_say_who_answered_them(fresh, monkeypatch):
    """All parts are there, so that no model is loaded: the results are those of the device that was."""
    project, adapter = fresh
    with monkeypatch.context() as before:
        says(before, device="tpu", versions={"torch": "1.2.3"})
        stopped(project, adapter, monkeypatch, "general")
    result = evaluate(project, adapter, QUIET)
    assert models_of(result)["tuned"]["device"] == result.manifest.provenance.device == "tpu"
    assert models_of(result)["tuned"]["versions"] == {"torch": "1.2.3"}


def test_answers_of_two_engines_are_not_mixed(fresh, monkeypatch):
    project, adapter = fresh
    with monkeypatch.context() as before:
        says(before, dtype="float16")
        stopped(project, adapter, monkeypatch, "losses.base")
    asked = []
    whole = Parts.write

    def noted(parts, name, table):
        asked.append(name)
        whole(parts, name, table)

    monkeypatch.setattr(Parts, "write", noted)
    result = evaluate(project, adapter, QUIET)
    assert asked == ["toy_test.base", "losses.base", "toy_test.tuned", "losses.tuned", "general"]
    assert models_of(result)["base"]["dtype"] == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_another_dtype_is_another_evaluation(done, fresh, tiny_model_folder, dtype):
    project, adapter = fresh
    changed = made_project(project.root, tiny_model_folder, dtype=dtype)
    assert evals_stage(changed, adapter).fingerprint != evals_stage(project, adapter).fingerprint
    result = evaluate(changed, adapter, QUIET)
    assert models_of(result)["tuned"]["dtype"] == dtype
    assert len(list((project.runs / "responses").glob("*.sqlite"))) == 2
    rounded, exact = (pl.read_parquet(one.folder / "losses.parquet")["nll"] for one in (result, done[2]))
    assert rounded.to_list() == pytest.approx(exact.to_list(), rel=0.05)
    assert rounded.to_list() != exact.to_list()
    head = (result.folder / "tasks" / "toy_test.yaml").read_text("utf-8")
    assert f"dtype={dtype}" in head


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "cuda:other"}, "engine.device: locked {device}, now cuda:other"),
        ({"dtype": "bfloat16"}, "engine.dtype: locked float32, now bfloat16"),
        ({"engine": "local-completions"}, "engine.name: locked transformers, now local-completions"),
        ({"arguments": {"base_url": "http://h/v1/completions"}}, "engine.arguments.base_url: locked nothing"),
        ({"versions": {"torch": "1.0"}}, "engine.versions.torch: locked"),
    ],
)
def test_a_lock_of_another_engine_is_stale_and_names_the_field(done, fresh, monkeypatch, change, said):
    monkeypatch.delenv("CI", raising=False)
    project, adapter = fresh
    root = project.root
    blessed(project_in(root), evaluate(project, adapter, QUIET).path)
    shutil.rmtree(project.runs / "evals")
    says(monkeypatch, **change)
    locked = {"evals.baseline": "baseline.lock.json"}
    found: Verdict = verdict_of(project_in(root, **locked), evaluate(project, adapter, QUIET).path)
    assert found.outcome is Outcome.STALE
    (fits,) = [check for check in found.checks if check.name == "baseline:fits"]
    assert said.format(device=done[2].manifest.provenance.device) in fits.message
