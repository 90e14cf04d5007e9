"""llama.cpp as a second reader of a GGUF file, where the package xllamacpp, which holds it, is installed.

It runs as a process of its own: a file that it cannot read may end the process, and must not end ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.release.conversations import Conversation, answers_check, ask
from evals.release.serving import NotAnsweredError, Server, missing_modules, serving
from evals.release.structure import NASTY, PROBES, unlike_text
from schemas.errors import UserError
from schemas.release import Served
from schemas.verdict import Check, Outcome

PREFIX = "llamacpp:"
FOLDER = "gguf"
SPARE_TOKENS = 64


def gguf_file(target: ModuleType, folder: Path) -> Path | None:
    """The target's file; null where it is no GGUF."""
    kind = str(target.NAME).removeprefix("gguf-")
    return next(iter(sorted(folder.glob(f"*-{kind}.gguf"))), None) if target.FOLDER == FOLDER else None


def context_tokens(asked: Sequence[Conversation], tokenizer: Any) -> int:
    """How long a context the server needs."""
    longest = max((len(tokenizer.encode(one.prompt.context)) + one.most for one in asked), default=0)
    return longest + SPARE_TOKENS


def llamacpp_checks(
    target: ModuleType, folder: Path, texts: Sequence[str], asked: Sequence[Conversation], tokenizer: Any
) -> tuple[Check, ...]:
    """Whether llama.cpp reads a GGUF as the judged model was: tokens, template, greedy answers.

    Args:
        target: what was exported; nothing is said of one that is no GGUF.
        folder: of its files.
        texts: real prompts with answers.
        asked: items with known answers.
        tokenizer: the judged model's.
    """
    file = gguf_file(target, folder)
    if file is None:
        return ()
    if missing_modules("llamacpp"):
        said = "llama.cpp did not read the file too: it is not installed here (pip install 'assay[llamacpp]')"
        return (Check(name=f"{PREFIX}reader", outcome=Outcome.NOT_APPLICABLE, message=said),)
    try:
        with serving("llamacpp", file.name, folder, context_tokens(asked, tokenizer)) as server:
            checks = [_tokens(server, texts, tokenizer), *_template(server, asked, tokenizer)]
            answers = ask(server, None, asked)
    except UserError as error:
        (problem,) = error.problems
        said = f"llama.cpp cannot serve {file.name}: {problem.what}; {problem.found}"
        return (Check(name=f"{PREFIX}reader", outcome=Outcome.FAIL, message=said, help=problem.help),)
    return (*checks, _answers(answers))


def _answers(answers: Sequence[Served]) -> Check:
    name = f"{PREFIX}answers"
    if not answers:
        said = "no item can be asked as a conversation whose answer is on record"
        return Check(name=name, outcome=Outcome.NOT_APPLICABLE, message=said)
    return answers_check(name, answers, lossless=False)


def _tokens(server: Server, texts: Sequence[str], tokenizer: Any) -> Check:
    """Token ids of real and of nasty texts; whether a start token is put before them is a setting, and left out."""
    asked = [text for text in dict.fromkeys([*texts, *NASTY]) if text]
    own: list[list[int]] = tokenizer(asked, add_special_tokens=False)["input_ids"]
    other = [
        server.post("/tokenize", {"content": text, "add_special": False, "parse_special": True}).get("tokens", [])
        for text in asked
    ]
    unlike = [row for row in zip(asked, own, other, strict=True) if row[1] != row[2]]
    problem = unlike_text(unlike, len(asked))
    return Check(
        name=f"{PREFIX}tokenizer",
        outcome=Outcome.FAIL if problem else Outcome.PASS,
        message=problem or f"llama.cpp splits {len(asked):,} texts into the judged model's tokens",
        measured={"texts": len(asked), "unlike": len(unlike)},
        help="the file names another rule for cutting text than the tokenizer has" if problem else "",
    )


def _template(server: Server, asked: Sequence[Conversation], tokenizer: Any) -> tuple[Check, ...]:
    """What llama.cpp's template engine makes of probes that the judged model's template takes, and of real items."""
    if not tokenizer.chat_template:
        return ()
    unlike, count = [], 0
    for messages in (*PROBES, *(one.messages for one in asked)):
        try:
            own = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception:  # the template refuses this conversation
            continue
        count += 1
        try:
            other = server.post("/apply-template", {"messages": list(messages)}).get("prompt", "")
        except NotAnsweredError as error:
            other = str(error)
        unlike += [] if own == other else [(own, other)]
    name = f"{PREFIX}chat-template"
    if not unlike:
        return (Check(name=name, outcome=Outcome.PASS, message=f"llama.cpp renders {count} conversations alike"),)
    own, other = (repr(text)[:160] for text in unlike[0])
    said = f"llama.cpp renders {len(unlike)} of {count} conversations otherwise; the first, {own}, became {other}"
    return (Check(name=name, outcome=Outcome.FAIL, message=said, help="simplify the chat template"),)
