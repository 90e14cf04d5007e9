"""A checkpoint counts only when all of it is on the disk."""

from pathlib import Path

from train.checkpoints import latest, seal, step_of


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


def test_sealing_deletes_the_older_ones(tmp_path):
    seal(write(tmp_path, 3))
    seal(write(tmp_path, 6))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-6"]


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
