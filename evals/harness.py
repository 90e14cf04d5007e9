"""lm-eval as the engine: the only file that imports it.

A task runs from its resolved folder, so that plain lm-eval on that folder asks the same. One loaded model serves the
base and the tuned scores; log-likelihoods come from `token_scores`, which agrees with lm-eval's own model within 1e-4
nats. lm-eval's response cache is never used: its keys do not name the model.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evals.decoding import Ask, GreedyDecoder
from evals.item_scores import ItemScore, each_sample, item_score, set_item_values
from evals.packing import Query
from evals.responses import key
from evals.token_scores import TokenScorer
from schemas.base import canonical_json
from schemas.errors import AssayError, UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lm_eval
    from lm_eval.api.registry import get_model
    from lm_eval.models import MODEL_MAPPING
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import postprocess_generated_text
    from lm_eval.tasks import TaskManager

TASK_FOLDER = Path(lm_eval.tasks.__file__).parent
GREEDY_SETTINGS = frozenset(("until", "max_gen_toks", "do_sample", "temperature"))
"""Decoding arguments under which, without drawing, the likeliest token is always taken."""
PromptCheck = Callable[[dict[str, Any], str, str], None]
"""Document, context and one continuation that the model is about to be asked; raises where they are not as agreed."""


@dataclass(frozen=True)
class TaskRun:
    """A task scored by one model."""

    metric: str
    higher_is_better: bool
    output_type: str
    items: list[ItemScore]


class SharedLM(HFLM):
    """lm-eval's transformers model on a model that is loaded already, scoring through `TokenScorer`.

    Args:
        scorer: holds the model.
        tokenizer: the base model's, as transformers loads it.
    """

    def __init__(self, scorer: TokenScorer, tokenizer: Any) -> None:
        self.scorer = scorer
        self.check: PromptCheck | None = None
        self.failed: set[int] = set()
        """Documents of the running task on which generation failed."""
        self.conversations: dict[Any, list[dict[str, str]]] = {}
        """Prompt -> the messages that the chat template made it of, of the running task."""
        self.target: Callable[[Any], Any] | None = None
        """The expected answer of a document of the running task, where it has one."""
        self.decoder = GreedyDecoder(scorer.model, scorer.batch_size)
        super().__init__(
            pretrained=scorer.model,
            tokenizer=tokenizer,
            batch_size=scorer.batch_size,
            max_length=scorer.max_length,
        )

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """See lm-eval; what a prompt was made of is noted in `conversations`."""
        prompt: str = super().apply_chat_template(chat_history, add_generation_prompt)
        self.conversations[prompt] = chat_history
        return prompt

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """See lm-eval; every prompt is checked before any is scored."""
        if self.check is not None:
            for request in requests:
                self.check(request.doc, *request.args)
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        queries = [Query(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        return [(score.log_likelihood, score.is_greedy) for score in self.scorer.score(queries)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """See lm-eval; a request that fails is noted in `failed`, and the others are answered."""
        if self.check is not None:
            for request in requests:
                self.check(request.doc, request.args[0], "")
        answers = [""] * len(requests)
        store, keys = self.scorer.store, [key("text", *request.args) for request in requests]
        drawn = any(request.args[1].get("do_sample") or request.args[1].get("temperature") for request in requests)
        if drawn:
            store = None  # drawn answers differ each time
        known = {} if store is None else store.get(keys)
        for place, name in enumerate(keys):
            answers[place] = known.get(name, "")
        missing = [place for place, name in enumerate(keys) if name not in known]
        done = 0
        for some in itertools.chain(self._decoded(requests, missing), self._generated(requests, missing)):
            for place, text in some.items():
                answers[place] = text
                missing.remove(place)
            if store is not None:
                fine = [place for place in some if requests[place].doc_id not in self.failed]
                store.put({keys[place]: some[place] for place in fine})
            done += len(some)
            if self.scorer.progress:
                self.scorer.progress(done, done + len(missing))
        return answers

    def _decoded(self, requests: Sequence[Any], missing: Sequence[int]) -> Iterator[dict[int, str]]:
        """Answers by `GreedyDecoder`, a batch at a time; ends early where it does not fit this model."""
        alike: dict[bytes, list[int]] = {}
        for place in missing:
            alike.setdefault(canonical_json(requests[place].args[1]), []).append(place)
        for places in alike.values():
            settings = requests[places[0]].args[1]
            until = settings.get("until") or []
            stops = [*([until] if isinstance(until, str) else until), self._text([self.eot_token_id])]
            stops = [stop for stop in stops if stop]
            asks = {place: ask for place in places if (ask := self._ask(requests[place]))}
            for batch in self.decoder.decode(asks, self._ends(stops)):
                self.failed |= {requests[place].doc_id for place, tokens in batch.items() if tokens is None}
                texts = {place: self.tok_decode(list(tokens or ())) for place, tokens in batch.items()}
                yield {place: postprocess_generated_text(text, stops, None) for place, text in texts.items()}
        self.scorer.errors += self.decoder.errors
        self.decoder.errors.clear()

    def _ask(self, request: Any) -> Ask | None:
        """A prompt, cut where lm-eval cuts it, with the expected answer as draft; null where lm-eval must generate."""
        context, settings = request.args
        prompt, most = self.tok_encode(context), int(settings.get("max_gen_toks", self.max_gen_toks))
        plain = set(settings) <= GREEDY_SETTINGS and not (settings.get("do_sample") or settings.get("temperature"))
        if not plain or not prompt or not 0 < most < self.max_length:
            return None
        target = self.target(request.doc) if self.target else None
        whole = self.tok_encode(context + target) if isinstance(target, str) else []
        draft = whole[len(prompt) :] if whole[: len(prompt)] == prompt else []
        return Ask(tuple(prompt[most - self.max_length :]), tuple(draft[: most - 1]), most)

    def _ends(self, stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
        """Whether an answer is over: at the model's own end, or as soon as the last tokens contain a stop."""
        own = getattr(self.model, "generation_config", None)
        ids = own and own.eos_token_id
        eos = {self.eot_token_id, *(ids if isinstance(ids, list) else [ids])}
        look = max((len(self.tok_encode(stop, add_special_tokens=False)) for stop in stops), default=0) + 2

        def over(tokens: Sequence[int]) -> bool:
            return tokens[-1] in eos or any(stop in self._text(tokens[-look:]) for stop in stops)

        return over

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tok_decode(list(tokens), skip_special_tokens=False))

    def _generated(self, requests: Sequence[Any], missing: Sequence[int]) -> Iterator[dict[int, str]]:
        """Answers as lm-eval generates them, a batch at a time, longest prompts first."""
        order = sorted(missing, key=lambda place: -len(requests[place].args[0]))
        for start in range(0, len(order), self.scorer.batch_size):
            places = order[start : start + self.scorer.batch_size]
            yield dict(zip(places, self._generate([requests[place] for place in places]), strict=True))

    def _generate(self, requests: list[Any]) -> list[str]:
        torch.manual_seed(
            int.from_bytes(key(*(request.args for request in requests))[:4])
        )  # for answers that are drawn
        try:
            found: list[str] = super().generate_until(requests, disable_tqdm=True)
        except (RuntimeError, IndexError) as error:  # out of memory, or a token that the model does not know
            if len(requests) > 1:
                return [answer for request in requests for answer in self._generate([request])]
            self.failed.add(requests[0].doc_id)
            self.scorer.errors.append(f"{type(error).__name__}: {error}"[:300])
            return [""]
        return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep lm-eval's progress bars, prints, logs and warnings away from our streams."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def shared_lm(scorer: TokenScorer, tokenizer: Any) -> SharedLM:
    """A model for `run_task`."""
    with quiet():
        return SharedLM(scorer, tokenizer)


