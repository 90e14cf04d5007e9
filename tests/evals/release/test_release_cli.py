"""`assay release` as a person types it, and the copy that `--to` makes."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

import assay
from evals.chain import read_chain, verify_chain
from evals.release.copying import copy_release, require_free
from schemas.errors import ExitCode, UserError
from schemas.stage import require
from schemas.verdict import Outcome
from tests.evals.release.made_release import make


@pytest.fixture
def verdict(made):
    made.project()
    return str(made.chain.verdict.folder)


def test_a_release_prints_its_manifest_and_says_what_was_proven(made, verdict, capsys):
    assert assay.run(["release", verdict]) == ExitCode.PASS
    out, err = capsys.readouterr()
    manifest = Path(out.strip())
    assert manifest.parent.parent.name == "release"
    assert err.splitlines()[-1] == "adapter, merged: proven to answer like the model that was judged"
    assert assay.run(["release", verdict, "--format", "json", "-q"]) == ExitCode.PASS
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "manifest": str(manifest),
        "reused": True,
        "outcome": "pass",
        "targets": {"adapter": "pass", "merged": "pass"},
        "override": None,
        "signed_by": None,
    }
    assert err == ""


def test_a_failed_gate_is_1_and_an_undecided_one_4(tmp_path, monkeypatch, capsys):
    for outcome, code in ((Outcome.FAIL, ExitCode.FAIL), (Outcome.INCONCLUSIVE, ExitCode.INCONCLUSIVE)):
        (tmp_path / outcome).mkdir()
        monkeypatch.chdir(tmp_path / outcome)
        made = make(tmp_path / outcome, monkeypatch, outcome)
        made.project()
        assert assay.run(["release", str(made.chain.verdict.path)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: the model gate did not pass, so nothing is released")
        assert f"overfitting:gain-gap ({outcome.value})" in err


def test_an_override_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = make(tmp_path, monkeypatch, Outcome.FAIL)
    made.project()
    assert assay.run(["release", str(made.chain.verdict.path), "--override", "for the pilot"]) == ExitCode.PASS
    assert "note: released against the gate (fail): for the pilot" in capsys.readouterr().err


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_override_needs_a_reason(made, verdict, capsys, reason):
    assert assay.run(["release", verdict, "--override", reason]) == ExitCode.USAGE
    assert "an override needs a reason" in capsys.readouterr().err


def test_a_target_that_is_not_equivalent_is_1_and_names_what_to_do(made, verdict, capsys):
    made.outcomes["merged"] = Outcome.FAIL
    assert assay.run(["release", verdict]) == ExitCode.FAIL
    err = capsys.readouterr().err
    assert "error: nothing is released: merged did not answer like the model that was judged" in err
    assert "take merged out of release.targets" in err
    assert ".failed" in err


def test_a_missing_gate_is_said(done):
    """The last link of what `assay release CONFIG` looks for."""
    from evals.gate import model_gate_stage

    project, _, results = done
    with pytest.raises(UserError) as caught:
        require(model_gate_stage(project, results.path), "gate model")
    assert caught.value.problems[0].what.startswith("there is no gate-model result for this config")
    assert caught.value.problems[0].help == "run `assay gate model` first"


def test_without_any_result_the_first_missing_stage_is_said(made, capsys):
    made.project()
    assert assay.run(["release"]) == ExitCode.USAGE
    assert "run `assay curate` first" in capsys.readouterr().err


def test_a_verdict_that_is_not_there_is_said(made, verdict, capsys):
    shutil.rmtree(verdict)
    assert assay.run(["release", verdict]) == ExitCode.USAGE
    assert "the manifest cannot be opened" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------------- --to


@pytest.mark.parametrize("place", ["out", "deep/er/out", "../beside"])
def test_a_copy_is_verified_down_to_the_raw_rows(made, verdict, tmp_path, capsys, place):
    target = tmp_path / place
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    assert assay.run(["release", verdict, "--to", place, "-q"]) == ExitCode.PASS
    assert capsys.readouterr().out.strip() == f"{place}/manifest.json"
    assert assay.run(["verify", place]) == ExitCode.PASS
    walked = {node.path.resolve() for node in read_chain(target).walk()}
    assert made.chain.raw.resolve() in walked
    made.chain.raw.write_bytes(b"")
    assert [one.what for one in verify_chain(read_chain(target)).differences] == ["changed"]


def test_a_copy_has_the_same_content(made, tmp_path):
    from schemas.manifest import read_manifest

    done = made.release()
    copied = read_manifest(copy_release(done, tmp_path / "out"))
    assert copied.content_digest == done.manifest.content_digest
    assert copied.files == done.manifest.files


def test_an_empty_folder_is_taken(made, tmp_path):
    (tmp_path / "out").mkdir()
    assert copy_release(made.release(), tmp_path / "out").is_file()


def spoil(tmp_path: Path, how: str) -> str:
    """Put something in the way of `out` and give what the message says of it."""
    target = tmp_path / "out"
    if how == "file":
        target.write_text("mine")
    elif how == "link":
        target.symlink_to(tmp_path / "nowhere")
    elif how == "full":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    elif how == "partial":
        target.with_name("out.partial").mkdir()
        (target.with_name("out.partial") / "mine.txt").write_text("mine")
    return "the folder for the release is not empty" if how in ("full", "partial") else "would replace a file"


@pytest.mark.parametrize("how", ["file", "link", "full", "partial"])
def test_what_is_in_the_way_is_refused_and_kept(made, verdict, tmp_path, capsys, how):
    said = spoil(tmp_path, how)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert assay.run(["release", verdict, "--to", "out"]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_inside_a_result_is_refused(made, tmp_path, capsys):
    done = made.release()
    with pytest.raises(UserError, match="lies in a finished result"):
        require_free(done.folder / "copy")
    with pytest.raises(UserError, match="does not exist"):
        require_free(tmp_path / "no" / "such")


@pytest.mark.parametrize("place", [".", "..", "/", "runs"])
def test_a_folder_that_holds_something_has_no_room(made, verdict, capsys, place):
    assert assay.run(["release", verdict, "--to", place]) == ExitCode.USAGE
    assert "the folder for the release is not empty" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_of_the_copy(made, tmp_path, monkeypatch):
    done = made.release()
    real = shutil.copy

    def full(source, target):
        real(source, target)
        if Path(target).name == "release.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copy", full)
    with pytest.raises(UserError, match="the disk is full"):
        copy_release(done, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_a_copy_that_differs_is_not_published(made, tmp_path, monkeypatch):
    done = made.release()
    monkeypatch.setattr(shutil, "copy", lambda source, target: Path(target).write_bytes(b"rot"))
    with pytest.raises(UserError, match="the copy is not what was released"):
        copy_release(done, tmp_path / "out")
    assert not (tmp_path / "out").exists()
