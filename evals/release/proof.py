"""What a finished release claims, checked again from its files."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from evals.release.conclude import digests, judge, parts, summary
from evals.release.written import BILL, RELEASE, SIGNATURE
from schemas.compare import Measured
from schemas.manifest import Manifest
from schemas.release import Equivalence, Release, ReleasedTarget
from schemas.release_config import ReleaseConfig
from schemas.verdict import Outcome, combine


def release_problems(manifest: Manifest, folder: Path) -> list[str]:
    """Every claim of a release that its own files contradict, in words.

    Args:
        manifest: of the release; its files were compared with it before.
        folder: of the release.

    Raises:
        ValueError, KeyError, OSError: a file is not what a release holds.
    """
    try:
        said = Release.model_validate_json((folder / RELEASE).read_bytes())
    except ValidationError as error:
        return [f"{RELEASE} is no release: {error.error_count()} fields do not fit"]
    return [
        *_outcome(said),
        *_numbers(said, manifest),
        *_subject(said, manifest),
        *_files(said, manifest, folder),
        *_bill(said, folder),
    ]


def _numbers(said: Release, manifest: Manifest) -> list[str]:
    """Whether the numbers of every proof are within the bounds of the config, whatever its checks say."""
    bounds = ReleaseConfig.model_validate(manifest.config["release"])
    released, wanted = sorted(target.name for target in said.targets), sorted(bounds.targets)
    found = [f"it holds {', '.join(released)}, asked for were {', '.join(wanted)}"] if released != wanted else []
    return found + [
        f"{target.name}: {what} outside the bounds that the config sets"
        for target in said.targets
        for what in _outside(target.equivalence, bounds)
    ]


def _outside(found: Equivalence, bounds: ReleaseConfig) -> list[str]:
    """Which numbers of a proof are not those of an equivalent model."""
    alike = [one for one in (found.kl, found.answer_kl) if one is not None and one.estimate is not None]
    tokens = found.max_log_p is not None and found.max_log_p <= bounds.max_log_p
    near = bool(alike) and all(one.high is not None and one.high < bounds.max_kl for one in alike)
    problems = [] if tokens or (near and not found.exact) else ["its log-probabilities are"]
    return problems + [
        f"the answers to {one.task} are"
        for one in found.tasks
        if one.same + one.ties != one.items and (found.exact or not _within(one.difference, bounds.margin))
    ]


def _within(difference: Measured, margin: float) -> bool:
    low, high = difference.low, difference.high
    return low is not None and high is not None and -margin < low and high < margin


def _outcome(said: Release) -> list[str]:
    """Whether outcome and summary follow from the checks, and whether this may have been released at all."""
    found = [
        f"the proof of {name} says {claimed.value}, its checks combine to {combined.value}"
        for name, (claimed, checks) in parts(said.targets, said.smoke).items()
        if (combined := combine(check.outcome for check in checks)) != claimed
    ]
    outcome = judge(said.targets, said.smoke)
    if said.outcome != outcome:
        found.append(f"the release says {said.outcome.value}, its proofs combine to {outcome.value}")
    if outcome is not Outcome.PASS:
        found.append(f"it was published although its proofs combine to {outcome.value}")
    if said.summary != summary(said.targets, said.smoke):
        found.append("its summary is not what its proofs say")
    if (said.gate is Outcome.PASS) != (said.override is None):
        found.append(f"the gate said {said.gate.value}, and the override is {said.override!r}")
    return found


def _subject(said: Release, manifest: Manifest) -> list[str]:
    """Whether what was signed and what the manifest names are the same."""
    found = []
    made_from = digests(manifest.inputs)
    if said.subject != made_from:
        unlike = sorted(role for role in said.subject | made_from if said.subject.get(role) != made_from.get(role))
        found.append(f"release.json and the manifest name another {', '.join(unlike)}")
    config = manifest.config
    for name, value in (("override", said.override), ("signed_by", said.signed_by)):
        if config[name] != value:
            found.append(f"release.json says {name} {value!r}, the manifest {config[name]!r}")
    if config["smoke"] != (said.smoke is not None):
        found.append("the manifest and release.json differ on whether a smoke test was made")
    return found


def _files(said: Release, manifest: Manifest, folder: Path) -> list[str]:
    """Whether every file is the one that release.json names."""
    named = said.evidence | {file.path: file.sha256 for target in said.targets for file in target.files}
    own = {RELEASE, *([SIGNATURE] if said.signed_by else [])}
    there = {entry.path: entry.sha256 for entry in manifest.files if entry.path not in own}
    found = [f"release.json names {path}, which is not there" for path in sorted(named.keys() - there)]
    found += [f"release.json does not name {path}" for path in sorted(there.keys() - named)]
    if said.signed_by and not (folder / SIGNATURE).is_file():
        found.append(f"release.json says that it is signed, and there is no {SIGNATURE}")
    return found + [
        f"{path} is not the file that release.json names"
        for path, sha256 in sorted(named.items())
        if there.get(path, sha256) != sha256
    ]


def _bill(said: Release, folder: Path) -> list[str]:
    """Whether the bill names the exported files by the digests that they have."""
    described = json.loads((folder / BILL).read_bytes())["metadata"]["component"]
    billed = {
        file["name"]: file["hashes"][0]["content"] for one in described["components"] for file in one["components"]
    }
    targets: tuple[ReleasedTarget, ...] = said.targets
    exported = {file.path: file.sha256 for target in targets for file in target.files}
    unlike = sorted(path for path in billed.keys() | exported if billed.get(path) != exported.get(path))
    return [f"the bill and release.json differ on {', '.join(unlike)}"] if unlike else []
