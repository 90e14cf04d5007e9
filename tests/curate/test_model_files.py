"""Finding a model's files without torch, network or conversion."""

import subprocess
import sys
from pathlib import Path

import pytest

from curate import model_files
from curate.model_files import (
    BUNDLED,
    base_model_inputs,
    bundled_file,
    conversion_stage,
    find_model_folder,
    model_cache,
)
from schemas.base import file_digest
from schemas.stage import run_stage

SMOL = BUNDLED["smollm2-135m-instruct"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    assert model_cache() == tmp_path / "cache" / "models"
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert model_cache() == Path("/some/cache/assay/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert model_cache() == Path.home() / ".cache" / "assay" / "models"


def test_a_bundled_model_is_found_only_once_it_is_converted():
    assert find_model_folder(SMOL.name) is None
    stage = conversion_stage(SMOL)
    folder = run_stage(
        _unversioned(stage), lambda folder: {"parameters": (folder / "config.json").write_text("{}")}
    ).folder
    assert find_model_folder(SMOL.name) == folder


def test_a_half_written_conversion_is_not_a_model():
    partial = conversion_stage(SMOL).folder
    partial.mkdir(parents=True)
    (partial / "config.json").write_text("{}")
    assert find_model_folder(SMOL.name) is None


def _unversioned(stage):
    import dataclasses

    return dataclasses.replace(stage, packages=())


def test_a_folder_is_found_from_the_folder_of_the_config(tmp_path):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "config.json").write_text("{}")
    assert find_model_folder("models/mine", tmp_path) == tmp_path / "models" / "mine"
    assert find_model_folder("./models/mine", tmp_path) == tmp_path / "models" / "mine"
    assert find_model_folder(str(tmp_path / "models" / "mine")) == tmp_path / "models" / "mine"
    assert find_model_folder("./models/other", tmp_path) is None
    (tmp_path / "models" / "mine" / "config.json").unlink()
    assert find_model_folder("models/mine", tmp_path) is None


def test_a_hub_model_is_found_in_the_hubs_own_cache(tmp_path):
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "models--org--name" / "refs").mkdir()
    (tmp_path / "hub" / "models--org--name" / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    find = "from curate.model_files import find_model_folder as f; print(f('org/name'), f('org/other'), f('not an id'))"

    def found() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", find],
            capture_output=True,
            text=True,
            check=True,
            env={"HF_HUB_CACHE": str(tmp_path / "hub"), "PATH": "", "HOME": str(tmp_path)},
        )
        return done.stdout.split()

    assert found() == ["None", "None", "None"]  # a config alone is what a tokenizer download leaves
    (snapshot / "model.safetensors").write_bytes(b"")
    assert found() == [str(snapshot), "None", "None"]


def test_a_converted_model_is_one_input_and_any_other_is_its_files(tmp_path):
    stage = _unversioned(conversion_stage(SMOL))
    converted = run_stage(stage, lambda folder: {"parameters": (folder / "config.json").write_text("{}")})
    place = tmp_path / "runs" / "train" / "x"
    place.mkdir(parents=True)
    (ref,) = base_model_inputs(converted.folder, place)
    assert (ref.role, ref.content) == ("base_model", converted.manifest.content_digest)
    assert (place / ref.path).resolve() == converted.path.resolve()

    local = tmp_path / "mine"
    local.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md", "pytorch_model.bin"):
        (local / name).write_text(name)
    refs = base_model_inputs(local, place)
    assert [Path(ref.path).name for ref in refs] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert [ref.sha256 for ref in refs] == [file_digest(place / ref.path) for ref in refs]


def test_a_distribution_that_is_missing_has_no_file(monkeypatch):
    import dataclasses

    assert bundled_file(dataclasses.replace(SMOL, distribution="no-such-distribution")) is None
    assert bundled_file(dataclasses.replace(SMOL, distribution="pydantic", file="no/such/file")) is None
    assert bundled_file(dataclasses.replace(SMOL, distribution="pydantic", file="pydantic/__init__.py")) is not None


def test_finding_a_model_loads_no_torch():
    code = (
        "import sys; from curate.model_files import find_model_folder; find_model_folder('smollm2-135m-instruct'); "
        "find_model_folder('org/name'); import curate.supervision; "
        "assert not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(model_files.__file__).parents[1])
