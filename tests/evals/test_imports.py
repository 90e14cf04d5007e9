import importlib
import json
from pathlib import Path

import polars as pl
import pytest

import assay
from schemas.errors import ExitCode
from schemas.manifest import open_stage
from tests.tiny_model import write_tiny_tokenizer


def chat(text: str, answer: str) -> str:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}) + "\n"


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [chat(f"question {n} about the number {n * n}", "yes" if n % 2 else "no") for n in range(8)]
    (folder / "train.jsonl").write_text("".join(rows[:5]) + "{broken\n")
    (folder / "valid.jsonl").write_text(rows[5])
    (folder / "my-test.jsonl").write_text(rows[6] + rows[0])
    return folder


def test_an_imported_dataset_has_the_curated_layout_and_loses_no_row(splits, capsys):
    assert assay.run(["import", "dataset", str(splits)]) == 0
    captured = capsys.readouterr()
    manifest, folder = open_stage(Path(captured.out.strip()), "curate")
    assert manifest.counts == {
        "rows_in": 9,
        "rows_kept": 8,
        "rows_dropped": 1,
        "train": 5,
        "validation": 1,
        "test": 2,
    }
    assert captured.err.startswith("unverified: ")
    assert manifest.provenance.notes[0].startswith("unverified: ")
    assert [ref.role for ref in manifest.inputs] == ["source"] * 3
    assert len((folder / "data" / "test.jsonl").read_text().splitlines()) == 2
    assert pl.read_parquet(folder / "dropped.parquet")["raw"].to_list() == [b"{broken"]
    assert json.loads((folder / "split_proof.json").read_bytes())["cross_split_pairs"] == 1, "row 0 is in two splits"
    assert assay.run(["verify", str(folder)]) == 0


def test_rows_of_the_wrong_type_are_dropped_with_their_reason(splits, capsys):
    with (splits / "train.jsonl").open("a") as stream:
        stream.write('{"messages": [null]}\n')
    assert assay.run(["import", "dataset", str(splits)]) == 0
    folder = Path(capsys.readouterr().out.strip()).parent
    assert json.loads((folder / "ledger.json").read_bytes())["by_rule"] == {"SCH101": 1, "SCH107": 1}


def test_splits_may_be_named_by_flags(splits, capsys):
    arguments = [
        "import",
        "dataset",
        "--train",
        "mine/my-test.jsonl",
        "--test",
        "mine/train.jsonl",
        "--name",
        "swapped",
    ]
    assert assay.run([*arguments, "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["counts"]["train"] == 2
    assert Path(result["manifest"]).parent.name.startswith("swapped-")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--test", "mine/my-test.jsonl"], "an imported dataset needs rows for training"),
        (["mine/absent.jsonl"], "no such data file"),
        (["rows.jsonl"], "the name of this file does not tell its split"),
        (["--train", "mine/train.jsonl", "--name", "../up"], "Invalid value for --name"),
    ],
)
def test_a_dataset_that_cannot_be_meant_is_refused_and_nothing_is_written(splits, capsys, arguments, problem):
    Path("rows.jsonl").write_text(chat("a", "b"))
    assert assay.run(["import", "dataset", *arguments]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {problem}")
    assert not Path("runs").exists()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    numpy = importlib.import_module("numpy")
    save_file = importlib.import_module("safetensors.numpy").save_file
    folder = tmp_path / "My Adapter"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": str(tmp_path / "base")}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "optimizer.pt").write_bytes(b"left behind")
    save_file({"a.lora_A.weight": numpy.ones((2, 4), dtype="f4")}, folder / "adapter_model.safetensors")
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "tokenizer.json").write_text("{}")
    save_file({"w": numpy.ones(3, dtype="f4")}, base / "model.safetensors")
    return folder


def imported_dataset(capsys: pytest.CaptureFixture[str]) -> str:
    assert assay.run(["import", "dataset", "mine"]) == 0
    return capsys.readouterr().out.strip()


def test_an_imported_adapter_has_the_layout_of_training_and_names_dataset_and_base_model(splits, adapter, capsys):
    dataset = imported_dataset(capsys)
    assert assay.run(["import", "adapter", str(adapter), "--dataset", dataset]) == 0
    manifest, folder = open_stage(Path(capsys.readouterr().out.strip()), "train")
    assert folder.name.startswith("my-adapter-")
    assert manifest.counts == {"trainable_parameters": 8}
    assert manifest.provenance.notes[0].startswith("unverified: ")
    assert [entry.path for entry in manifest.files] == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    ]
    assert [ref.role for ref in manifest.inputs] == ["dataset", "base_model", "base_model", "base_model"]
    assert assay.run(["verify", str(folder)]) == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"adapter_model.safetensors": None}, "this folder holds no LoRA adapter"),
        ({"adapter_config.json": b"{"}, "the adapter's settings are not JSON"),
        ({"adapter_config.json": b'{"peft_type": "IA3"}'}, "this adapter is not LoRA"),
        ({"adapter_config.json": b'{"peft_type": "LORA"}'}, "the adapter does not name its base model"),
        ({"adapter_model.safetensors": b"pickle"}, "the adapter's weights cannot be read"),
    ],
)
def test_a_folder_that_is_no_adapter_is_refused(splits, adapter, capsys, change, problem):
    dataset = imported_dataset(capsys)
    for name, data in change.items():
        (adapter / name).unlink()
        if data is not None:
            (adapter / name).write_bytes(data)
    assert assay.run(["import", "adapter", str(adapter), "--dataset", dataset]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {problem}")
    assert not Path("runs/train").exists()


# ------------------------------------------------------------------------------------------------------- its tokenizer


@pytest.fixture
def with_tokenizer(splits, adapter):
    """The adapter with the tokenizer files of its base model, as trainers leave them."""
    for folder in (adapter, adapter.parent / "base"):
        write_tiny_tokenizer(folder)
    return adapter


def test_an_adapter_may_hold_the_tokenizer_of_its_base_as_another_version_wrote_it(with_tokenizer, capsys):
    path = with_tokenizer / "tokenizer.json"
    said = json.loads(path.read_bytes())
    said["truncation"] = {"direction": "Right", "max_length": 64, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(dict(reversed(said.items())), indent=7))
    dataset = imported_dataset(capsys)
    assert assay.run(["import", "adapter", str(with_tokenizer), "--dataset", dataset]) == 0


def test_an_adapter_with_another_tokenizer_or_template_is_refused(with_tokenizer, capsys):
    dataset = imported_dataset(capsys)
    command = ["import", "adapter", str(with_tokenizer), "--dataset", dataset]

    def refused():
        assert assay.run(command) == ExitCode.USAGE
        assert not Path("runs/train").exists()
        return capsys.readouterr().err

    path, settings = with_tokenizer / "tokenizer.json", with_tokenizer / "tokenizer_config.json"
    whole, given = path.read_bytes(), settings.read_bytes()
    more = json.loads(whole)
    more["model"]["vocab"]["new"] = 259
    path.write_text(json.dumps(more))
    assert "another tokenizer than its base model has" in refused()
    path.write_bytes(b"{")
    assert "a tokenizer file cannot be read" in refused()
    path.write_bytes(whole)
    settings.write_bytes(given.replace(b"<|im_start|>assistant", b"<|im_start|>bot"))
    assert "another chat template than its base model has" in refused()
    settings.write_bytes(given)
    assert assay.run(command) == 0
