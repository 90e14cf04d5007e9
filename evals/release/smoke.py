"""The serving check: the released folder behind a real server, asked over HTTP what the judged model was asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.release.conversations import Conversation, answers_check, ask, conversations, known_answers
from evals.release.llamacpp import context_tokens, gguf_file
from evals.release.prompts import read_prompts, read_suites
from evals.release.serving import missing_modules, serving
from evals.release.source import Source
from schemas.errors import MissingExtra, UserError
from schemas.progress import Progress
from schemas.release import Served, SmokeTest
from schemas.release_config import ReleaseConfig
from schemas.verdict import Check, Outcome, combine

ITEMS = 8
"""Asked of each server."""
PREFIX = "smoke:"
MERGED = "merged"
EXTRA = {"transformers": "release", "llamacpp": "llamacpp"}
"""What brings the packages of each server."""


def require_servers(targets: Sequence[ModuleType]) -> None:
    """Refuse to begin where a server cannot be started; to be called before anything is exported.

    Args:
        targets: what is released.

    Raises:
        MissingExtra: a package is missing.
        UserError: no target is one that a server reads.
    """
    kinds = {kind for target in targets if (kind := server_kind(target))}
    if not kinds:
        raise UserError(
            "nothing that is released can be served for a smoke test",
            where="release.targets",
            found=", ".join(target.NAME for target in targets),
            expected="merged, which transformers serves, or a gguf target, which llama.cpp serves",
            help="add merged to release.targets, or leave --smoke out",
        )
    needed = "transformers" if "transformers" in kinds else "llamacpp"  # beside the other, llama.cpp is an extra
    missing = missing_modules(needed)
    if missing:
        raise MissingExtra(EXTRA[needed], missing[0])


def server_kind(target: ModuleType) -> str:
    """Which server reads a target; empty where none does that is started here."""
    if target.FOLDER == MERGED:
        return "transformers"
    return "llamacpp" if target.NAME.startswith("gguf-") else ""


def smoke(
    source: Source,
    folder: Path,
    targets: Sequence[ModuleType],
    results: Path,
    settings: ReleaseConfig,
    progress: Progress,
) -> SmokeTest:
    """Serve what is released, ask the first test items over HTTP, and compare with the recorded answers.

    Args:
        source: the model that was judged.
        folder: of the release.
        targets: what is in it.
        results: stage folder of evals.
        settings: `release` of the config.
        progress: where it is shown.

    Raises:
        UserError: see `require_servers`.
    """
    from transformers import AutoTokenizer

    require_servers(targets)
    tokenizer = AutoTokenizer.from_pretrained(source.base, trust_remote_code=False)
    suites = read_suites(results)
    prompts = [prompt for suite in suites for prompt in read_prompts(suite, results / "tasks", tokenizer)]
    asked = conversations(suites, prompts, known_answers(results, tokenizer), tokenizer, ITEMS)
    exact = source.dtype == "float32"
    checks: list[Check] = []
    answers: dict[str, tuple[Served, ...]] = {}
    for target in targets:
        progress.begin(f"serving {target.NAME}", "items")
        check, found = _served(target, folder, asked, tokenizer, exact=exact)
        checks.append(check)
        answers |= {target.NAME: found} if found else {}
    return SmokeTest(outcome=combine(check.outcome for check in checks), checks=tuple(checks), answers=answers)


def _served(
    target: ModuleType, folder: Path, asked: Sequence[Conversation], tokenizer: Any, *, exact: bool
) -> tuple[Check, tuple[Served, ...]]:
    name, kind = f"{PREFIX}{target.NAME}", server_kind(target)
    if not kind:
        said = "no server that is started here reads this form; vllm.sh beside it does"
        return Check(name=name, outcome=Outcome.NOT_APPLICABLE, message=said), ()
    if missing_modules(kind):
        said = f"it was not served: {', '.join(missing_modules(kind))} is not installed"
        return Check(name=name, outcome=Outcome.NOT_APPLICABLE, message=said), ()
    if not asked:
        return answers_check(name, (), lossless=target.LOSSLESS), ()
    try:
        if kind == "transformers":
            with serving(kind, target.FOLDER, folder) as server:
                found = ask(server, target.FOLDER, asked)
        else:
            file = gguf_file(target, folder / target.FOLDER)
            with serving(kind, str(file), folder, context_tokens(asked, tokenizer)) as server:
                found = ask(server, None, asked)
    except UserError as error:
        (problem,) = error.problems
        return Check(name=name, outcome=Outcome.FAIL, message=f"{problem.what}: {problem.found}", help=problem.help), ()
    return answers_check(name, found, lossless=target.LOSSLESS and exact), found
