"""What `assay audit` was asked for, and running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curate.audit import Audit, audit_corpus
from curate.configfile import Project, expand_paths, load_project
from curate.readers import read_corpus
from curate.readers.files import STDIN
from curate.rules.catalogue import select_rules
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
    root = project.root if project else Path()
    rules = select_rules(request.select, options, ignore=request.ignore, where="audit", root=root)
    paths = _paths(request.paths) if request.paths else project.source_files() if project else ()
    evals = expand_paths(request.against, Path(), "--against", start="") or (project.eval_files() if project else ())
    if request.out is not None:
        refuse_to_replace([request.out], [*paths, *evals])
    progress.begin("reading")
    corpus = read_corpus(paths, evals=evals, **_reading(project))
    return audit_corpus(corpus, rules, progress)


def _paths(given: Sequence[str]) -> tuple[Path, ...]:
    paths: dict[Path, None] = {}
    for word in given:
        if word == str(STDIN):
            paths[STDIN] = None
        else:
            paths |= dict.fromkeys(expand_paths([word], Path(), "the command line", results=DEFAULT_RUNS, start=""))
    return tuple(paths)


def _reading(project: Project | None) -> dict[str, Any]:
    if project is None:
        return {}
    return {"kind": project.config.data.format, "columns": project.config.data.columns}


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
