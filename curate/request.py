"""What `assay audit` was asked for, by its command line and a config, and running it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from curate.adoption import Adoption, FileIgnore, file_ignore, set_aside
from curate.audit import Audit, audit_corpus
from curate.audit_config import DEFAULT_CONFIG, AuditDocument
from curate.baseline import DEFAULT_BASELINE, read_baseline
from curate.contamination.tasks import EvalTask, eval_sources
from curate.engines.choice import LOCAL, Engine
from curate.indexes import Indexes, open_indexes
from curate.load_supervisor import load_token_settings
from curate.readers import read_corpus
from curate.readers.files import STDIN
from curate.row_tokens import TokenSettings
from curate.rules.base import Rule
from curate.rules.catalogue import resolve, select_rules
from curate.sources import Found, expand_paths, find_sources
from curate.waivers import Held, held, read_waivers
from curate.yamlfile import MAX_BYTES
from schemas.atomic import refuse_to_replace
from schemas.errors import ConfigError, Problem, UserError
from schemas.progress import SILENT, Progress

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class AuditRequest:
    """Arguments of one audit; what is given here wins over the config."""

    paths: Sequence[str] = ()
    """Files, globs, folders or `-`; without any, the sources of the config."""
    config: Path | None = None
    against: Sequence[str] = ()
    index: Sequence[str] = ()
    """Persisted indexes, or curated datasets."""
    key_file: Path | None = None
    """Of a keyed index."""
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    overrides: Sequence[str] = ()
    """`rule.option=value`"""
    model: str | None = None
    """Whose tokenizer and chat template rows are measured with; null estimates tokens."""
    max_length: int | None = None
    """Most tokens a row may have; null takes the config's, or the model's own."""
    kind: str | None = None
    """Kind of record that every row must have; null detects it."""
    columns: Sequence[str] = ()
    """`field=column`, several with commas between them."""
    memory_mb: int | None = None
    """Megabytes of sources that are worked on in memory; null takes the config's."""
    out: Path | None = None
    """File for the result; it must be none of those that are read."""
    also: Sequence[Path] = ()
    """Files for the result in other formats."""
    file_ignores: Sequence[str] = ()
    """`PATTERN:RULES`"""
    baseline: Path | None = None
    write_baseline: bool = False
    waivers: Path | None = None
    fail_on: str | None = None
    max_findings: int | None = None
    today: datetime.date | None = None
    """Decides which waivers have expired; null for the present day."""
    with_statistics: bool = False
    """Whether somebody will ask for `Audit.statistics`."""
    engine: Engine = LOCAL


@dataclass(frozen=True)
class Settings:
    """What an audit does: everything looked up and checked."""

    rules: tuple[Rule, ...]
    paths: Mapping[Path, str | None]
    """File -> the split that it holds, where a saved dataset says so."""
    evals: Mapping[Path, EvalTask | None]
    """Files of eval items, with the task that they belong to."""
    indexes: Indexes
    reading: Mapping[str, Any]
    """How the rows are read, for `read_corpus`."""
    skipped: Mapping[str, str]
    """What folders and globs hold besides -> why it is not read."""
    tokens: TokenSettings | None
    """What tokens are measured with; null for an estimate."""
    adoption: Adoption
    fail_on: str
    max_findings: int | None
    with_statistics: bool
    engine: Engine


def run_audit(request: AuditRequest, progress: Progress = SILENT) -> Audit:
    """Read the files and run the rules.

    Raises:
        UserError: a file cannot be opened, or is the one that the result would replace.
        ConfigError: a path matches nothing, a word names no rule, or an option is one that a rule does not have or does
            not accept.
    """
    return run_settings(settings_of(request), progress)


def run_settings(settings: Settings, progress: Progress = SILENT) -> Audit:
    """Read the files and run the rules.

    Raises:
        UserError: a file cannot be opened, the baseline cannot be written, or the engine cannot do what was asked for.
    """
    return set_aside(_audit_of(settings, progress), settings.adoption)


