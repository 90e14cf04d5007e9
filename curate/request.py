"""What `assay audit` was asked for, and running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from curate.audit import Audit, audit_corpus
from curate.configfile import Project, load_project
from curate.load_supervisor import load_token_settings
from curate.readers import read_corpus
from curate.readers.files import STDIN
from curate.rules.catalogue import select_rules
from curate.sources import Found, find_sources
from schemas.atomic import refuse_to_replace
from schemas.errors import ConfigError, Problem
from schemas.progress import SILENT, Progress

DEFAULT_CONFIG = Path("assay.yaml")
DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class AuditRequest:
    """Arguments of one audit."""

    paths: Sequence[str] = ()
    """Files, globs, folders or `-`; without any, the sources of the config."""
    config: Path | None = None
    against: Sequence[str] = ()
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    overrides: Sequence[str] = ()
    """`rule.option=value`"""
    model: str | None = None
    """Whose tokenizer and chat template rows are measured with; null estimates tokens."""
    max_length: int | None = None
    """Most tokens a row may have; null takes the config's, or the model's own."""
    kind: str | None = None
    """Record kind that every row must have; null detects it row by row."""
    columns: Sequence[str] = ()
    """`our field=the file's column`, several with commas between them."""
    out: Path | None = None
    """File for the result; it must be none of those that are read."""


def run_audit(request: AuditRequest, progress: Progress = SILENT) -> Audit:
    """Read the files and run the rules.

    Raises:
        UserError: a file cannot be opened, or is the one that the result would replace.
        ConfigError: a path matches nothing, a word names no rule, or an option is one that a rule does not have or does
            not accept.
    """
    project = None
    if request.config is not None or not request.paths:
        project = load_project(request.config or DEFAULT_CONFIG)
    options = {name: dict(given) for name, given in (project.config.curate.rules if project else {}).items()}
    for name, given in _overrides(request.overrides).items():
        options.setdefault(name, {}).update(given)
    rules = select_rules(request.select, options, ignore=request.ignore, where="audit")
    max_length = request.max_length or (project.config.train.max_length if project else None)
    settings = load_token_settings(request.model, max_length)
    found = _sources(request.paths) if request.paths else project.found_sources() if project else Found()
    against = find_sources(request.against, Path(), "--against", start="").files
    evals = tuple(against) or (project.eval_files() if project else ())
    if request.out is not None:
        refuse_to_replace([request.out], [*found.files, *evals])
    progress.begin("reading")
    corpus = read_corpus(found.files, evals=evals, whole=False, **_reading(request, project))
    skipped = {str(path): why for path, why in found.skipped.items()}
    corpus = replace(corpus, token_settings=settings, skipped=skipped)
    return audit_corpus(corpus, rules, progress)


def _sources(given: Sequence[str]) -> Found:
    """The files of the command line, standard input among them, in the order in which they were named."""
    found = Found()
    for word in given:
        if word == str(STDIN):
            found.files[STDIN] = None
        else:
            more = find_sources([word], Path(), "the command line", results=DEFAULT_RUNS, start="")
            found.skipped |= more.skipped
            for path, split in more.files.items():
                found.add(path, split)
    return found


def _reading(request: AuditRequest, project: Project | None) -> dict[str, Any]:
    """How the rows are read: what the command line says wins over the config."""
    data = project.config.data if project else None
    return {
        "kind": request.kind or (data.format if data else None),
        "columns": _columns(request.columns) or (data.columns if data else {}),
    }


def _columns(given: Sequence[str]) -> dict[str, str]:
    """`ours=theirs` with commas between them, as a column map.

    Raises:
        ConfigError: an entry has no `=`, or a field is given twice.
    """
    columns: dict[str, str] = {}
    problems = []
    for pair in (pair for text in given for pair in text.split(",") if pair.strip()):
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (equals and ours and theirs):
            expected = "for example prompt=question,completion=answer"
            problems.append(Problem("--columns needs field=column", found=pair, expected=expected))
        elif columns.setdefault(ours, theirs) != theirs:
            problems.append(Problem("--columns names a field twice", found=pair, expected=f"{ours} once"))
    if problems:
        raise ConfigError(problems)
    return columns


def _overrides(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    problems = []
    for text in given:
        name, equals, value = text.partition("=")
        rule, dot, option = name.strip().rpartition(".")
        if not (equals and dot and rule and option):
            problems.append(
                Problem(
                    "--set needs rule.option=value", found=text, expected="for example near-duplicate.threshold=0.8"
                )
            )
            continue
        try:
            options.setdefault(rule, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError:
            options.setdefault(rule, {})[option] = value
    if problems:
        raise ConfigError(problems)
    return options
