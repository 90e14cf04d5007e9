"""The `assay` command: a table of commands that are imported only when called, and what each error leads to.

Exit codes: 0 pass, 1 findings or a failed gate, 2 usage or input, 3 a bug of ours, 4 inconclusive or stale, 130
interrupted, 143 the same asked for with SIGTERM. A reader of our output that goes away early (`assay show RUN | head
-1`) ends the command with 141.
"""

from __future__ import annotations

import errno
import gc
import importlib
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from schemas.errors import AssayError, ExitCode, Problem, UserError
from schemas.terminal import printable

ROOMS = ("schemas", "curate", "train", "evals")
BROKEN_PIPE = 141
"""128 + SIGPIPE, as a shell shows it."""


class Terminated(KeyboardInterrupt):
    """A scheduler or a service manager asks, with SIGTERM, for what a person asks for with Ctrl-C."""


class Entry(NamedTuple):
    """One command: the heading it is listed under, where it lives, and what it does in a few words."""

    group: str
    target: str
    does: str


GATES = {
    "data": Entry("Gates", "curate.cli_gate:gate_data", "May this dataset be trained on?"),
    "model": Entry("Gates", "evals.cli:gate_model", "May this candidate ship?"),
}
INDEXES = {
    "build": Entry("Indexes", "curate.cli_index:build", "Index eval items, or the rows of a dataset."),
    "add": Entry("Indexes", "curate.cli_index:add", "Add what an index does not hold yet."),
    "query": Entry("Indexes", "curate.cli_index:query", "Look rows up in an index."),
}
SELFTESTS = {
    "data": Entry("Selftests", "evals.cli_selftest:selftest_data", "Plant faults in a copy of your rows."),
    "model": Entry("Selftests", "evals.cli_selftest:selftest_model", "Train planted models and judge them."),
}
COMMANDS = {
    "init": Entry("Start", "curate.cli_start:init", "Write a config for your file, and a CI workflow."),
    "doctor": Entry("Start", "evals.cli_evidence:doctor", "Say what this machine has and what that allows."),
    "import": Entry("Start", "evals.cli_evidence:import_", "Wrap your own dataset or adapter in a manifest."),
    "audit": Entry("Data", "curate.cli:audit", "Find faults in rows, read-only, without a config."),
    "curate": Entry("Data", "curate.cli:curate", "Make the dataset: kept rows, dropped rows, splits, proof."),
    "diff": Entry("Data", "curate.cli_diff:diff", "Say what changed between two datasets or two audits."),
    "index": Entry("Data", "assay:index", "Keep eval items or the rows of a dataset for later (build, add, query)."),
    "rules": Entry("Data", "curate.cli:rules", "List all rules."),
    "explain": Entry("Data", "curate.cli:explain", "Print a rule's page."),
    "preview": Entry("Training", "train.cli:preview", "Show rows as tokens, what carries loss coloured."),
    "plan": Entry("Training", "evals.cli_plan:plan", "Memory, time, cost and detectable effects, before any spend."),
    "train": Entry("Training", "train.cli:train", "Train a LoRA adapter on a dataset."),
    "sweep": Entry("Training", "train.cli:sweep", "Search settings, and choose by the validation split."),
    "evals": Entry("Evals", "evals.cli:evals", "Run the task suites on the base and the tuned model."),
    "compare": Entry("Evals", "evals.cli_compare:compare", "Prompt, examples, retrieval or fine-tuning? Measured."),
    "bless": Entry("Evals", "evals.cli:bless", "Lock a judged model as the baseline of later ones."),
    "gate": Entry("Evals", "assay:gate", "Judge a dataset (data) or a candidate (model)."),
    "selftest": Entry("Evals", "assay:selftest", "Say how often the gates find what is planted (data, model)."),
    "release": Entry("Ship", "evals.cli_release:release", "Export what was judged, prove that it is the same."),
    "drift": Entry("Ship", "evals.cli_drift:drift", "Do new rows still look like the training data? Train again?"),
    "show": Entry("Evidence", "evals.cli_evidence:show", "Print the chain of evidence behind a result."),
    "verify": Entry("Evidence", "evals.cli_evidence:verify", "Re-hash the chain and name every difference."),
    "report": Entry("Evidence", "evals.cli_evidence:report", "Write the verdict as Markdown and one HTML page."),
}


class LazyGroup(click.Group):
    """A group whose commands are named in a table and imported only when one of them is called."""

    def __init__(self, *args: Any, table: dict[str, Entry], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or give None for a name that is not in the table."""
        if cmd_name not in self.table:
            return None
        module, _, name = self.table[cmd_name].target.partition(":")
        place = globals() if module == "assay" else vars(importlib.import_module(module))
        command: click.Command = place[name]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name is answered with the nearest ones."""
        if args[0] not in self.table and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.table)
            hint = f" Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
            raise click.UsageError(f"There is no command `{args[0]}`.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings, from the table alone."""
        for group in dict.fromkeys(entry.group for entry in self.table.values()):
            with formatter.section(group):
                formatter.write_dl([(name, entry.does) for name, entry in self.table.items() if entry.group == group])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"assay {version()}")
        ctx.exit()


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def assay() -> None:
    """Curate fine-tuning data, fine-tune with LoRA, and decide with evidence whether the result may ship."""


