"""Writes what must never differ from the code: docs/cli.md, docs/rules.md, schemas/json/*.json.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 and name what is stale, without writing
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402 - the rooms and what they need are found from the checkout, installed or not

import assay  # noqa: E402
from curate.rules.catalogue import all_rules  # noqa: E402
from schemas.base import Strict  # noqa: E402
from schemas.compare import Compared  # noqa: E402
from schemas.config import Config  # noqa: E402
from schemas.drift import Drift  # noqa: E402
from schemas.errors import ExitCode  # noqa: E402
from schemas.finding import Finding  # noqa: E402
from schemas.index import IndexHeader  # noqa: E402
from schemas.lock import Lock  # noqa: E402
from schemas.manifest import Manifest  # noqa: E402
from schemas.plan import Plan  # noqa: E402
from schemas.records import ROW_MODELS  # noqa: E402
from schemas.release import Release  # noqa: E402
from schemas.results import EvalResults  # noqa: E402
from schemas.verdict import Verdict  # noqa: E402

WIDTH = 100
GENERATED = "<!-- Written by docs/generate.py; change the code and run `make docs`. -->"
MODELS: dict[str, type[Strict]] = {
    "compare": Compared,
    "config": Config,
    "drift": Drift,
    "finding": Finding,
    "index": IndexHeader,
    "lock": Lock,
    "manifest": Manifest,
    "plan": Plan,
    "release": Release,
    "results": EvalResults,
    "verdict": Verdict,
    **{f"row-{kind}": model for kind, model in ROW_MODELS.items()},
}
"""File name -> the model of what is on disk."""
MEANINGS = {
    ExitCode.PASS: "pass, or nothing to complain about",
    ExitCode.FAIL: "findings at or above `--fail-on`, a gate that failed, a chain that changed",
    ExitCode.USAGE: "usage, config, or input that cannot be opened",
    ExitCode.BUG: "a bug in assay; a report file says what happened",
    ExitCode.INCONCLUSIVE: "inconclusive or stale: there is not enough evidence either way",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "asked to end with SIGTERM",
}


def documents() -> dict[Path, str]:
    """Path -> text of every generated file."""
    made = {ROOT / "docs" / "cli.md": cli_page(), ROOT / "docs" / "rules.md": rules_page()}
    for name, model in MODELS.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema(by_alias=True)
        made[ROOT / "schemas" / "json" / f"{name}.json"] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    return made


def cli_page() -> str:
    """Every command with its help, as the terminal shows it."""
    lines = ["# Commands", "", GENERATED, "", "| exit code | meaning |", "|--:|---|"]
    lines += [f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items()]
    lines += [f"| {assay.BROKEN_PIPE} | whoever read the output went away |", ""]
    for context in contexts("assay", assay.assay, None):
        lines += [f"## {context.command_path}", "", "```text", context.get_help(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def contexts(name: str, command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """A command and everything below it, in the order of `--help`."""
    settings: dict[str, Any] = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, name, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from contexts(below, found, context)


def rules_page() -> str:
    """Every rule's page, after a table of all."""
    rules = all_rules()
    lines = ["# Rules", "", GENERATED, "", "| code | name | severity | action | |", "|---|---|---|---|---|"]
    for rule in rules:
        summary = (rule.__doc__ or "").strip().splitlines()[0]
        anchor = f"{rule.code}-{rule.name}".lower()
        lines.append(
            f"| [{rule.code}](#{anchor}) | {rule.name} | {rule.severity} | {rule.default_action} | {summary} |"
        )
    for rule in rules:
        lines += ["", re.sub(r"^#", "##", rule.page(), flags=re.M).rstrip()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name the stale ones."""
    made = documents()
    there = {path for path in (ROOT / "schemas" / "json").glob("*.json")}
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += sorted(there - set(made))
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale; run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
