"""The whole chain on a tiny model, command by command: from raw rows to a signed release in a folder of one's own."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import assay
from curate.configfile import load_project
from schemas.errors import ExitCode
from schemas.manifest import read_manifest
from schemas.release import Release
from schemas.stage import require
from schemas.verdict import Outcome
from tests.evals.made_adapter import TASK, made_adapter
from tests.evals.release.made_source import write_base

ANIMALS = "fox owl hen cat dog elk bee ant yak emu cow rat pig ram doe bat eel koi jay asp".split()
PLACES = "barn wood lake hill moor cave yard loft ford glen cove reef dune mesa pond vale moat park pier quay".split()


def rows() -> Iterator[dict[str, Any]]:
    for animal in ANIMALS:
        for place in PLACES:
            wild = (ANIMALS.index(animal) + PLACES.index(place)) % 2
            turns = [f"{animal} {PLACES.index(place)} at the {place} {ANIMALS.index(animal)}", "yes" if wild else "no"]
            roles = ("user", "assistant")
            yield {"messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]}


CONFIG: dict[str, Any] = {
    "name": "toy",
    "data": {"sources": ["rows.jsonl"]},
    "curate": {"steps": ["schema", "exact-duplicate"], "split": {"threshold": 1.0}},
    "gates": {
        "data": {"min_rows": 10, "min_supervised_tokens": 1, "max_errors": 1000, "split_proof": "optional"},
        "model": {
            "tasks": {"toy_test": {"must": "not_regress", "margin": 1.0}},
            "overfitting": {"gain_gap": "off", "membership": "off"},
        },
    },
    "train": {"max_examples": None, "lora": {"r": 4}},
    "evals": {"suites": ["toy_test"], "batch_size": 8, "limit": 40},
    "release": {"targets": ["adapter", "merged", "gguf-f16"], "sequences": 20, "margin": 0.2},
}


@dataclass
class Toy:
    root: Path

    def run(self, *words: str) -> int:
        before = Path.cwd()
        os.chdir(self.root)
        try:
            return assay.run([*words, "-q"] if words[0] != "verify" else list(words))
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A project with a passing verdict of its model gate; the adapter has random weights."""
    root = tmp_path_factory.mktemp("toy")
    write_base(root / "base")
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (root / "toy_test.yaml").write_text(yaml.safe_dump(TASK))
    config = CONFIG | {"train": CONFIG["train"] | {"base_model": str(root / "base")}}
    (root / "assay.yaml").write_text(yaml.safe_dump(config))
    toy = Toy(root)
    assert toy.run("curate") == ExitCode.PASS
    assert toy.run("gate", "data") == ExitCode.PASS
    project = load_project(root / "assay.yaml")
    from curate.pipeline import curate_stage

    made_adapter(project, require(curate_stage(project), "curate"), rows=11)
    assert toy.run("evals") == ExitCode.PASS
    assert toy.run("gate", "model") == ExitCode.PASS
    return toy


def test_released_signed_copied_and_verified(toy, capsys):
    from tests.evals.release.test_signing import make_key

    private, public = make_key(toy.root)
    assert toy.run("release", "--sign", private.name, "--to", "out") == ExitCode.PASS
    capsys.readouterr()
    assert toy.run("verify", "out", "--public-key", public.name) == ExitCode.PASS
    said = capsys.readouterr().out
    assert "unchanged: 6 stages" in said
    folder = toy.root / "out"
    found = Release.model_validate_json((folder / "release.json").read_bytes())
    assert {target.name: target.equivalence.outcome for target in found.targets} == dict.fromkeys(
        ("adapter", "merged", "gguf-f16"), Outcome.PASS
    )
    assert {ref.role for ref in read_manifest(folder).inputs} >= {"gate_verdict", "base_model", "dataset"}
    assert str(toy.root) not in (folder / "merged" / "README.md").read_text()
    assert str(toy.root) not in (folder / "bom.cdx.json").read_text()
    (toy.root / "rows.jsonl").write_bytes((toy.root / "rows.jsonl").read_bytes())
    assert toy.run("verify", "out") == ExitCode.PASS


def test_the_same_release_twice_is_the_same_bytes(toy):
    """But for times, which the manifest holds."""
    assert toy.run("release", "--out", "runs") == ExitCode.PASS
    (first,) = [path for path in (toy.root / "runs" / "release").glob("toy-*") if not (path / "model.sig").exists()]
    files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    first.rename(toy.root / "kept")
    assert toy.run("release") == ExitCode.PASS
    again = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert [str(name) for name in files if files[name] != again[name]] == ["manifest.json"]


def test_a_bound_that_rounding_exceeds_keeps_all_back(toy, capsys):
    before = sorted(path.name for path in (toy.root / "runs").glob("release/*"))
    assert toy.run("release", "--set", "release.max_log_p=1.0e-12") in (ExitCode.FAIL, ExitCode.INCONCLUSIVE)
    assert "nothing is released" in capsys.readouterr().err
    after = sorted(path.name for path in (toy.root / "runs").glob("release/*"))
    assert [name for name in after if name not in before and not name.endswith(".failed")] == []


def test_another_base_model_is_refused(toy, capsys):
    write_base(toy.root / "other", seed=1)
    verdict = next((toy.root / "runs" / "gate-model").glob("toy-*"))
    assert toy.run("release", str(verdict), "--set", "train.base_model=other") == ExitCode.USAGE
    assert "the adapter was trained on another base model" in capsys.readouterr().err