def model_names() -> list[str]:
    """What lm-eval calls the models that it knows, sorted."""
    return sorted(MODEL_MAPPING)


def make_model(name: str, arguments: Mapping[str, Any], *, network: bool) -> Any:
    """One of lm-eval's own models.

    Args:
        name: as lm-eval calls it.
        arguments: of its constructor.
        network: whether it may ask a hub for a tokenizer or weights.

    Raises:
        Exception: whatever its library raises when it is missing, or does not like the arguments.
    """
    with quiet(), contextlib.nullcontext() if network else offline():
        return get_model(name).create_from_arg_obj(dict(arguments))


def run_task(
    lm: Any,
    folder: Path,
    name: str,
    *,
    chat_template: bool,
    check: PromptCheck | None = None,
    source: Path | None = None,
) -> TaskRun:
    """Score every item of a resolved task with the model as it is now.

    Args:
        lm: `SharedLM`, whose adapter may be on or off, or `AskedLM`.
        folder: with `<name>.yaml` and its items.
        name: of the task.
        chat_template: whether lm-eval applies the model's chat template to the task's texts.
        check: called on every prompt before any is scored.
        source: the task file as a person wrote it, for messages; null names the resolved one.

    Raises:
        UserError: lm-eval cannot run the task, an item's answer is not among its choices, or the task's metric has no
            value for a single item.
    """
    lm.check, lm.failed, lm.target, lm.conversations = check, set(), None, {}
    where = source or folder / f"{name}.yaml"
    try:
        with quiet():
            loaded = TaskManager(include_path=str(folder), include_defaults=False).load([name])
            task = loaded["tasks"][name]
            task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)
            task.set_fewshot_seed(seed=1234)  # as lm-eval's own command line does
            _check_targets(task, where)
            if task.OUTPUT_TYPE == "generate_until" and not task.multiple_target:
                lm.target = task.doc_to_target
            samples = lm_eval.evaluate(
                lm,
                loaded,
                bootstrap_iters=0,
                log_samples=True,
                apply_chat_template=chat_template,
                fewshot_as_multiturn=True,
            )["samples"][name]
    except AssayError:
        raise
    except Exception as error:  # a task file can make lm-eval raise anything
        raise UserError(
            "lm-eval cannot run this task",
            where=str(where),
            found=": ".join(filter(None, (type(error).__name__, str(error)[:300]))),
            help="try the task with plain lm-eval; its documentation explains the fields",
        ) from error
    first = samples[0]["filter"]
    metric = next(iter(task.aggregation()), None)
    if metric is None:
        raise UserError("the task measures nothing", where=str(where), expected="a metric in metric_list")
    ordered = sorted((sample for sample in samples if sample["filter"] == first), key=lambda sample: sample["doc_id"])
    ordered = each_sample(task, ordered)
    set_item_values(task, ordered, metric, where)
    items = [item_score(task, sample, metric, where, failed=sample["doc_id"] in lm.failed) for sample in ordered]
    return TaskRun(metric, bool(task.higher_is_better()[metric]), str(task.OUTPUT_TYPE), items)