def _audit_of(settings: Settings, progress: Progress) -> Audit:
    """The audit, by the engine that was chosen."""
    if settings.engine.name == "ray":
        from curate.engines.ray_audit import audit_on_ray

        return audit_on_ray(settings, progress)
    progress.begin("reading")
    corpus = read_corpus(settings.paths, evals=settings.evals, whole=False, **settings.reading)
    corpus = settings.indexes.beside(corpus)
    corpus = replace(corpus, token_settings=settings.tokens, skipped=settings.skipped)
    return audit_corpus(corpus, settings.rules, progress, with_statistics=settings.with_statistics)


def settings_of(request: AuditRequest) -> Settings:
    """Look up and check everything that an audit was asked for, before any row is read.

    Raises:
        UserError: a file cannot be opened, or is one that would be replaced.
        ConfigError: carries every problem of the command line, the config, the waivers and the baseline.
    """
    config = AuditDocument.of(_config_path(request))
    problems: list[Problem] = []
    adoption = _adoption(request, config, problems)
    rules: tuple[Rule, ...] = ()
    with _collecting(problems):
        rules = _rules(request, config, problems)
    sources = Found()
    evals: dict[Path, EvalTask | None] = {}
    reading: dict[str, Any] = {}
    with _collecting(problems):
        sources = _sources(request, config)
    with _collecting(problems):
        reading = _reading(request, config)
    with _collecting(problems):
        evals = eval_sources(expand_paths(request.against, Path(), "--against", start="") or config.evals())
    indexes = Indexes()
    with _collecting(problems):
        given = [Path(entry) for entry in request.index] or config.index_paths()
        indexes = open_indexes(given, request.key_file or config.index_key_file())
    tokens = None
    with _collecting(problems):
        tokens = load_token_settings(request.model, request.max_length or config.max_length)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    own = [path for path in (adoption.target, request.waivers, config.beside(config.audit.waivers_file)) if path]
    paths = {path: split for path, split in sources.files.items() if not any(_same(path, file) for file in own)}
    results = [path for path in (request.out, *request.also) if path is not None]
    refuse_to_replace(results, [*paths, *evals, *own])
    if adoption.target is not None and request.write_baseline:
        refuse_to_replace([adoption.target], [*evals, *(path for path in own if path != adoption.target)])
    return Settings(
        rules=rules,
        paths=paths,
        evals=evals,
        indexes=indexes,
        reading=reading,
        skipped={str(path): why for path, why in sources.skipped.items()},
        tokens=tokens,
        adoption=adoption,
        fail_on=request.fail_on or config.audit.fail_on,
        max_findings=config.audit.max_findings if request.max_findings is None else request.max_findings,
        with_statistics=request.with_statistics,
        engine=request.engine,
    )


def _config_path(request: AuditRequest) -> Path | None:
    """The config that is to be read: none where files are named without one."""
    return request.config if request.paths else request.config or DEFAULT_CONFIG


def unused_config(request: AuditRequest) -> bool:
    """Whether the usual config has a section for the audit that is not used, because files were named without it."""
    if request.config is not None or not request.paths or not DEFAULT_CONFIG.is_file():
        return False
    with DEFAULT_CONFIG.open("rb") as stream:
        return any(line.startswith(b"audit:") for line in stream.read(MAX_BYTES).split(b"\n"))


@contextmanager
def _collecting(problems: list[Problem]) -> Iterator[None]:
    """Turn an error into problems, so that what comes after it is checked as well."""
    try:
        yield
    except UserError as error:
        problems += error.problems


def _rules(request: AuditRequest, config: AuditDocument, problems: list[Problem]) -> tuple[Rule, ...]:
    audit = config.audit
    select, ignore = request.select or tuple(audit.select or ()), request.ignore or tuple(audit.ignore)
    checked = []
    for name, words, given in (("select", select, request.select), ("ignore", ignore, request.ignore)):
        unknown = set()
        for number, word in enumerate(words):
            try:
                resolve(word, f"--{name}" if given else config.where("audit", name, number))
            except UserError as error:
                problems += error.problems
                unknown.add(word)
        checked.append([word for word in words if word not in unknown])
    options = {name: dict(given) for name, given in config.file.curate.rules.items()}
    for name, values in _overrides(request.overrides, problems).items():
        options.setdefault(name, {}).update(values)
    return select_rules(checked[0], options, ignore=checked[1], where="audit", root=config.root)


