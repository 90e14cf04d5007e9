"""`assay selftest data` and `assay selftest model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli_options import DEFAULT_CONFIG, config_option, format_option, quiet_option
from schemas.errors import ExitCode, UserError

if TYPE_CHECKING:
    from schemas.stage import Finished
    from schemas.verdict import Outcome

EXAMPLE = Path(__file__).parents[1] / "examples" / "spam" / "raw.jsonl"
FILES = {"text": "selftest.txt", "json": "selftest.json", "markdown": "selftest.md", "html": "selftest.html"}

out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder for results."
)
cases_option = click.option("--cases", metavar="NAME,NAME", default="", help="Only these; by default all.")
form_option = format_option(*FILES)


@click.command("data", short_help="Plant faults in a copy of your rows and count what is found.")
@click.option("--data", "paths", multiple=True, type=click.Path(path_type=Path), help="File of rows; may be repeated.")
@config_option
@click.option("--quick", is_flag=True, help="Plant fewer rows: in seconds, with wider intervals.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is planted where.")
@cases_option
@out_option
@form_option
@quiet_option
def selftest_data(
    paths: tuple[Path, ...],
    config: Path | None,
    quick: bool,
    seed: int,
    cases: str,
    out: Path,
    form: str,
    quiet: bool,
) -> ExitCode:
    """Plant duplicates, leaks, contamination, personal data, secrets, conflicts, broken rows and hidden characters.

    They are planted in copies of your rows, one kind at a time, and the audit's rules look for them. Your files are
    only read. Prints recall, precision and false alarms of each kind. Exit 0: enough is found, and false alarms are
    rare. 1: not so. 4: too few rows to say.
    """
    from evals.selftest.data_gates import PLANTED, QUICK_PLANTED, read_data_rates
    from evals.selftest.data_gates import selftest_data as run
    from schemas.progress import Progress

    files, columns, kind = _sources(paths, config)
    count = QUICK_PLANTED if quick else PLANTED
    with Progress(quiet=quiet) as progress:
        made = run(files, out, _names(cases), progress, count=count, seed=seed, columns=columns, kind=kind)
    return _show(made, read_data_rates(made.folder).outcome, form, quiet)


def _sources(paths: tuple[Path, ...], config: Path | None) -> tuple[tuple[Path, ...], dict[str, str], str | None]:
    """Files, and how their columns and kind are called: as named, else the config's, else the example's."""
    if paths and config is not None:
        raise UserError(
            "files and a config are named",
            where="the command line",
            found=f"--data and --config {config}",
            expected="one of them",
        )
    if paths:
        return paths, {}, None
    if config is not None or DEFAULT_CONFIG.is_file():
        from curate.configfile import load_project

        project = load_project(config or DEFAULT_CONFIG)
        return project.source_files(), project.config.data.columns, project.config.data.format
    if EXAMPLE.is_file():
        return (EXAMPLE,), {}, None
    raise UserError(
        "there are no rows to plant faults in",
        where="the command line",
        found=f"no --data, and no {DEFAULT_CONFIG} here",
        help="name your rows: `assay selftest data --data FILE`",
    )


@click.command("model", short_help="Train planted models and count what the gate says of them.")
@click.option("--quick", is_flag=True, help="A few seeds, in about ten minutes on two cores; claims nothing.")
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds of each case; by default 60, or 8.")
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="To run a seed again.")
@click.option(
    "--model", "base", type=click.Choice(["small", "embedded"]), default="small", show_default=True,
    help="What is tuned: a model of 2.5 million weights made for it, or the embedded one.",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), help="At a time; by default as many as there are cores.")
@cases_option
@out_option
@form_option
@quiet_option
def selftest_model(cases: str, out: Path, form: str, quiet: bool, **asked: Any) -> ExitCode:
    """Train models with known faults, and sound ones, and run each through evaluation and gate.

    Every seed has rows, a split and a training of its own. What a case must lead to is written down in its file. A run
    that was stopped goes on with the seeds that are missing when the same command is given again. Exit 0: each fault is
    caught in at least 95% of seeds and alarms are raised in at most 5%, by the ends of their intervals. 1: not so. 4:
    too few seeds to say.
    """
    from evals.selftest.model_gates import EMBEDDED_SEEDS, QUICK_SEEDS, SEEDS, Wanted, selftest_models
    from evals.selftest.stored import read_rates
    from schemas.progress import Progress

    quick, seeds, embedded = asked["quick"], asked["seeds"], asked["base"] == "embedded"
    if quick and seeds is not None:
        raise click.UsageError("--quick sets the number of seeds; give one of --quick and --seeds")
    count = QUICK_SEEDS if quick else seeds or (EMBEDDED_SEEDS if embedded else SEEDS)
    first = asked["first_seed"]
    wanted = Wanted(_names(cases), range(first, first + count), quick, embedded)
    with Progress(quiet=quiet) as progress:
        made = selftest_models(out, wanted, progress, asked["processes"])
    return _show(made, read_rates(made.folder).outcome, form, quiet)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _show(made: Finished, outcome: Outcome, form: str, quiet: bool) -> ExitCode:
    from schemas.verdict import EXIT_CODES

    if made.reused and not quiet:
        click.echo("this selftest was run before, with the same code and settings; it is unchanged", err=True)
    click.echo((made.folder / FILES[form]).read_text(encoding="utf-8"), nl=False)
    if not quiet:
        click.echo(str(made.path), err=True)
    return EXIT_CODES[outcome]
