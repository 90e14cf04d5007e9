"""What every command that works on a config takes: the same options, in the same words, with the same errors."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.engines.choice import ENGINES
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.configfile import Project
    from schemas.terminal import Screen

DEFAULT_CONFIG = Path("assay.yaml")
AUDIT_FORMATS = ("text", "json", "sarif", "junit", "github", "markdown", "html")
VERDICT_FORMATS = ("text", "json", "junit", "markdown", "github")
MODEL_VERDICT_FORMATS = (*VERDICT_FORMATS, "sarif", "html")

Command = Callable[..., Any]

config_option = click.option(
    "--config", "-c", type=click.Path(path_type=Path), help=f"Config file; by default {DEFAULT_CONFIG}."
)
also_option = click.option("--also", multiple=True, metavar="FORMAT:FILE", help="Write it in another format as well.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Results and errors only, no progress.")
index_option = click.option(
    "--index", multiple=True, metavar="PATH|RUN",
    help="Index that `assay index build` made, of eval items or of earlier rows; or a curated dataset.",
)  # fmt: skip
key_option = click.option(
    "--key-file", type=click.Path(path_type=Path), help="Key of a keyed index; by default the variable ASSAY_INDEX_KEY."
)
memory_option = click.option(
    "--memory", "memory_mb", type=click.IntRange(min=0), metavar="MB",
    help="Sources of more megabytes lie on disk while they are worked on; by default 64.",
)  # fmt: skip
engine_option = click.option(
    "--engine", type=click.Choice(ENGINES), default="local", show_default=True,
    help="Where the work is done: in this process, or by the workers of a Ray cluster.",
)  # fmt: skip
address_option = click.option(
    "--address", metavar="HOST:PORT", help="A running Ray cluster; by default one is started on this machine."
)
_config_argument = click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
_set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a config value.")
_out_option = click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for results; by default the config's."
)


def format_option(*forms: str) -> Callable[[Command], Command]:
    """`--format`, the first of the forms being the default."""
    return click.option("--format", "form", type=click.Choice(forms), default=forms[0], show_default=True)


def project_options(*forms: str) -> Callable[[Command], Command]:
    """Options of a command that works on a config: `[CONFIG]`, --config, --set, --out, --format and --quiet.

    The command receives the loaded config as `project`, and `form` and `quiet`; click's parameters of its own come
    after them.

    Args:
        forms: what --format takes; without any, text and json.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_project(
            config_path: Path | None, config: Path | None, overrides: tuple[str, ...], out: Path | None, **own: Any
        ) -> Any:
            return command(project=chosen_project(config_path, config, overrides, out), **own)

        return _config_argument(_shared(with_project, forms))

    return decorate


def optional_project_options(*forms: str) -> Callable[[Command], Command]:
    """The same options without `[CONFIG]`, for a command that may be given a result instead of a config.

    The command receives `config`, `overrides` and `out` as they were typed, and calls `chosen_project` if it needs to.
    """
    return lambda command: _shared(command, forms)


def _shared(command: Command, forms: Sequence[str]) -> Command:
    for option in (quiet_option, format_option(*(forms or ("text", "json"))), _out_option, _set_option, config_option):
        command = option(command)
    return command


def chosen_project(
    positional: Path | None, named: Path | None, overrides: Sequence[str] = (), out: Path | None = None
) -> Project:
    """The config that a command line names, or the one that is looked for by default.

    Args:
        positional: `[CONFIG]`.
        named: `--config`.
        overrides: `--set`.
        out: `--out`.

    Raises:
        UserError: two configs are named, or the one that is cannot be opened.
        ConfigError: it does not validate.
    """
    if positional is not None and named is not None and positional != named:
        raise UserError(
            "two configs are named",
            where="the command line",
            found=f"{positional} and --config {named}",
            expected="one of them",
        )
    from curate.configfile import load_project

    return load_project(positional or named or DEFAULT_CONFIG, overrides, out)


def also_files(given: Sequence[str], forms: Sequence[str]) -> list[tuple[str, Path]]:
    """Format and file of every --also.

    Args:
        given: as typed.
        forms: formats that the command knows.

    Raises:
        UserError: it is not `FORMAT:FILE`, or the file's folder does not exist.
    """
    found = []
    for text in given:
        form, _, name = text.partition(":")
        if form not in forms or not name:
            expected = f"FORMAT:FILE, the format being one of {', '.join(forms)}"
            raise UserError("--also cannot be read", where="the command line", found=text, expected=expected)
        require_folder(Path(name))
        found.append((form, Path(name)))
    return found


def require_folder(path: Path) -> None:
    """Make sure that a result has somewhere to go.

    Raises:
        UserError: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise UserError("the folder for the result does not exist", where=str(path.parent), help="create it first")


def screen() -> Screen | None:
    """The terminal that the result goes to; null where it goes to a file or a pipe."""
    import shutil

    from schemas.terminal import Screen

    if not sys.stdout.isatty():
        return None
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Screen(columns=shutil.get_terminal_size().columns, colour=not plain)


def write_out(text: str, out: Path | None) -> None:
    """Print a result, or write it to a file in one step."""
    if out is None:
        click.echo(text, nl=False)
        return
    from schemas.atomic import write_atomic

    write_atomic(out, text.encode("utf-8", "backslashreplace"))