def _adoption(request: AuditRequest, config: AuditDocument, problems: list[Problem]) -> Adoption:
    target = request.baseline or config.beside(config.audit.baseline)
    if target is None and request.write_baseline:
        target = DEFAULT_BASELINE
    baseline = None
    # One that a config names may not be there yet: then every finding counts, which nobody overlooks.
    optional = request.write_baseline or request.baseline is None
    if target is not None and (target.exists() or not optional):
        with _collecting(problems):
            baseline = read_baseline(target)
    if target is not None and request.write_baseline and not target.parent.is_dir():
        where = str(target.parent)
        problems.append(Problem("the folder for the baseline does not exist", where, help="create it first"))
    return Adoption(
        ignores=_file_ignores(request, config, problems),
        waivers=_waivers(request, config, problems),
        baseline=baseline,
        target=target,
        write=request.write_baseline,
        today=request.today,
    )


def _file_ignores(request: AuditRequest, config: AuditDocument, problems: list[Problem]) -> tuple[FileIgnore, ...]:
    if not request.file_ignores:
        given = config.audit.per_file_ignores.items()
        where = ("audit", "per_file_ignores")
        return tuple(
            file_ignore(pattern, words, config.root, config.where(*where, pattern), problems)
            for pattern, words in given
        )
    found = []
    for text in request.file_ignores:
        pattern, _, rules = text.rpartition(":")
        words = [word.strip() for word in rules.split(",") if word.strip()]
        if not pattern or not words:
            expected = "for example 'tests/*.jsonl:QUA,PII501'"
            problems.append(Problem("--per-file-ignores needs PATTERN:RULES", found=text, expected=expected))
            continue
        found.append(file_ignore(pattern, words, Path(), "--per-file-ignores", problems))
    return tuple(found)


def _waivers(request: AuditRequest, config: AuditDocument, problems: list[Problem]) -> tuple[Held, ...]:
    """Those of the command line's file, else those of the config and of the file that it names."""
    found: tuple[Held, ...] = ()
    with _collecting(problems):
        if request.waivers is not None:
            return held(read_waivers(request.waivers), Path())
        listed = [(waiver, config.where("audit", "waivers", n)) for n, waiver in enumerate(config.audit.waivers)]
        found = held(listed, config.root)
    file = config.beside(config.audit.waivers_file)
    with _collecting(problems):
        if file is not None:
            found += held(read_waivers(file), config.root)
    return found


def _sources(request: AuditRequest, config: AuditDocument) -> Found:
    """The files of the command line in the order they were named in, standard input among them, or the config's."""
    if not request.paths:
        return config.sources()
    found = Found()
    for word in request.paths:
        if word == str(STDIN):
            found.files[STDIN] = None
        else:
            more = find_sources([word], Path(), "the command line", results=DEFAULT_RUNS, start="")
            found.skipped |= more.skipped
            for path, split in more.files.items():
                found.add(path, split)
    return found


def _reading(request: AuditRequest, config: AuditDocument) -> dict[str, Any]:
    """How the rows are read: what the command line says wins over the config."""
    data = config.file.data
    return {
        "kind": request.kind or (data.format if data else None),
        "columns": column_map(request.columns) or (data.columns if data else {}),
        "memory_mb": request.memory_mb if request.memory_mb is not None else (data.memory_mb if data else None),
    }


def column_map(given: Sequence[str]) -> dict[str, str]:
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


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _overrides(given: Sequence[str], problems: list[Problem]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        rule, dot, option = name.strip().rpartition(".")
        if not (equals and dot and rule and option):
            expected = "for example near-duplicate.threshold=0.8"
            problems.append(Problem("--set needs rule.option=value", found=text, expected=expected))
            continue
        try:
            options.setdefault(rule, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError:
            options.setdefault(rule, {})[option] = value
    return options
