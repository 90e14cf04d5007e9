"""`assay release`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli_options import chosen_project, optional_project_options
from evals.cli_evidence import CONFIG_SUFFIXES, verdict_of
from schemas.errors import ExitCode, UserError
from schemas.terminal import printable

if TYPE_CHECKING:
    from schemas.release import Release
    from schemas.stage import Finished


@click.command(short_help="Export the judged model with the proof that it is the one.")
@click.argument("given", metavar="[CONFIG|VERDICT]", required=False, type=click.Path(path_type=Path))
@optional_project_options()
@click.option("--override", metavar="REASON", help="Release what the gate did not pass; the card says so, and why.")
@click.option("--smoke", is_flag=True, help="Also serve the released folder on this machine, and ask it test items.")
@click.option(
    "--sign", "key_file", type=click.Path(path_type=Path), metavar="KEY",
    help="Sign with this private key (PEM, elliptic curve); the variable ASSAY_SIGN_PASSWORD opens an encrypted one.",
)  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(path_type=Path), metavar="FOLDER", help="Put the release there as well."
)
def release(
    given: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    form: str,
    quiet: bool,
    **wanted: Any,
) -> ExitCode:
    """Export the model that passed its gate, prove that each export answers like it, and write card and bill.

    VERDICT is the manifest or folder of the model gate's verdict; by default it is the one of the config. Everything
    behind it is re-hashed first. What `release.targets` names is exported, loaded back by another path and compared
    with the model that was judged; a release is published whole or not at all. Prints the path of its manifest.

    Exit 0: released, every target proven equivalent. 1: the gate failed, or a target is not equivalent. 4: either is
    inconclusive. 2: it is refused.
    """
    from evals.release.copying import copy_release, require_free
    from evals.release.run import Wish
    from evals.release.run import release as run
    from evals.release.signing import read_key
    from schemas.progress import Progress

    is_config = given is not None and given.suffix in CONFIG_SUFFIXES
    project = chosen_project(given if is_config else None, config, overrides, out)
    override, key_file, target = wanted["override"], wanted["key_file"], wanted["target"]
    if override is not None and not override.strip():
        raise UserError("an override needs a reason", where="--override", found=repr(override))
    wish = Wish(override, wanted["smoke"], read_key(key_file) if key_file else None)
    if target is not None:
        require_free(target)
    verdict = verdict_of(project) if given is None or is_config else given
    with Progress(quiet=quiet) as progress:
        made = run(project, verdict, wish, progress)
    manifest = made.path if target is None else copy_release(made, target)
    _show(made, manifest, form, quiet)
    return ExitCode.PASS


def _show(made: Finished, manifest: Path, form: str, quiet: bool) -> None:
    from evals.release.written import RELEASE
    from schemas.release import Release

    said = Release.model_validate_json((made.folder / RELEASE).read_bytes())
    if form == "json":
        about = {"manifest": str(manifest), "reused": made.reused, "outcome": said.outcome.value}
        about |= {"targets": {one.name: one.equivalence.outcome.value for one in said.targets}}
        click.echo(json.dumps(about | {"override": said.override, "signed_by": said.signed_by}))
    else:
        click.echo(str(manifest))
    if not quiet:
        _tell(made, said)


def _tell(made: Finished, said: Release) -> None:
    if made.reused:
        click.echo("this release was made before, from the same model and settings; it is unchanged", err=True)
    click.echo(said.summary, err=True)
    if said.override is not None:
        click.echo(f"note: released against the gate ({said.gate.value}): {printable(said.override)}", err=True)
