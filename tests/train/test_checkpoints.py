"""A checkpoint counts only when all of it is on the disk."""

from pathlib import Path

from train.checkpoints import discard, latest, seal, step_of


def write(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    return checkpoint


def test_an_unsealed_checkpoint_is_ignored(tmp_path):
    assert latest(tmp_path) is None
    write(tmp_path, 5)
    assert latest(tmp_path) is None


def test_the_newest_sealed_checkpoint_wins_by_number(tmp_path):
    seal(write(tmp_path, 9))
    write(tmp_path, 10)
    assert latest(tmp_path) == tmp_path / "checkpoint-9"
    seal(tmp_path / "checkpoint-10")
    assert latest(tmp_path) == tmp_path / "checkpoint-10"


def steps_in(folder: Path) -> list[int]:
    return sorted(step_of(path) for path in folder.iterdir())


def test_sealing_deletes_the_older_ones_but_the_one_before_and_the_best(tmp_path):
    for step in (3, 6, 9, 12):
        seal(write(tmp_path, step), best_step=3)
    assert steps_in(tmp_path) == [3, 9, 12]


def test_a_checkpoint_that_was_not_sealed_is_not_the_one_before(tmp_path):
    seal(write(tmp_path, 3))
    write(tmp_path, 6)
    seal(write(tmp_path, 9))
    assert steps_in(tmp_path) == [3, 9]


def test_checkpoints_from_a_step_on_are_discarded(tmp_path):
    seal(write(tmp_path, 3))
    seal(write(tmp_path, 6))
    assert discard(tmp_path, 6) == 3
    assert steps_in(tmp_path) == [3]
    assert discard(tmp_path, 2) == 0
    assert steps_in(tmp_path) == []


def test_a_checkpoint_that_changed_or_lost_a_file_is_ignored(tmp_path):
    checkpoint = write(tmp_path, 3)
    seal(checkpoint)
    (checkpoint / "optimizer.pt").write_bytes(b"mom3nts")
    assert latest(tmp_path) is None
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    assert latest(tmp_path) == checkpoint
    (checkpoint / "adapter_model.safetensors").unlink()
    assert latest(tmp_path) is None
    (checkpoint / "complete.json").write_text("{")
    assert latest(tmp_path) is None


def test_steps_are_read_from_names():
    assert step_of(Path("checkpoint-12")) == 12
    assert step_of(Path("checkpoint-best")) == -1