@click.group(cls=LazyGroup, table=GATES)
def gate() -> None:
    """Judge a dataset or a candidate: pass, fail or inconclusive, never a pass for lack of evidence."""


@click.group(cls=LazyGroup, table=INDEXES)
def index() -> None:
    """Keep eval items, or the rows of a dataset, as hashes that later runs look their rows up in."""


@click.group(cls=LazyGroup, table=SELFTESTS)
def selftest() -> None:
    """Test the gates: plant known faults, and say how many are found and how often nothing is taken for one."""


def version() -> str:
    """The installed version, or the one that a bare checkout declares."""
    from importlib import metadata

    try:
        return metadata.version("assay")
    except metadata.PackageNotFoundError:
        import tomllib

        declared = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8"))
        return f"{declared['project']['version']} (checkout)"


def check_rooms() -> None:
    """Refuse to run when a room is missing or belongs to somebody else; nothing foreign is executed to find out.

    Raises:
        UserError: naming the room and the path that Python would import.
    """
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        source = Path(spec.origin) if spec and spec.origin else None
        if source and source.is_file() and re.search(r'^__distribution__ = "assay"$', source.read_text("utf-8"), re.M):
            continue
        where = str(source or (spec and spec.submodule_search_locations) or "nowhere on the path")
        raise UserError(
            f"the package `{room}` that Python would import is not assay's",
            where=where,
            expected=f"a folder `{room}` whose __init__.py carries __distribution__",
            help="another package or a file of that name hides it: run from another folder, or install assay into an "
            "environment of its own",
        )


def show_problem(problem: Problem) -> None:
    """Print one problem on stderr; every further line is indented, so that no value can pose as a message of ours."""
    colour = False if os.environ.get("NO_COLOR") else None
    marker = click.style("error:", fg="red", bold=True) + " "
    for labelled in problem.lines():
        first, *rest = labelled.split("\n")
        click.echo(marker + printable(first), err=True, color=colour)
        for line in rest:
            click.echo(" " * 12 + printable(line.strip()), err=True, color=colour)
        marker = ""


def report_bug(error: BaseException, args: Sequence[str]) -> None:
    """Write versions, command and traceback to a file in the current folder, else in the temporary one, and say so."""
    import platform
    import tempfile
    import time
    import traceback

    name = f"assay-bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = "\n".join(
        (
            f"assay {version()}, Python {platform.python_version()}, {platform.platform()}",
            f"command: {' '.join(['assay', *map(printable, args)])}",
            "",
            *(printable(line) for line in "".join(traceback.format_exception(error)).split("\n")),
        )
    )
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        where = str(folder / name)
        break
    else:
        where = ""
        click.echo(text, err=True)
    found = f"{type(error).__name__}: {error}"
    advice = "look through that file for private data, then send it with a report"
    show_problem(Problem("this is a bug in assay", where, found, help=advice))


def _call(args: Sequence[str]) -> int:
    """Run the command and give its exit code; errors pass through."""
    try:
        with assay.make_context("assay", list(args)) as ctx:
            if os.environ.get("NO_COLOR"):
                ctx.color = False
            return int(assay.invoke(ctx) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code


def _flush(code: int) -> int:
    """Push out the last of stdout; the verdict stands even if its reader has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    return code


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(args: Sequence[str]) -> int:
    """Run one command line and give the exit code; nothing escapes but SystemExit."""
    try:
        check_rooms()
        return _flush(_call(args))
    except AssayError as error:
        for problem in error.problems:
            show_problem(problem)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
    except click.ClickException as error:
        ctx = getattr(error, "ctx", None)
        path = ctx.command_path if ctx else "assay"
        show_problem(Problem(error.format_message(), help=f"`{path} --help` lists what it takes"))
    except (KeyboardInterrupt, click.Abort) as error:
        click.echo("\ninterrupted: finished results are kept, nothing half-written was published", err=True)
        return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            report_bug(error, args)
            return ExitCode.BUG
        _discard_stdout()
        show_problem(
            Problem("the disk is full", error.filename or "standard output", help="free some space, and run it again")
        )
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or missing.partition(".")[0] in ROOMS:
            report_bug(error, args)
            return ExitCode.BUG
        advice = "pip install 'assay[train,evals,report,release]', or run `make setup`"
        show_problem(Problem(f"this command needs the package {missing!r}, which is not installed", help=advice))
    return ExitCode.USAGE


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated


def main() -> NoReturn:
    """Entry point of the `assay` command."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")  # a row's lone surrogate, or a terminal that is not UTF-8
    code = run(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # nothing is left to be put in order, and the code stands
    gc.freeze()  # all of it ends with the process: looking for cycles in it takes long
    sys.exit(code)


if __name__ == "__main__":
    main()