def _check_targets(task: Any, where: Path) -> None:
    if task.OUTPUT_TYPE != "multiple_choice" or task.multiple_input:
        return
    outside = []
    for position, document in enumerate(task.eval_docs):
        choices, target = task.doc_to_choice(document), task.doc_to_target(document)
        known = [one in choices if isinstance(one, str) else 0 <= one < len(choices) for one in _as_list(target)]
        if not all(known):
            outside.append((position + 1, target))
    if outside:
        raise UserError(
            f"the answer of {len(outside)} items is not among the choices of the task",
            where=f"{where}: item {outside[0][0]}",
            found=repr(outside[0][1])[:120],
            expected=f"one of {', '.join(map(repr, task.doc_to_choice(task.eval_docs[0])))}",
            help="correct doc_to_choice and doc_to_target of the task, or the rows",
        )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# -------------------------------------------------------------------------------------------------- lm-eval's own tasks


@functools.cache
def _own_tasks() -> TaskManager:
    """The index of lm-eval's own tasks: thousands of files, read once."""
    with quiet():
        return TaskManager()


def built_in_file(name: str) -> Path | None:
    """The file of one of lm-eval's own tasks; null where it has none of that name.

    Raises:
        UserError: it is a group of tasks, or no YAML.
    """
    manager = _own_tasks()
    if name in manager.all_groups or name in manager.all_tags:
        raise UserError(
            "a suite must be one task, not a group",
            where=f"evals.suites: {name}",
            found="a group of lm-eval's tasks",
            help="name each task in evals.suites",
        )
    entry = manager.task_index.get(name)
    if entry is not None and (entry.yaml_path is None or "class" in (entry.cfg or {})):
        raise UserError("this task of lm-eval is Python and cannot be asked", where=f"evals.suites: {name}")
    return None if entry is None else Path(entry.yaml_path)


@functools.cache
def built_in_documents(name: str, network: bool) -> dict[str, list[dict[str, Any]]]:
    """The items of one of lm-eval's own tasks as `test`, and those that its few-shot examples come from.

    Args:
        name: of the task.
        network: whether its data may be downloaded; otherwise it must be in the cache of `datasets`.

    Raises:
        UserError: the data cannot be reached.
    """
    try:
        with quiet(), contextlib.nullcontext() if network else offline():
            task = _own_tasks().load([name])["tasks"][name]
            shots = list(task.fewshot_docs() or ()) if task.get_config("num_fewshot") else []
            found = {"test": list(task.eval_docs)} | ({"fewshot": shots} if shots else {})
    except Exception as error:  # whatever a data set's server, file or code may raise
        raise UserError(
            "the data of this task of lm-eval cannot be reached",
            where=f"evals.suites: {name}",
            found=f"{type(error).__name__}: {error}"[:300],
            expected="the data set in the cache of the hub" if not network else "a hub that answers",
            help="" if network else "`evals.network: true` allows the download",
        ) from error
    return found


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Nothing is asked of a hub."""
    import datasets.config
    import huggingface_hub.constants

    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
