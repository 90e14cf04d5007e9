"""Finished selftests of the model gate: read them, and quote the one that fits this version."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from evals.selftest.case import GATE
from evals.selftest.rates import ModelRates, Rate
from schemas.errors import ManifestError
from schemas.manifest import MANIFEST_NAME, open_stage, read_manifest
from schemas.stage import code_digest, stage_folder

STAGE = "selftest-model"
ROOMS = ("schemas", "curate", "train", "evals")
RESULT = "selftest.json"
NOT_TESTED = (
    "This version of the gate was not self-tested on this machine: `assay selftest model` shows how often it is right."
)


def read_rates(finished: Path) -> ModelRates:
    """What a selftest found.

    Args:
        finished: its folder.

    Raises:
        ManifestError: the file cannot be read.
    """
    try:
        return ModelRates.model_validate_json((finished / RESULT).read_bytes())
    except (OSError, ValidationError) as error:
        raise ManifestError("the rates cannot be read", where=str(finished / RESULT), found=str(error)[:200]) from error


def newest_selftest(runs: Path) -> Path | None:
    """Of this version's selftests of the model gate that with most cases and seeds, then the newest; null without any.

    Args:
        runs: folder of all results.

    Returns:
        Its manifest.
    """
    code = code_digest(ROOMS)
    found = []
    for path in stage_folder(runs, STAGE).glob(f"*/{MANIFEST_NAME}"):
        try:
            manifest = read_manifest(path)
        except ManifestError:
            continue  # what cannot be read is not quoted
        if manifest.code == code:
            found.append((manifest.counts["cases"], manifest.counts["seeds"], manifest.provenance.started, path))
    return max(found)[-1] if found else None


def quoted(selftest: Path) -> list[str]:
    """What a report says of a selftest, in sentences.

    Args:
        selftest: its manifest.

    Raises:
        ManifestError: it is not as it was written.
    """
    rates = read_rates(open_stage(selftest, STAGE)[1])
    faults = [case.name for case in rates.cases if case.kind == "fault"]
    lines = [
        f"A selftest of this version tuned {rates.base_model} wrongly on purpose in {len(faults)} ways, with "
        f"{rates.seeds} seeds each: the gate failed {_words(rates.detection.get(GATE))} of these models, and "
        f"{_words(rates.false_alarms.get(GATE))} of the sound ones."
    ]
    lines += [
        f"{name}: failed {_words(rate)} of the models with a planted fault, and "
        f"{_words(rates.false_alarms.get(name))} of the sound ones."
        for name, rate in rates.detection.items()
        if name != GATE
    ]
    return [*lines, "Intervals are Clopper-Pearson's; each end alone holds with 95%."]


def gate_line(selftest: Path | None) -> str:
    """What the gate's own pages say of a selftest: one line.

    Args:
        selftest: its manifest; null where there is none.

    Raises:
        ManifestError: it is not as it was written.
    """
    return NOT_TESTED if selftest is None else quoted(selftest)[0]


def _words(rate: Rate | None) -> str:
    return f"{rate.hits} of {rate.trials} [{rate.low:.3f}, {rate.high:.3f}]" if rate and rate.trials else "none tried"
