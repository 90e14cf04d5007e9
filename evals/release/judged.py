"""What may be released: a model with a passing verdict whose chain of evidence is as it was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from evals.chain import Node, unchanged_chain
from evals.release.source import Source
from schemas.errors import ManifestError, Problem, UserError, Withheld
from schemas.manifest import Manifest, manifest_path, read_manifest
from schemas.verdict import EXIT_CODES, Check, Outcome, Verdict

GATE = "gate-model"
VERDICT = "verdict.json"
ROLES = ("results", "adapter", "dataset")
"""What a release names of a verdict's inputs, beside the base model."""
SHOWN_REASONS = 10


@dataclass(frozen=True)
class Judged:
    """A model with its verdict, everything behind it re-hashed."""

    chain: Node
    """Of the verdict."""
    verdict: Verdict
    places: dict[str, Path]
    """Role -> manifest, of ROLES."""

    @property
    def gate(self) -> Manifest:
        """The verdict's manifest."""
        assert self.chain.manifest is not None
        return self.chain.manifest

    @property
    def results(self) -> Path:
        """Stage folder of the evaluation."""
        return self.places["results"].parent

    def source(self, base: Path) -> Source:
        """What is exported.

        Args:
            base: folder of the base model.

        Raises:
            UserError: it was judged at an endpoint, so nobody knows which weights answered.
        """
        evals = read_manifest(self.places["results"]).config.get("evals", {})
        if evals.get("backend"):
            raise UserError(
                "the model was judged through a backend, and an export is compared with what this process loads",
                where=str(self.places["results"]),
                found=f"evals.backend: {evals['backend'].get('model')!r}",
                expected="an evaluation without evals.backend",
                help="run `assay evals` and `assay gate model` without it",
            )
        return Source(self.gate.name, base, self.places["adapter"].parent, evals.get("dtype", "float32"))


def read_judged(verdict: Path) -> Judged:
    """A verdict of the model gate with its chain, re-hashed down to the raw rows.

    Args:
        verdict: its manifest or folder.

    Raises:
        ManifestError: it is of another stage, or anything behind it is not as it was written.
    """
    path = manifest_path(verdict)
    stage = read_manifest(path).stage
    if stage != GATE:
        raise ManifestError(
            "a release is made from a model gate's verdict",
            where=str(path),
            found=f"stage {stage!r}",
            help="give the manifest of a folder under runs/gate-model/, or run `assay gate model` first",
        )
    chain = unchanged_chain(path, "nothing is released")
    try:
        said = Verdict.model_validate_json((chain.folder / VERDICT).read_bytes())
    except (OSError, ValidationError) as error:
        found = str(error).splitlines()[0]
        raise ManifestError("the verdict cannot be read", where=str(chain.folder / VERDICT), found=found) from error
    places = {link.ref.role: link.node.path for link in chain.links if link.ref.role in ROLES}
    missing = sorted(set(ROLES) - set(places))
    if missing:
        raise ManifestError(
            "the verdict does not say what was judged",
            where=str(path),
            found=f"no {', '.join(missing)} among its inputs",
            help="run `assay gate model` again",
        )
    return Judged(chain, said, places)


def require_pass(judged: Judged, override: str | None) -> None:
    """Let a model through that passed, or that a person releases all the same.

    Args:
        judged: the model with its verdict.
        override: why it is released although it did not pass.

    Raises:
        Withheld: it did not pass, and nobody overrides that.
        UserError: there is nothing to override.
    """
    said = judged.verdict
    if said.outcome is Outcome.PASS:
        if override is not None:
            raise UserError(
                "there is nothing to override: the model gate passed",
                where=str(judged.chain.folder),
                found=f"--override {override!r}",
                help="leave it out; a card that speaks of an override would be wrong",
            )
        return
    if override is None:
        raise Withheld(
            EXIT_CODES[said.outcome],
            Problem(
                "the model gate did not pass, so nothing is released",
                where=str(judged.chain.folder),
                found="\n".join([f"{said.outcome.value}: {said.summary}", *reasons(said.checks)]),
                expected="verdict pass",
                help="repair what it names; `--override REASON` releases all the same, and the card says so",
            ),
        )


def reasons(checks: tuple[Check, ...]) -> list[str]:
    """A line for each check that stands in the way, those that failed first."""
    against = [
        check
        for outcome in (Outcome.FAIL, Outcome.STALE, Outcome.INCONCLUSIVE)
        for check in checks
        if check.outcome is outcome
    ]
    lines = [_reason(check) for check in against[:SHOWN_REASONS]]
    more = len(against) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _reason(check: Check) -> str:
    return f"{check.name} ({check.outcome.value}): {check.message}" + (f"; {check.help}" if check.help else "")
