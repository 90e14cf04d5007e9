"""Who signed a release, as part of its verification."""

from __future__ import annotations

from pathlib import Path

from evals.chain import Difference, Verification, shown
from evals.release.signing import signature_problem
from evals.release.written import SIGNATURE
from schemas.errors import UserError

STAGE = "release"


def check_signature(verification: Verification, public_key: Path | None) -> None:
    """Add to a verification what its release's signature says.

    Args:
        verification: of a chain or an index.
        public_key: PEM file of the key that must have signed it; null only says whether there is a signature.

    Raises:
        UserError: a key is given and this is no release, or the key cannot be read.
        MissingExtra: the package that checks signatures is not installed.
    """
    manifest, folder = verification.root.manifest, verification.root.folder
    if manifest is None or manifest.stage != STAGE:
        if public_key is not None and verification.root.error is None:
            raise UserError(
                "only a release can be signed",
                where=str(verification.root.path),
                found=f"stage {manifest.stage!r}" if manifest else "an index",
                expected="the folder of a release",
            )
        return
    place = folder / SIGNATURE
    if public_key is None:
        there = f"signed: `assay verify --public-key KEY` checks by whom ({SIGNATURE})"
        verification.notes.append(f"{shown(folder)}: {there if place.is_file() else 'not signed'}")
        return
    problem = signature_problem(folder, public_key)
    if problem:
        verification.differences.append(Difference(shown(place), problem, f"a signature by {public_key}"))
    else:
        verification.notes.append(f"{shown(folder)}: the signature is by {public_key}")
