"""Finding the rules, and turning names, codes and families into configured rules."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import curate.rules
from curate.rules.base import FAMILIES, Example, Rule
from schemas.errors import ConfigError, Problem, UserError

INFRASTRUCTURE = ("base", "catalogue")


@functools.cache
def all_rules() -> tuple[type[Rule], ...]:
    """Every rule of this package, by code.

    Raises:
        TypeError: two rules share a code or a name.
    """
    found: dict[str, type[Rule]] = {}
    for module_info in pkgutil.iter_modules(curate.rules.__path__):
        if module_info.name in INFRASTRUCTURE:
            continue
        module = importlib.import_module(f"curate.rules.{module_info.name}")
        for _, rule in inspect.getmembers(module, inspect.isclass):
            if not issubclass(rule, Rule) or rule.__module__ != module.__name__ or inspect.isabstract(rule):
                continue
            if "code" not in vars(rule):  # a base that several rules of one module share
                continue
            for key in (rule.code, rule.name):
                if found.setdefault(key, rule) is not rule:
                    raise TypeError(f"{rule.__name__} and {found[key].__name__} are both called {key}")
    return tuple(sorted(set(found.values()), key=lambda rule: rule.code))


def resolve(word: str, where: str = "") -> tuple[type[Rule], ...]:
    """The rules that a word names: a rule's name or code, the beginning of a code, or a family.

    Raises:
        UserError: nothing has this name.
    """
    rules = all_rules()
    exact = tuple(rule for rule in rules if word in (rule.name, rule.code))
    if exact:
        return exact
    family = tuple(rule for rule in rules if rule.family() == word or rule.family() == f"{word.removesuffix('s')}")
    if family:
        return family
    prefix = tuple(rule for rule in rules if rule.code.startswith(word.upper()))
    if prefix and word[:3].upper() in FAMILIES:
        return prefix
    names = [rule.name for rule in rules] + [rule.code for rule in rules] + sorted({rule.family() for rule in rules})
    close = difflib.get_close_matches(word, names, n=1)
    raise UserError(
        f"no rule, family or code is called {word!r}",
        where=where,
        help=f"did you mean {close[0]!r}? " if close else "`assay rules` lists them",
    )


def select_rules(
    words: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    ignore: Sequence[str] = (),
    where: str = "",
    root: Path | None = None,
) -> tuple[Rule, ...]:
    """Configured rules in the order of the words, each rule once; no word at all takes every rule.

    Args:
        words: rule names, codes, beginnings of codes, or families.
        options: rule or family name -> option values, as in `curate.rules` of a config.
        ignore: what to leave out, in the same words.
        where: for error messages.
        root: the folder that relative paths among the options start from; null for the current one.

    Raises:
        ConfigError: a word names nothing, or a rule does not have or does not accept an option; carries every problem.
    """
    problems: list[Problem] = []
    chosen = [rule for word in words for rule in _resolved(word, where, problems)] if words else list(all_rules())
    ignored = {rule for word in ignore for rule in _resolved(word, where, problems)}
    values = _options_by_rule(options or {}, where, problems)
    configured = [
        _configure(rule, values.get(rule.name, {}), where, problems, root)
        for rule in dict.fromkeys(chosen)
        if rule not in ignored
    ]
    for rule in all_rules():  # options of a rule that is not asked for now must make sense as well
        if rule.name in values and (rule in ignored or rule not in chosen):
            _configure(rule, values[rule.name], where, problems, root)
    if problems:
        raise ConfigError(problems)
    return tuple(rule for rule in configured if rule is not None)


def _resolved(word: str, where: str, problems: list[Problem]) -> tuple[type[Rule], ...]:
    """The rules of a word; one that names nothing becomes a problem."""
    try:
        return resolve(word, where)
    except UserError as error:
        problems += error.problems
        return ()


def _options_by_rule(
    options: Mapping[str, Mapping[str, Any]], where: str, problems: list[Problem]
) -> dict[str, dict[str, Any]]:
    """Options given to a family reach each of its rules that knows them; what none knows is an error."""
    values: dict[str, dict[str, Any]] = {}
    resolved = [(_resolved(word, where, problems), word, given) for word, given in options.items()]
    # Families first, so that what is said of one rule wins over what is said of its family.
    for rules, word, given in sorted((item for item in resolved if item[0]), key=lambda item: -len(item[0])):
        for option, value in given.items():
            takers = [rule for rule in rules if option in rule.model_fields]
            if not takers:
                known = sorted({name for rule in rules for name in rule.model_fields})
                close = difflib.get_close_matches(option, known, n=1)
                problems.append(
                    Problem(
                        f"unknown option `{option}` of rule `{word}`",
                        where=where,
                        expected=f"one of {', '.join(known)}",
                        help=f"did you mean `{close[0]}`?" if close else f"`assay explain {rules[0].code}` lists them",
                    )
                )
            if option == "action" and len(rules) > 1:
                # A family is redacted where its rules can redact; what none of them can do is said of the first.
                takers = [rule for rule in takers if value in rule.actions] or takers[:1]
            for rule in takers:
                values.setdefault(rule.name, {})[option] = value
    return values


def _configure(
    rule: type[Rule], values: Mapping[str, Any], where: str, problems: list[Problem], root: Path | None
) -> Rule | None:
    try:
        configured = rule.model_validate(dict(values), context={"root": root or Path()})
    except UserError as error:  # a file that an option names
        problems += error.problems
        return None
    except ValidationError as error:
        for item in error.errors():
            option = ".".join(str(part) for part in item["loc"])
            message = f"`{option}` of rule `{rule.name}` is not valid" if option else f"rule `{rule.name}` is not valid"
            problems.append(Problem(message, where=where, found=repr(item["input"])[:120], expected=item["msg"]))
        return None
    if configured.effective_action not in rule.actions:
        problems.append(
            Problem(
                f"rule `{rule.name}` cannot {configured.effective_action}",
                where=where,
                found=f"action: {configured.effective_action}",
                expected=f"one of {', '.join(rule.actions)}",
            )
        )
    return configured


def describe(rules: Iterable[type[Rule]]) -> list[dict[str, Any]]:
    """What `assay rules --format json` prints: everything that is known of each rule, as plain data."""
    return [
        {
            "code": rule.code,
            "name": rule.name,
            "family": rule.family(),
            "severity": str(rule.severity),
            "action": str(rule.default_action),
            "actions": [str(action) for action in rule.actions],
            "needs": None if rule.needs is None else str(rule.needs),
            "summary": (rule.__doc__ or "").strip().splitlines()[0],
            "help": rule.help,
            "source": _section(rule, "Source"),
            "known_problems": _section(rule, "Known problems"),
            "options": _described_options(rule),
            "fires": [_lines(example) for example in rule.fires],
            "silent": [_lines(example) for example in rule.silent],
            "page": rule.page(),
        }
        for rule in rules
    ]


def _section(rule: type[Rule], heading: str) -> str:
    """The text under a heading of a rule's page; empty if it has none."""
    _, found, rest = inspect.cleandoc(rule.__doc__ or "").partition(f"## {heading}\n")
    return " ".join(rest.partition("\n## ")[0].split()) if found else ""


def _described_options(rule: type[Rule]) -> dict[str, Any]:
    """Option -> default, JSON Schema of its type and bounds, and what it does."""
    schemas, texts = rule.model_json_schema(), rule.options()
    plain = TypeAdapter(Any)
    return {
        name: {
            "default": plain.dump_python(info.get_default(call_default_factory=True), mode="json"),
            "schema": _inlined(schemas["properties"][name], schemas.get("$defs", {})),
            "description": texts[name][1],
        }
        for name, info in rule.model_fields.items()
        if name in texts
    }


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A part of a JSON Schema that stands by itself, without what is said beside it."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    beside = ("title", "description", "default")
    return {key: _inlined(value, definitions) for key, value in schema.items() if key not in beside}


def _lines(example: Example) -> dict[str, list[str]]:
    """An example as the lines of its files; bytes that are not UTF-8 are written as escapes."""
    shown = [
        [line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else json.dumps(line) for line in lines]
        for lines in (example.lines, example.evals, example.earlier)
    ]
    return dict(zip(("lines", "evals", "earlier"), shown, strict=True))
