"""The CycloneDX bill: valid by the official schema, complete, and the same bytes each time."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from schemas.manifest import read_manifest
from schemas.release import Release
from tests.evals.release.made_release import Made

HOSTILE = 'x\x00\x1b[31m\u202e</script> "quoted" \ud800'.encode("utf-8", "replace").decode()


def bill(made: Made) -> tuple[bytes, dict[str, Any]]:
    data = (made.release().folder / "bom.cdx.json").read_bytes()
    return data, json.loads(data)


@pytest.mark.parametrize("card", [None, {}, {"data_source": HOSTILE, "data_license": HOSTILE, "limits": [HOSTILE]}])
def test_the_bill_is_valid_by_the_schema(made, card):
    made.card = made.card if card is None else card
    data, _ = bill(made)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None


def test_a_bill_with_a_strange_field_is_not_valid(made):
    _, found = bill(made)
    found["metadata"]["component"]["modelCard"]["mood"] = "good"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is not None


def test_the_bytes_do_not_change(made):
    import shutil

    first = made.release().folder
    data = (first / "bom.cdx.json").read_bytes()
    shutil.rmtree(first)
    assert bill(made)[0] == data
    found = json.loads(data)
    assert "timestamp" not in found["metadata"]
    other = made.release(project=made.project(release={"targets": ["merged"]})).folder
    assert json.loads((other / "bom.cdx.json").read_bytes())["serialNumber"] != found["serialNumber"]


def test_the_model_names_its_base_data_and_numbers(made):
    _, found = bill(made)
    model = found["metadata"]["component"]
    assert (found["specVersion"], model["type"], model["name"]) == ("1.6", "machine-learning-model", "made")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    (base,) = model["pedigree"]["ancestors"]
    manifest = read_manifest(made.chain.base_model.path)
    assert base["hashes"] == [{"alg": "SHA-256", "content": manifest.content_digest}]
    assert (base["name"], base["licenses"]) == ("some-org/some-model", [{"license": {"id": "MIT"}}])
    card = model["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": "dataset"}]
    assert card["quantitativeAnalysis"]["performanceMetrics"][0] == {
        "type": "acc",
        "value": "0.91",
        "slice": "spam_test, tuned",
        "confidenceInterval": {"lowerBound": "0.87", "upperBound": "0.94"},
    }
    differences = [
        one for one in card["quantitativeAnalysis"]["performanceMetrics"] if one["type"] == "paired difference"
    ]
    assert [(one["slice"], one["value"]) for one in differences] == [("spam_test:improve", "0.49")]
    assert "It has never seen mail in Finnish" in card["considerations"]["technicalLimitations"]


def test_the_data_are_components_with_their_drops(made):
    _, found = bill(made)
    dataset, source = found["components"]
    assert (dataset["bom-ref"], dataset["type"], source["name"]) == ("dataset", "data", "raw.jsonl")
    notes = {one["name"]: one["value"] for one in dataset["properties"]}
    assert (notes["assay:rows_in"], notes["assay:rows_dropped:DUP201 exact-duplicate"]) == ("9", "2")
    assert source["data"] == [{"type": "dataset", "description": "Source: mail of a public archive."}]
    assert dataset["licenses"] == [{"license": {"name": "CC BY 4.0"}}]
    assert {one["ref"]: one.get("dependsOn") for one in found["dependencies"] if one.get("dependsOn")} == {
        "model": ["dataset"],
        "dataset": ["source-0"],
    }


def test_every_stage_and_every_exported_file_is_named_by_digest(made):
    done = made.release()
    found = json.loads((done.folder / "bom.cdx.json").read_bytes())
    model = found["metadata"]["component"]
    notes = {one["name"]: one["value"] for one in model["properties"]}
    said = Release.model_validate_json((done.folder / "release.json").read_bytes())
    named = {name.removeprefix("assay:sha256:"): value for name, value in notes.items() if ":sha256:" in name}
    assert {role: digest for role, digest in named.items() if ":" not in role} == said.subject
    stages = (made.chain.verdict, made.chain.results, made.chain.adapter, made.chain.dataset, made.chain.data_verdict)
    assert {stage.manifest.content_digest for stage in stages} - set(named.values()) == set()
    files = {
        file["name"]: file["hashes"][0]["content"] for target in model["components"] for file in target["components"]
    }
    assert files == {file.path: file.sha256 for target in said.targets for file in target.files}
    proofs = model["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [(one["type"], one["value"]) for one in proofs] == [
        ("largest difference of a log-probability, nats", "0.0001"),
        ("KL divergence a token, nats", "0.002"),
        ("difference of acc, spam_test", "-0.003"),
    ]
    assert proofs[1]["confidenceInterval"] == {"lowerBound": "0.001", "upperBound": "0.003"}
