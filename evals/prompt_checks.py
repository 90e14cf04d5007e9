"""That a model is asked what a row of the dataset asks: with the prompt of training, or after examples of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from curate.supervision import Supervised, Supervisor
from evals.dataset_items import AskedRow
from evals.documents import Document
from evals.tasks import Task
from schemas.errors import UserError

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class PromptSource:
    """What made the prompts."""

    supervisor: Supervisor
    """Renders a conversation as training did."""
    tokens: Callable[[str], list[int]] | None
    """How the harness turns text into token ids; null where it does not."""
    lm: Any
    """Notes in `conversations` what its chat template made a prompt of."""

    def messages(self, context: Any) -> Messages | None:
        """The conversation behind a prompt; null for a text that no template made."""
        found: Messages | None = self.lm.conversations.get(context)
        return found


def prompt_check(
    task: Task, rows: Sequence[AskedRow], source: PromptSource, examples: Sequence[Document] | None
) -> Callable[[dict[str, Any], Any, str], None]:
    """A check of every prompt before any is answered.

    Without few-shot examples, the model must be asked with exactly the prompt, and the tokens, that it was trained
    with. With them, the conversation must end in exactly the row's own turns; what stands before are pairs of a
    question out of `examples` that is not the item's own, and an answer; and the whole is rendered as in training.

    Args:
        task: over a split of the dataset.
        rows: its items.
        source: of the prompts.
        examples: documents that few-shot examples are drawn from; null without few-shot.
    """
    expected = {asked.row.row_id: asked for asked in rows}
    questions = frozenset(str(document["user"]) for document in examples or ())

    def check(document: dict[str, Any], context: Any, _: str) -> None:
        asked = expected[document["item_id"]]
        said, where = source.messages(context), f"{task.path}, row {asked.row.place}"
        text = context if isinstance(context, str) else source.supervisor.prompt(list(said or ()), asked.row.tools)
        if examples is None:
            _require_same(text, asked.prompt, where)
            answered: Supervised | None = asked.supervised
        else:
            _require_examples(asked, said, questions, int(task.config["num_fewshot"]), where)
            whole = source.supervisor.prompt(list(said or ()), asked.row.tools)
            _require_same(text, whole, where)
            (found,) = source.supervisor.encode_rows([[*(said or ()), asked.row.messages[-1]]], [asked.row.tools])
            answered = found if isinstance(found, Supervised) else None  # longer than anything that was trained
        if isinstance(context, str) and source.tokens is not None and answered is not None:
            _require_tokens(source.tokens(context), answered, where)

    return check


def _require_same(text: str, prompt: str, where: str) -> None:
    if text == prompt:
        return
    place = next((k for k, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b), None)
    place = min(len(text), len(prompt)) if place is None else place
    raise UserError(
        "the task asks with another prompt than training used",
        where=where,
        found=f"from character {place}: {text[place : place + 60]!r}",
        expected=f"{prompt[place : place + 60]!r}",
        help="use `doc_to_text: prompt` with `metadata: {chat_template: rendered}`, or `doc_to_text: user`, and no "
        "description",
    )


def _require_examples(
    asked: AskedRow, said: Messages | None, questions: frozenset[str], count: int, where: str
) -> None:
    """That a conversation is examples of others, then the row's own turns."""
    if said is None:
        raise UserError(
            "few-shot examples of the dataset are asked as a conversation",
            where=where,
            found="a prompt that the model's chat template did not make",
            expected="`doc_to_text: user`, and neither rendered nor none as metadata.chat_template",
        )
    own = [(turn.get("role"), turn.get("content")) for turn in asked.row.messages[:-1]]
    found = [(turn.get("role"), turn.get("content")) for turn in said]
    system = [own.pop(0)] if own and own[0][0] in ("system", "developer") else []
    spoken = [found.pop(0)] if found and found[0][0] == "system" else []
    if system and [content for _, content in system] != [content for _, content in spoken]:
        raise _other("the system prompt is not the row's own", where, spoken, system, "description: '{{system}}'")
    if not own or found[-len(own) :] != own:
        raise _other("the question asked is not the row's own", where, found[-len(own) :], own, "doc_to_text: user")
    before = found[: -len(own)]
    if [role for role, _ in before] != ["user", "assistant"] * count:
        raise _other("the few-shot examples are not pairs of question and answer", where, before, [], "")
    for _, question in before[::2]:
        if question not in questions:
            raise _other("a few-shot example is no row of its split", where, [("user", question)], [], "")
        if len(own) == 1 and question == own[0][1]:
            raise _other("a few-shot example is the item itself", where, [("user", question)], [], "")


def _other(what: str, where: str, found: Sequence[Any], expected: Sequence[Any], advice: str) -> UserError:
    return UserError(
        what,
        where=where,
        found=repr(list(found))[:200],
        expected=repr(list(expected))[:200] if expected else "",
        help=f"use `{advice}`" if advice else "",
    )


def _require_tokens(ids: list[int], answered: Supervised, where: str) -> None:
    whole = answered.input_ids
    if not answered.truncated_tokens and whole[: len(ids)] != ids:
        raise UserError(
            "the harness splits the prompt into other tokens than training did",
            where=where,
            found=f"{len(ids)} tokens: {ids[:12]} ...",
            expected=f"{whole[:12]} ...",
            help="the base model's tokenizer files disagree; save the tokenizer again with a recent transformers",
        )
