"""What the gate suites ask, word for word, read out of lm-eval without a model, with the answers on record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import TemplateError

from evals.consistency import read_items_table
from evals.tasks import resolved_task
from schemas.results import EvalResults

JUDGED = "tuned"
"""What the evaluation calls the model that a release is made of."""


@dataclass(frozen=True)
class Suite:
    """One task of the evaluation, with the recorded answers of the judged model."""

    name: str
    output_type: str
    higher_is_better: bool
    metric: str
    chat_template: bool
    """Whether lm-eval puts the model's template around the task's texts."""
    generation: dict[str, Any]
    """lm-eval's `generation_kwargs`."""
    filters: bool
    """Whether what is recorded was taken out of the answer, and is not the answer itself."""
    recorded: pl.DataFrame
    """One line an item and sample, with the columns of ITEM_SCHEMA and MORE_COLUMNS."""

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn, so that no two runs need agree."""
        return bool(self.generation.get("do_sample") or self.generation.get("temperature"))

    @property
    def generates(self) -> bool:
        """Whether answers are texts."""
        return self.output_type == "generate_until"


@dataclass(frozen=True)
class Choice:
    """One continuation of a prompt whose log-likelihood was recorded."""

    text: str
    log_likelihood: float


@dataclass(frozen=True)
class Prompt:
    """One item as the model was asked."""

    task: str
    item_id: str
    position: int
    cluster: int
    context: str
    answer: str
    """What follows the prompt: the recorded answer, the recorded choice, or the expected answer where the recorded one
    is not kept word for word."""
    choices: tuple[Choice, ...] = ()
    """Of a task without generation; empty where the recorded scores do not fit the requests."""
    document: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    """How a text was asked for, as lm-eval puts it: `until`, `max_gen_toks`."""
    messages: tuple[dict[str, str], ...] | None = None
    """The conversation that lm-eval's template made the prompt of."""


def read_suites(results: Path) -> list[Suite]:
    """The tasks of an evaluation.

    Args:
        results: stage folder of evals.

    Raises:
        ManifestError: its tables cannot be read.
        UserError: a resolved task cannot be read.
    """
    summary = EvalResults.model_validate_json((results / "results.json").read_bytes())
    items = read_items_table(results / "items.parquet").filter(pl.col("model") == JUDGED, pl.col("run") == 0)
    found = []
    for name, about in sorted(summary.tasks.items()):
        config = resolved_task(results / "tasks", name).config
        metadata = config.get("metadata")
        template = metadata.get("chat_template", "model") if isinstance(metadata, dict) else "model"
        generation = config.get("generation_kwargs")
        found.append(
            Suite(
                name=name,
                output_type=str(about["output_type"]),
                higher_is_better=bool(about["higher_is_better"]),
                metric=str(about["metric"]),
                chat_template=template == "model",
                generation=generation if isinstance(generation, dict) else {},
                filters=bool(config.get("filter_list")),
                recorded=items.filter(pl.col("task") == name).sort("position", "sample"),
            )
        )
    return found


class PromptReader:
    """Stands in for a model in `run_task`, notes what it is asked, and answers nothing.

    Args:
        tokenizer: the judged model's; its chat template renders conversations.
    """

    rank, world_size = 0, 1
    tokenizer_name = ""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.check: Any = None
        self.target: Any = None
        self.failed: set[int] = set()
        self.conversations: dict[str, list[dict[str, str]]] = {}
        """Prompt -> the messages that it was made of, of the running task."""
        self.requests: list[Any] = []
        """lm-eval's requests of the running task."""

    def chat_template(self, _: bool | str = False) -> str:
        """See lm-eval; it names the template for a cache that is never used."""
        return ""

    def apply_chat_template(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """See lm-eval's model for transformers, which leaves the system's turn out where the template refuses it."""
        how = {"add_generation_prompt": add_generation_prompt, "continue_final_message": not add_generation_prompt}
        try:
            prompt = self._tokenizer.apply_chat_template(messages, tokenize=False, **how)
        except TemplateError:
            messages = [message for message in messages if message["role"] != "system"]
            prompt = self._tokenizer.apply_chat_template(messages, tokenize=False, **how)
        self.conversations[str(prompt)] = messages
        return str(prompt)

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """Nothing is likely."""
        self.requests += requests
        return [(0.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """Nothing is likely."""
        self.requests += requests
        return [0.0] * len(requests)

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """Silence."""
        self.requests += requests
        return [""] * len(requests)


def read_prompts(suite: Suite, tasks: Path, tokenizer: Any) -> list[Prompt]:
    """Every item of a task as the judged model was asked, in order.

    Args:
        suite: the task.
        tasks: folder of the resolved tasks.
        tokenizer: the judged model's.
    """
    from evals.harness import run_task

    reader = PromptReader(tokenizer)
    run_task(reader, tasks, suite.name, chat_template=suite.chat_template)
    asked: dict[int, list[Any]] = {}
    for request in reader.requests:
        asked.setdefault(int(request.doc_id), []).append(request)
    first = suite.recorded.filter(pl.col("sample") == 0)
    return [
        _prompt(suite, line, sorted(asked[line["position"]], key=lambda one: int(one.idx)), reader)
        for line in first.iter_rows(named=True)
        if line["position"] in asked
    ]


def _prompt(suite: Suite, line: dict[str, Any], requests: Sequence[Any], reader: PromptReader) -> Prompt:
    context = str(requests[0].args[0])
    choices: tuple[Choice, ...] = ()
    if suite.generates:
        answer = str(line["target"] if suite.filters or line["score"] is None else line["prediction"])
    else:
        choices = _choices(line, requests)
        best = max(choices, key=lambda one: one.log_likelihood, default=None)
        answer = best.text if best else ""
    messages = reader.conversations.get(context)
    return Prompt(
        task=suite.name,
        item_id=line["item_id"],
        position=line["position"],
        cluster=line["cluster"],
        context=context,
        answer=answer,
        choices=choices,
        document=dict(requests[0].doc),
        generation=dict(requests[0].args[1]) if suite.generates else {},
        messages=tuple(messages) if messages else None,
    )


def _choices(line: dict[str, Any], requests: Sequence[Any]) -> tuple[Choice, ...]:
    """The continuations that were asked for, each with its recorded log-likelihood."""
    detail = json.loads(line["detail"])
    recorded = detail.get("log_likelihoods") or [detail.get("log_likelihood")]
    pairs = [request.args for request in requests if len(request.args) == 2]
    alike = [args for args in pairs if args[0] == pairs[0][0]]
    if len(recorded) > len(alike) or any(value is None for value in recorded):
        return ()
    return tuple(Choice(str(args[1]), float(value)) for args, value in zip(alike, recorded, strict=False))


def interleaved(prompts: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """A seeded choice of items, as many of each task as there can be; the same for any order.

    Args:
        prompts: of all tasks.
        count: how many; all, if there are fewer.
        seed: of the choice.
    """
    ranked: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    for prompt in sorted(prompts, key=lambda one: _rank(one, seed)):
        ranked[prompt.task] = ranked.get(prompt.task, 0) + 1
        places[prompt.task, prompt.item_id] = ranked[prompt.task]
    chosen = sorted(prompts, key=lambda one: (places[one.task, one.item_id], one.task))[:count]
    return sorted(chosen, key=lambda one: (one.task, one.position))


def _rank(prompt: Prompt, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{prompt.task}:{prompt.item_id}".encode()).digest()
