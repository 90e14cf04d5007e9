"""The release stage: what is published, what is refused, and what is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evals.release.judged import read_judged
from evals.release.run import Wish, release
from schemas.errors import ExitCode, ManifestError, UserError, Withheld
from schemas.progress import Progress
from schemas.release import Release
from schemas.verdict import Outcome
from tests.evals.release.made_release import Made, made_target, make


def problem(caught: pytest.ExceptionInfo) -> str:
    return "\n".join(caught.value.problems[0].lines())


def releases(made: Made) -> list[str]:
    """What lies in the folder of releases, locks aside."""
    place = made.root / "runs" / "release"
    return sorted(path.name for path in place.iterdir() if not path.name.startswith(".")) if place.is_dir() else []


def test_everything_that_a_release_holds(made):
    done = made.release()
    assert [file.path for file in done.manifest.files] == [
        "Modelfile",
        "adapter/README.md",
        "adapter/weights.bin",
        "bom.cdx.json",
        "equivalence.html",
        "equivalence.json",
        "equivalence.md",
        "merged/README.md",
        "merged/a.bin",
        "merged/b.bin",
        "release.json",
    ]
    assert sorted({ref.role for ref in done.manifest.inputs}) == [
        "adapter",
        "base_model",
        "dataset",
        "gate_verdict",
        "results",
    ]
    said = Release.model_validate_json((done.folder / "release.json").read_bytes())
    assert (said.outcome, said.gate, said.override, said.signed_by) == (Outcome.PASS, Outcome.PASS, None, None)
    assert [[file.path for file in target.files] for target in said.targets] == [
        ["adapter/weights.bin"],
        ["merged/a.bin", "merged/b.bin"],
    ]
    assert done.manifest.counts["targets"] == 2
    assert done.manifest.provenance.notes == ()


def test_the_same_release_is_verified_and_returned(made):
    first, again = made.release(), made.release()
    assert (again.reused, again.folder) == (True, first.folder)
    (first.folder / "merged" / "a.bin").write_bytes(b"other")
    with pytest.raises(ManifestError) as caught:
        made.release()
    assert "a.bin: sha256" in problem(caught)


def test_what_is_asked_for_decides_which_release_it_is(made):
    plain = made.release()
    smoked = made.release(Wish(smoke=True))
    fewer = made.release(project=made.project(release={"targets": ["merged"]}))
    assert len({plain.folder, smoked.folder, fewer.folder}) == 3
    said = Release.model_validate_json((smoked.folder / "release.json").read_bytes())
    assert said.smoke is not None
    assert said.summary == "adapter, merged, smoke test: proven to answer like the model that was judged"


@pytest.mark.parametrize(("gate", "code"), [(Outcome.FAIL, 1), (Outcome.INCONCLUSIVE, 4), (Outcome.STALE, 4)])
def test_a_gate_that_did_not_pass_keeps_the_model_back(tmp_path, monkeypatch, gate, code):
    made = make(tmp_path, monkeypatch, gate)
    with pytest.raises(Withheld) as caught:
        made.release()
    assert caught.value.exit_code == code
    assert f"overfitting:gain-gap ({gate.value}): the gain in loss" in problem(caught)
    assert releases(made) == []


def test_an_override_is_recorded_and_printed(tmp_path, monkeypatch):
    made = make(tmp_path, monkeypatch, Outcome.FAIL)
    done = made.release(Wish(override="the pilot <b>needs</b> it | now"))
    said = Release.model_validate_json((done.folder / "release.json").read_bytes())
    assert (said.gate, said.override) == (Outcome.FAIL, "the pilot <b>needs</b> it | now")
    assert done.manifest.provenance.notes == ("override: fail, the pilot <b>needs</b> it | now",)
    card = (done.folder / "adapter" / "README.md").read_text()
    assert "> **Released against the gate.** The model gate said fail" in card
    assert "> Reason given: The pilot &lt;b&gt;needs&lt;/b&gt; it \\| now." in card
    assert "- The model gate did not pass (fail)." in card


def test_there_is_nothing_to_override_where_the_gate_passed(made):
    with pytest.raises(UserError, match="there is nothing to override"):
        made.release(Wish(override="just in case"))


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.FAIL, ExitCode.FAIL), (Outcome.INCONCLUSIVE, 4)])
def test_a_target_that_is_not_proven_keeps_all_back_and_leaves_the_evidence(made, outcome, code):
    made.outcomes["merged"] = outcome
    with pytest.raises(Withheld) as caught:
        made.release()
    assert caught.value.exit_code == code
    text = problem(caught)
    assert text.startswith("nothing is released: merged ")
    assert f"merged: log-probabilities ({outcome.value})" in text
    assert "take merged out of release.targets" in text
    (kept,) = releases(made)
    assert kept.endswith(".failed")
    folder = made.root / "runs" / "release" / kept
    assert sorted(path.name for path in folder.iterdir()) == ["equivalence.html", "equivalence.json", "equivalence.md"]
    found = json.loads((folder / "equivalence.json").read_bytes())
    assert (found["outcome"], [target["target"] for target in found["targets"]]) == (outcome, ["adapter", "merged"])
    with pytest.raises(ManifestError):
        read_judged(folder)


def test_a_second_failure_replaces_the_evidence_and_a_success_removes_it(made):
    made.outcomes["merged"] = Outcome.FAIL
    for _ in range(2):
        with pytest.raises(Withheld):
            made.release()
    assert len(releases(made)) == 1
    made.outcomes.clear()
    assert releases(made) != [made.release().folder.name]
    assert releases(made) == [made.release().folder.name]


def test_a_failed_smoke_test_keeps_all_back(made):
    made.outcomes["smoke"] = Outcome.FAIL
    with pytest.raises(Withheld) as caught:
        made.release(Wish(smoke=True))
    assert problem(caught).startswith("nothing is released: smoke test did not answer")


# ------------------------------------------------------------------------------------------------------------ bad input


def test_an_unknown_target_is_named(made):
    with pytest.raises(UserError) as caught:
        made.release(project=made.project(release={"targets": ["onnx"]}))
    assert "found onnx" in problem(caught)
    assert "expected one of adapter, merged" in problem(caught)


@pytest.mark.parametrize("stage", ["base_model", "dataset", "data_verdict", "adapter", "results", "verdict"])
def test_a_tampered_file_anywhere_in_the_chain_is_refused(made, stage):
    folder = getattr(made.chain, stage).folder
    victim = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
    victim.write_bytes(victim.read_bytes() + b" ")
    with pytest.raises(ManifestError) as caught:
        made.release()
    assert "the chain behind this verdict is not as it was written, so nothing is released" in problem(caught)
    assert victim.name in problem(caught)
    assert releases(made) == []


def test_tampered_raw_rows_are_refused(made):
    made.chain.raw.write_bytes(b"")
    with pytest.raises(ManifestError, match="the chain behind this verdict"):
        made.release()


def test_another_base_model_is_refused(made, tiny_model_folder):
    with pytest.raises(UserError) as caught:
        made.release(project=made.project(train={"base_model": str(tiny_model_folder)}))
    assert problem(caught).startswith("the adapter was trained on another base model")
    assert releases(made) == []


def test_a_result_that_is_no_verdict_is_refused(made):
    with pytest.raises(ManifestError, match="a release is made from a model gate's verdict"):
        release(made.project(), made.chain.results.path, Wish(), Progress(quiet=True))


def test_a_target_that_cannot_be_exported_leaves_nothing(made):
    def export(source, folder, name):
        raise UserError("this adapter saves whole modules, which cannot be merged", found="lm_head")

    made.targets[1].export = export
    with pytest.raises(UserError, match="saves whole modules"):
        made.release()
    assert releases(made) == []


def test_two_targets_that_write_the_same_file_are_refused(made):
    made.targets[1] = made_target("again", "adapter")
    with pytest.raises(UserError) as caught:
        made.release()
    assert "found adapter/weights.bin" in problem(caught)
    assert releases(made) == []


def test_a_folder_of_the_same_name_with_another_result_is_refused(made):
    plain, other = made.release(), made.release(Wish(smoke=True))
    shutil.rmtree(plain.folder)
    other.folder.rename(plain.folder)
    with pytest.raises(ManifestError, match="a folder of this name holds another result"):
        made.release()


def test_a_full_disk_leaves_nothing(made):
    def export(source, folder, name):
        (folder / "half.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device", str(folder / "half.bin"))

    made.targets[1].export = export
    with pytest.raises(UserError, match="the disk is full; nothing was published"):
        made.release()
    assert releases(made) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from tests.evals.release.made_release import make

made = make(Path(sys.argv[1]), pytest.MonkeyPatch())
made.targets[1].export = lambda source, folder, name: os.kill(os.getpid(), signal.SIGKILL)
made.release()
"""


def test_a_killed_run_leaves_nothing_that_could_be_taken_for_a_release(tmp_path, monkeypatch):
    """It leaves a folder without a manifest, which the next run clears away."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    made = make(tmp_path, monkeypatch)
    (left,) = releases(made)
    folder = made.root / "runs" / "release" / left
    assert left.endswith(".partial")
    assert (folder / "adapter" / "weights.bin").is_file()
    assert not (folder / "manifest.json").exists()
    assert releases(made) == [left]
    again = made.release()
    assert releases(made) == [again.folder.name]


def test_a_model_that_was_judged_through_a_backend_is_refused(made, monkeypatch):
    judged = read_judged(made.chain.verdict.path)
    from evals.release import judged as module

    monkeypatch.setattr(
        module, "read_manifest", lambda path: type("M", (), {"config": {"evals": {"backend": {"model": "vllm"}}}})
    )
    with pytest.raises(UserError, match="judged through a backend"):
        judged.source(Path())
