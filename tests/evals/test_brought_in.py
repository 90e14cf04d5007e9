"""Models and rows that were made elsewhere are judged like others, and the verdict says who vouches for them."""

import json
import shutil
from pathlib import Path

import pytest

from evals.gate import judge_results
from evals.imports import files_by_split, import_adapter, import_dataset
from evals.models import load_models
from evals.row_facts import ReadRows, row_facts
from evals.run import dataset_of, evaluate
from evals.tokenizer_check import require_same_tokenizer
from schemas.errors import UserError
from schemas.manifest import read_manifest, write_manifest
from schemas.progress import Progress
from schemas.verdict import Verdict
from tests.evals.made_adapter import made_project
from tests.evals.test_methods import trained

QUIET = Progress(quiet=True)


@pytest.fixture
def imported(tmp_path: Path, fresh, tiny_model_folder):
    """A project whose rows and adapter came through `assay import`."""
    _, adapter = fresh
    root = tmp_path / "elsewhere"
    root.mkdir()
    for split, count in (("train", 40), ("test", 30)):
        rows = [
            {
                "prompt": f"Is the lamp in room {split[0]}{k * 37} of house {k * 11} on?",
                "completion": ("no", "yes")[k % 2],
            }
            for k in range(count)
        ]
        (root / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    runs = root / "runs"
    dataset = import_dataset(files_by_split([root / "train.jsonl", root / "test.jsonl"], {}), runs, "toy")
    made = import_adapter(adapter / "adapter", dataset.path, str(tiny_model_folder), runs, "toy")
    return made_project(root, tiny_model_folder), made


def test_what_was_imported_is_judged_and_its_provenance_is_said_to_be_unverified(imported):
    project, adapter = imported
    verdict = judge_results(project, evaluate(project, adapter.path, QUIET).path)
    found = Verdict.model_validate(json.loads((verdict.folder / "verdict.json").read_bytes()))
    checks = {check.name: check for check in found.checks}
    splits = checks["control:splits"].message
    assert "provenance unverified" in splits
    assert "training left no list of its rows, so the whole train split was taken for them" in splits
    assert checks["overfitting:drift"].measured["documents"] == 40
    assert checks["overfitting:gain-gap"].measured["train_rows"] > 0
    assert "provenance unverified" in (verdict.folder / "overfitting.txt").read_text("utf-8")


def test_a_model_with_a_tokenizer_of_its_own_is_refused(tmp_path, tiny_model_folder):
    project, made = trained(tmp_path, tiny_model_folder, "full", epochs=1)
    assert evaluate(project, made.path, QUIET).manifest.counts["failed"] == 0
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    path = folder / "model" / "tokenizer.json"
    settings = json.loads(path.read_bytes())
    path.write_text(json.dumps(settings), "utf-8")  # written otherwise, the same tokens
    require_same_tokenizer(folder / "model", tiny_model_folder)
    vocabulary = settings["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(UserError, match="another tokenizer than its base") as caught:
        require_same_tokenizer(folder / "model", tiny_model_folder)
    assert caught.value.problems[0].found == "another model"
    path.write_text("{", "utf-8")
    with pytest.raises(UserError, match="tokenizer file cannot be read"):
        require_same_tokenizer(folder / "model", tiny_model_folder)


def test_what_was_trained_in_four_bits_is_noted(done, tmp_path):
    _, adapter, _ = done
    folder = tmp_path / "adapter"
    shutil.copytree(adapter.folder, folder)
    manifest = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, manifest.model_copy(update={"config": {**manifest.config, "quantization": "4bit"}}))
    facts = row_facts(ReadRows(dataset_of(adapter.path).parent, folder))
    assert facts["artifact"] == {"whole": False, "quantization": "4bit"}


def test_a_quantised_model_is_refused_by_its_name(done, tmp_path, tiny_model_folder):
    """Whether it is the base model or what full fine-tuning made."""
    base, trained_folder = tmp_path / "base", tmp_path / "train"
    shutil.copytree(tiny_model_folder, base)
    path = base / "config.json"
    config = json.loads(path.read_bytes())
    path.write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq", "bits": 4}}), "utf-8")
    with pytest.raises(UserError, match="quantised model cannot be measured") as caught:
        load_models(base, done[1].folder)
    assert caught.value.problems[0].found == "quantization_config, method 'gptq'"
    shutil.copytree(base, trained_folder / "model")
    with pytest.raises(UserError, match="quantised model cannot be measured") as caught:
        load_models(tiny_model_folder, trained_folder)
    assert caught.value.problems[0].where == str(trained_folder / "model" / "config.json")


def test_a_merged_model_is_told_from_an_adapter(done, tmp_path, tiny_model_folder):
    with pytest.raises(UserError, match="holds a whole model, not an adapter") as caught:
        import_adapter(tiny_model_folder, dataset_of(done[1].path), None, tmp_path / "runs", "toy")
    assert "import the adapter that was merged into it" in caught.value.problems[0].help
