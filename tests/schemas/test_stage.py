import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ManifestError, UserError
from schemas.manifest import input_file, input_stage
from schemas.stage import Stage, code_digest, require, run_stage, stage_folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b"{}\n")
    return path


def plan(source: Path, **changes: Any) -> Stage:
    runs = source.parent / "runs"
    ref = input_file("source", source, stage_folder(runs, "curate") / "any")
    fields: dict[str, Any] = {
        "stage": "curate",
        "name": "made",
        "config": {"seed": 0},
        "config_given": {},
        "inputs": (ref,),
        "code": "c0de",
        "root": runs,
    }
    return Stage(**(fields | changes))


def fill(folder: Path) -> dict[str, int]:
    (folder / "train.jsonl").write_bytes(b"{}\n")
    return {"rows": 1}


def refuse(folder: Path) -> dict[str, int]:
    raise AssertionError("a finished stage must not run again")


def test_a_stage_runs_once_and_its_result_is_returned_after_that(source):
    first = run_stage(plan(source), fill)
    assert first.reused is False
    assert first.manifest.counts == {"rows": 1}
    again = run_stage(plan(source), refuse)
    assert again.reused is True
    assert again.manifest.body() == first.manifest.body()
    assert again.path == first.folder / "manifest.json"


def test_the_device_is_asked_for_once_the_work_is_done(source):
    done = []

    def work(folder):
        done.append("cuda")
        return fill(folder)

    finished = run_stage(plan(source), work, device=lambda: done[-1])
    assert finished.manifest.provenance.device == "cuda"
    elsewhere = run_stage(plan(source, name="other"), fill, device=lambda: "cpu")
    assert elsewhere.manifest.provenance.device == "cpu"
    assert run_stage(plan(source), refuse, device=lambda: "never asked").manifest.provenance.device == "cuda"


def test_inputs_are_named_so_that_they_are_found_from_the_result(source):
    finished = run_stage(plan(source), fill)
    [ref] = finished.manifest.inputs
    assert os.path.samefile(finished.folder / ref.path, source)


@pytest.mark.parametrize("change", [{"config": {"seed": 1}}, {"code": "other"}, {"name": "other"}, {"inputs": ()}])
def test_another_config_input_version_or_name_is_another_folder(source, change):
    assert plan(source, **change).folder != plan(source).folder


@pytest.mark.parametrize("change", [{"config_given": {"seed": 0}}, {"notes": ("late",)}])
def test_what_does_not_decide_the_result_does_not_decide_the_folder(source, change):
    assert plan(source, **change).folder == plan(source).folder


def test_a_changed_result_is_never_returned(source):
    finished = run_stage(plan(source), fill)
    (finished.folder / "train.jsonl").write_bytes(b"{ }\n")
    with pytest.raises(ManifestError, match="do not match"):
        run_stage(plan(source), fill)
    with pytest.raises(ManifestError, match="do not match"):
        require(plan(source), "curate")


def test_an_interrupted_stage_runs_again_from_the_start(source):
    def stop(folder: Path) -> dict[str, int]:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(plan(source), stop)
    assert os.listdir(plan(source).folder.parent) == []
    assert run_stage(plan(source), fill).reused is False


def test_a_result_that_another_run_finished_just_before_is_returned(source, monkeypatch):
    stage = plan(source)
    entered = Path.mkdir

    def late(path: Path, *given: Any, **named: Any) -> None:
        entered(path, *given, **named)
        if path == stage.folder.parent:  # this run has seen no result, and holds no lock yet
            monkeypatch.undo()
            run_stage(stage, fill)

    monkeypatch.setattr(Path, "mkdir", late)
    assert run_stage(stage, refuse).reused is True
    assert os.listdir(stage.folder.parent) == [stage.folder.name]


def test_the_lock_of_a_run_that_was_killed_at_its_very_end_goes(source):
    stage = plan(source)
    run_stage(stage, fill)
    lock = stage.folder.with_name(f".{stage.folder.name}.lock")
    lock.write_text("process 4711")
    assert run_stage(stage, refuse).reused is True
    assert not lock.exists()


@pytest.mark.parametrize("kind", ["a file", "a result"])
@pytest.mark.parametrize("how", ["changed", "removed"])
def test_what_was_made_of_an_input_that_changed_meanwhile_is_thrown_away(source, kind, how):
    earlier = run_stage(plan(source, name="earlier"), fill)
    changed = source if kind == "a file" else earlier.folder / "train.jsonl"
    stage = plan(
        source, inputs=(plan(source).inputs[0], input_stage("dataset", earlier.path, earlier.folder.parent / "any"))
    )

    def work(folder: Path) -> dict[str, int]:
        changed.unlink() if how == "removed" else changed.write_bytes(b"other")
        return fill(folder)

    with pytest.raises(UserError, match="an input changed while it was being used"):
        run_stage(stage, work, resume=True, rehash=True)
    assert os.listdir(stage.folder.parent) == [earlier.folder.name]
    changed.write_bytes(b"{}\n")
    assert run_stage(stage, fill, resume=True, rehash=True).reused is False


def test_the_repository_that_a_run_is_started_in_is_only_read(source, monkeypatch):
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        subprocess.run(["git", *identity, *words], cwd=source.parent, check=True, capture_output=True)

    git("init")
    git("add", source.name)
    git("commit", "-m", "rows")
    os.utime(source, (0, 0))  # so that `git status` has something to note in its index
    index = source.parent / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.chdir(source.parent)
    recorded = run_stage(plan(source), fill).manifest.provenance.git
    assert recorded is not None
    assert recorded["dirty"] is True
    assert index.read_bytes() == before


def test_what_was_not_made_yet_is_asked_for_by_its_command(source):
    with pytest.raises(UserError) as caught:
        require(plan(source), "curate")
    assert caught.value.problems[0].help == "run `assay curate` first"
    assert caught.value.problems[0].found == "no result"
    run_stage(plan(source), fill)
    other = plan(source, config={"seed": 1})
    with pytest.raises(UserError) as caught:
        require(other, "curate")
    assert caught.value.problems[0].found == f"only results of other configs or inputs: {plan(source).folder.name}"
    assert require(plan(source), "curate").reused is True


def test_the_digest_of_the_sources_depends_on_the_rooms_named_and_not_on_their_order():
    assert code_digest(["schemas", "evals"]) == code_digest(["evals", "schemas"])
    assert code_digest(["schemas"]) != code_digest(["evals"])
    with pytest.raises(ModuleNotFoundError):
        code_digest(["no_such_room"])


def test_what_a_killed_write_left_is_not_published(source):
    """A killed process leaves the files that it was writing; the next one goes on in the same folder."""

    def killed(folder):
        (folder / "checkpoints").mkdir()
        for name in (".metrics.jsonl.4711.tmp", "checkpoints/.state.json.12.tmp"):
            (folder / name).write_bytes(b'{"step"')
        (folder / "metrics.jsonl").write_bytes(b"{}\n")
        (folder / ".mine.tmp").write_bytes(b"not of an unfinished write")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(plan(source), killed, resume=True)
    assert (plan(source).folder.with_suffix(".partial") / ".metrics.jsonl.4711.tmp").is_file()
    finished = run_stage(plan(source), fill, resume=True)
    held = {path.relative_to(finished.folder).as_posix() for path in finished.folder.rglob("*") if path.is_file()}
    assert held == {".mine.tmp", "manifest.json", "metrics.jsonl", "train.jsonl"}
    assert {file.path for file in finished.manifest.files} == held - {"manifest.json"}
