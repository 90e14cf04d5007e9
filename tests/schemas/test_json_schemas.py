"""The committed JSON Schemas describe what is really written."""

import json
from pathlib import Path

import jsonschema
import pytest

from schemas.finding import Finding, Severity
from schemas.manifest import Manifest, Provenance
from schemas.results import EvalResults, TaskScore
from schemas.verdict import Check, Outcome, Verdict

FOLDER = Path(__file__).parents[2] / "schemas" / "json"
PROVENANCE = Provenance(
    started="2026-01-01", seconds=1.0, command=("assay",), python="3.11", packages={}, git=None, device="cpu"
)
CHECK = Check(name="min-rows", outcome=Outcome.PASS, message="there are 300 rows", measured={"rows": 300})
SCORE = TaskScore(task="spam_test", model="tuned", metric="acc", value=0.9, higher_is_better=True, items=10)
WRITTEN: dict[str, str | bytes] = {
    "manifest": Manifest(
        stage="curate",
        name="made",
        fingerprint="f" * 64,
        code="c" * 64,
        config={},
        config_given={},
        inputs=(),
        files=(),
        counts={},
        provenance=PROVENANCE,
    ).to_bytes(),
    "verdict": Verdict(
        gate="data", outcome=Outcome.PASS, subject={}, checks=(CHECK,), summary="it may"
    ).model_dump_json(),
    "results": EvalResults(scores=(SCORE,), models={}, tasks={}).model_dump_json(),
    "finding": Finding(
        code="DUP201",
        name="exact-duplicate",
        severity=Severity.ERROR,
        path="raw.jsonl",
        line=2,
        row_id="a",
        message="the row occurs twice",
        fingerprint="b",
    ).model_dump_json(),
    "config": json.dumps(
        {
            "name": "made",
            "data": {"sources": ["raw.jsonl"]},
            "gates": {"model": {"tasks": {"spam_test": {"must": "improve", "detect": 0.15}}}},
            "evals": {"suites": ["spam_test"]},
        }
    ),
    "row-chat": '{"messages": [{"role": "user", "content": "hello"}]}',
    "row-text": '{"text": "hello"}',
}


def schema(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_every_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_what_is_written_fits_its_schema_and_a_stranger_field_does_not(name):
    written = json.loads(WRITTEN[name])
    jsonschema.validate(written, schema(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written | {"stranger": 1}, schema(name))
