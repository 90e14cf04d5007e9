"""`assay audit`, `assay curate`, `assay explain`, `assay rules`."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.allocators import at_once, few_arenas, few_searches
from curate.cli_options import (
    AUDIT_FORMATS,
    DEFAULT_CONFIG,
    address_option,
    also_files,
    also_option,
    config_option,
    engine_option,
    format_option,
    index_option,
    key_option,
    memory_option,
    project_options,
    quiet_option,
    require_folder,
    screen,
    write_out,
)
from schemas.errors import ExitCode
from schemas.progress import PATIENCE_S, Progress
from schemas.records import KINDS
from schemas.terminal import printable

if TYPE_CHECKING:
    from curate.configfile import Project

SAME_NAMES = (
    "config", "against", "index", "key_file", "overrides", "out", "file_ignores", "baseline", "write_baseline",
    "waivers", "fail_on", "max_findings", "model", "max_length", "kind", "columns", "memory_mb",
)  # fmt: skip
"""Flags that are fields of `AuditRequest` as they stand."""
NUMBERED = frozenset(("json", "html"))
"""Formats that always show the numbers of the rows."""


@click.command(short_help="Find faults in rows, read-only, without a config.")
@click.argument("paths", nargs=-1)
@config_option
@format_option(*AUDIT_FORMATS)
@click.option("--select", multiple=True, metavar="RULES", help="Only these rules: codes, names or families.")
@click.option("--ignore", multiple=True, metavar="RULES", help="Not these rules.")
@click.option("--set", "overrides", multiple=True, metavar="RULE.OPTION=VALUE", help="Set an option of a rule.")
@click.option("--against", multiple=True, metavar="FILE", help="Eval items that must not occur in the rows.")
@index_option
@key_option
@click.option("--model", help="Measure tokens with this model's tokenizer and chat template: a folder, or a hub id.")
@click.option("--max-length", type=click.IntRange(min=1), help="Most tokens a row may have.")
@click.option(
    "--kind", type=click.Choice(KINDS), help="Kind of record that every row must be; by default it is detected.",
)  # fmt: skip
@click.option("--columns", multiple=True, metavar="FIELD=COLUMN,...", help="Columns of the file that hold our fields.")
@click.option(
    "--per-file-ignores", "file_ignores", multiple=True, metavar="PATTERN:RULES",
    help="Not these rules in these files; patterns as in .gitignore, for example 'tests/:QUA,PII501'.",
)  # fmt: skip
@click.option("--baseline", type=click.Path(path_type=Path), help="Findings that are known: only others count.")
@click.option(
    "--write-baseline", is_flag=True,
    help="Write what is found to the baseline file, by default assay.baseline, and pass.",
)  # fmt: skip
@click.option("--waivers", type=click.Path(path_type=Path), help="YAML file of findings accepted for a time.")
@click.option(
    "--fail-on", type=click.Choice(["error", "warning", "info", "never"]),
    help="Least severity that gives exit code 1; by default error.",
)  # fmt: skip
@click.option("--max-findings", type=click.IntRange(min=0), help="Findings shown of each rule; 0 shows all.")
@memory_option
@engine_option
@address_option
@click.option("--statistics", is_flag=True, help="Show sizes, roles and shapes as well.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result to a file.")
@also_option
@quiet_option
def audit(paths: tuple[str, ...], **flags: Any) -> ExitCode:
    """Check every row of PATHS (files, globs, folders, or - for standard input); nothing is changed.

    Without PATHS the sources of the config are checked, as its section `audit` says; a config named with --config is
    used with PATHS as well, and flags win over it. Exit code 0: nothing at or above --fail-on; 1: findings; 2: a file
    cannot be opened; 4: there are no rows, or eval items that could not be compared.
    """
    few_searches()
    few_arenas()
    from curate.engines.choice import engine_of
    from curate.outputs import render
    from curate.request import AuditRequest, run_settings, settings_of, unused_config

    gc.freeze()
    also = also_files(flags["also"], AUDIT_FORMATS)
    if flags["out"] is not None:
        require_folder(flags["out"])
    request = AuditRequest(
        paths=paths,
        select=_words(flags["select"]),
        ignore=_words(flags["ignore"]),
        also=tuple(path for _, path in also),
        engine=engine_of(flags["engine"], flags["address"]),
        with_statistics=flags["statistics"] or not NUMBERED.isdisjoint((flags["form"], *(form for form, _ in also))),
        **{name: flags[name] for name in SAME_NAMES},
    )
    settings = settings_of(request)
    if unused_config(request) and not flags["quiet"]:
        click.echo(f"note: {DEFAULT_CONFIG} is not used, because files are named (add --config)", err=True)
    with Progress(quiet=flags["quiet"], patience_s=PATIENCE_S) as progress:
        found = run_settings(settings, progress)
    terminal = screen() if flags["out"] is None else None
    write_out(render(found, flags["form"], settings.max_findings, flags["statistics"], terminal), flags["out"])
    for form, path in also:
        write_out(render(found, form, settings.max_findings, flags["statistics"]), path)
    if flags["form"] != "text" or flags["out"] is not None:
        for notice in found.aside.notices:
            click.echo(f"warning: {printable(f'{notice.where}: {notice.text}')}", err=True)
    found.raise_failure()
    return found.exit_code(settings.fail_on)


@click.command(short_help="Make the dataset: kept rows, dropped rows, splits, proof.")
@project_options("text", "json", "markdown")
@index_option
@key_option
@click.option("--dry-run", is_flag=True, help="Do all of it but write nothing; say what would be written, and where.")
@memory_option
def curate(project: Project, form: str, quiet: bool, dry_run: bool, **given: Any) -> ExitCode:
    """Run the steps of the config over its sources and publish the dataset.

    Prints the path of its manifest. Every row that came in is kept, or dropped with a reason. Each entry of
    `curate.keep` or `curate.keep_file` takes back one drop, and the ledger says so. With --index, rows that an earlier
    dataset holds are dropped, and only the new rows are hashed.
    """
    few_searches()
    few_arenas()
    at_once()
    from curate.pipeline import curate as run
    from curate.summary import account_markdown, account_of, ledger_of

    project = project.with_indexes([Path(entry) for entry in given["index"]], given["key_file"])
    project = project.with_memory(given["memory_mb"])
    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        if dry_run:
            return _dry_run(project, form, progress)
        finished = run(project, progress)
    ledger = ledger_of(finished)
    if not quiet:
        click.echo(account_of(finished), err=True)
    _warn(ledger)
    summary = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    if form == "markdown":
        click.echo(account_markdown(ledger), nl=False)
    else:
        click.echo(json.dumps(summary) if form == "json" else str(finished.path))
    return ExitCode.PASS


def _dry_run(project: Project, form: str, progress: Progress) -> ExitCode:
    """Run everything but the writing, and print the ledger with what would have been written."""
    from curate.pipeline import check_unchanged, curate_stage, run_pipeline
    from curate.summary import account, account_markdown, plan, plan_text

    stage = curate_stage(project)
    made = run_pipeline(project, progress)
    check_unchanged(stage, made)
    ledger = made.ledger.as_json(made.rows_by_split)
    planned = plan(stage, ledger)
    progress.end()
    if form == "json":
        click.echo(json.dumps(ledger | {"would_write": planned}))
    elif form == "markdown":
        click.echo(f"{account_markdown(ledger)}\n```text\n{plan_text(planned)}\n```")
    else:
        click.echo(f"{account(ledger, made.ledger.searches)}\n{plan_text(planned)}")
    _warn(ledger)
    return ExitCode.PASS


def _warn(ledger: dict[str, Any]) -> None:
    """Entries of the keep list that do nothing are named, however quiet the command is to be."""
    from curate.summary import warnings

    for line in warnings(ledger):
        click.echo(f"warning: {line}", err=True)


@click.command(short_help="Print a rule's page.")
@click.argument("word", metavar="CODE")
@format_option("text", "markdown", "json")
def explain(word: str, form: str) -> ExitCode:
    """Print the page of a rule, by code or name; of a family, all its pages."""
    from curate.outputs.rule_page import rendered
    from curate.rules.catalogue import describe, resolve
    from schemas.terminal import NO_SCREEN

    found = resolve(word)
    if form == "json":
        click.echo(json.dumps(describe(found), indent=1))
    elif form == "markdown":
        click.echo("\n".join(rule.page() for rule in found), nl=False)
    else:
        terminal = screen() or NO_SCREEN
        click.echo("\n\n".join(rendered(rule.page(), terminal) for rule in found), nl=False)
    return ExitCode.PASS


@click.command(short_help="List all rules.")
@format_option("text", "json")
def rules(form: str) -> ExitCode:
    """List all rules with severity, action, and what they find."""
    from curate.rules.catalogue import all_rules, describe

    found = describe(all_rules())
    if form == "json":
        click.echo(json.dumps(found, indent=1))
        return ExitCode.PASS
    width = max(len(rule["name"]) for rule in found)
    for rule in found:
        click.echo(
            f"{rule['code']}  {rule['name']:<{width}}  {rule['severity']:<7}  {rule['action']:<6}  {rule['summary']}"
        )
    return ExitCode.PASS


def _words(given: Sequence[str]) -> tuple[str, ...]:
    """Each flag may hold several rules with commas between them."""
    return tuple(word.strip() for text in given for word in text.split(",") if word.strip())
