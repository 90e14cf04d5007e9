"""Equivalence: the exported model, loaded back by a path of its own, is held against the one that was judged.

What must hold, all of it; each condition is tested at its own level, which needs no correction, since one that does not
hold is enough (intersection-union test: Berger 1982, Technometrics 24:295-300):

- `structure:*`: tokenizer, special tokens, template, stops, generation config, embeddings, vocabulary, context.
- `prompts`: every item is asked with the recorded prompt, by its digest, when the exported tokenizer renders it.
- `record`: the judged model gives its recorded log-likelihoods again, so that what follows is about this very model.
- `log-probabilities`, of forms that lose nothing in float32: no token differs by more than `max_log_p`.
- `divergence`, of the others: KL(judged || exported) is below `max_kl` by the upper end of its interval, over all
  tokens and over those of answers.
- `task:<name>`: forms that lose nothing give every recorded answer, ties of the judged model aside. The others are
  shown to score alike within `margin` either way by two one-sided tests; not being shown to be worse is not enough.
- `llamacpp:*`, of GGUF files where xllamacpp is installed: tokens, template and answers by the engine it is made for.

A form that may lose something and loses nothing within `max_log_p`, with every answer the recorded one, passes as
exact: then no interval is needed to say that its scores are the same.
"""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evals.release.answers import Answered, compared, task_check, task_equivalence, with_ties
from evals.release.conversations import conversations, known_answers
from evals.release.divergence_checks import divergence_check, log_p_check, record_check
from evals.release.llamacpp import llamacpp_checks
from evals.release.numbers import measured, rounded
from evals.release.prompts import JUDGED, Prompt, Suite, interleaved, read_prompts, read_suites
from evals.release.reading import (
    Parting,
    Reading,
    TokenRow,
    equal_top,
    largest,
    mean_per_token,
    parting,
    read,
    read_all,
    sequences,
)
from evals.release.source import Loaded, Source, load_judged
from evals.release.structure import Facts, facts, structure_checks
from evals.stats import Interval, proportion
from schemas.errors import AssayError, UserError
from schemas.manifest import read_manifest
from schemas.progress import Progress
from schemas.release import Equivalence
from schemas.release_config import ReleaseConfig
from schemas.terminal import printable
from schemas.verdict import Check, Outcome, combine

FULL = "float32"
ASKED_OF_LLAMACPP = 8
BATCH_SIZE = 16


@dataclass(frozen=True)
class Asked:
    """What both models are asked."""

    suites: list[Suite]
    tasks: Path
    prompts: list[Prompt]
    rows: list[TokenRow]
    tokenizer: Any
    """The judged model's."""
    batch_size: int
    max_length: int


@dataclass
class Found:
    """What the exported model said, and later how it parts from the judged one."""

    facts: Facts | None = None
    readings: list[tuple[Reading, tuple[list[int], list[int]]]] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    problems: list[Check] = field(default_factory=list)
    """What kept something from being compared."""
    partings: list[Parting] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    """|log-likelihood now less recorded| per token of the judged model, where it was recorded."""
    judged: Facts | None = None


def prove(
    source: Source,
    target: ModuleType,
    folder: Path,
    results: Path,
    settings: ReleaseConfig,
    progress: Progress,
) -> Equivalence:
    """Load an exported model back, ask it, free it, ask the judged one, and judge how far they part.

    Args:
        source: the model that was judged.
        target: one of `evals.release.targets`.
        folder: of its files.
        results: stage folder of evals.
        settings: `release` of the config.
        progress: where it is shown.

    Raises:
        ManifestError, UserError: the results or the judged model cannot be read.
    """
    asked = _asked(source, results, settings)
    found = Found()
    _ask_exported(source, target, folder, asked, settings, progress, found)
    _free()
    _ask_judged(source, target, asked, settings, progress, found)
    _free()
    progress.begin(f"{target.NAME}: by llama.cpp")
    texts = [row.prompt.context + row.prompt.answer for row in asked.rows]
    known = known_answers(results, asked.tokenizer)
    items = conversations(asked.suites, asked.prompts, known, asked.tokenizer, ASKED_OF_LLAMACPP)
    more = llamacpp_checks(target, folder, texts, items, asked.tokenizer)
    return _judged(source, target, folder, results, asked, found, settings, more)


def _asked(source: Source, results: Path, settings: ReleaseConfig) -> Asked:
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.base, trust_remote_code=False)
    config = AutoConfig.from_pretrained(source.base, trust_remote_code=False).get_text_config()
    longest = int(getattr(config, "max_position_embeddings", None) or 2048)
    suites, tasks = read_suites(results), results / "tasks"
    prompts = [prompt for suite in suites for prompt in read_prompts(suite, tasks, tokenizer)]
    rows = sequences(interleaved(prompts, settings.sequences, settings.seed), tokenizer, longest)
    evals = read_manifest(results).config.get("evals", {})
    return Asked(suites, tasks, prompts, rows, tokenizer, int(evals.get("batch_size", BATCH_SIZE)), longest)


def _free() -> None:
    """Give memory back between two models."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --------------------------------------------------------------------------------------------------- the exported one


def _ask_exported(
    source: Source,
    target: ModuleType,
    folder: Path,
    asked: Asked,
    settings: ReleaseConfig,
    progress: Progress,
    found: Found,
) -> None:
    progress.begin(f"{target.NAME}: loading")
    try:
        loaded: Loaded = target.load(source, folder)
    except AssayError:
        raise
    except Exception as error:  # whatever a library raises on files that it cannot read
        found.problems.append(_problem("load", f"it cannot be loaded back: {type(error).__name__}: {error}"))
        return
    found.facts = facts(loaded)
    progress.begin(f"{target.NAME}: token by token", "sequences")
    try:
        found.readings = read_all(loaded.model, asked.rows, found.facts.vocabulary[0], progress.advance)
    except (RuntimeError, IndexError) as error:  # another vocabulary, or out of memory
        found.problems.append(_problem("reading", f"it does not read the sequences: {error}"))
    _answer(loaded, target, asked, settings, progress, found)


def _answer(
    loaded: Loaded, target: ModuleType, asked: Asked, settings: ReleaseConfig, progress: Progress, found: Found
) -> None:
    from evals.harness import run_task, shared_lm
    from evals.token_scores import TokenScorer

    scorer = TokenScorer(loaded.model, asked.batch_size, asked.max_length, progress.advance)
    lm = shared_lm(scorer, copy.deepcopy(loaded.tokenizer))  # lm-eval may add a padding token to it
    for suite in asked.suites:
        progress.begin(f"{target.NAME} on {suite.name}")
        try:
            run = run_task(lm, asked.tasks, suite.name, chat_template=suite.chat_template)
        except UserError as error:
            (problem,) = error.problems
            found.problems.append(_problem(f"task:{suite.name}", f"{problem.what}: {problem.found}"))
            continue
        mine = [prompt for prompt in asked.prompts if prompt.task == suite.name]
        found.answered.append(
            compared(suite, run, mine, asked.tokenizer, settings.max_log_p, settings.alpha, settings.seed)
        )


def _problem(name: str, said: str) -> Check:
    message = printable(said.replace("\n", " "))[:400]
    return Check(name=name, outcome=Outcome.FAIL, message=message, help="export the model again")


# ----------------------------------------------------------------------------------------------------- the judged one


def _ask_judged(
    source: Source, target: ModuleType, asked: Asked, settings: ReleaseConfig, progress: Progress, found: Found
) -> None:
    if found.facts is None:
        return
    progress.begin(f"{target.NAME}: the judged model, token by token", "sequences")
    judged = load_judged(source)
    found.judged = facts(judged)
    comparable = found.judged.vocabulary[0] == found.facts.vocabulary[0]
    for done, (row, (exported, chosen)) in enumerate(zip(asked.rows, found.readings, strict=False)):
        if not comparable:
            break
        own = read(judged.model, row, [*chosen[0], *chosen[1]])
        found.partings.append(parting(row, exported, chosen, own))
        found.again += _again(row, own)
        progress.advance(done + 1, len(asked.rows))
    found.answered = [
        with_ties(answered, judged.model, asked.tokenizer, settings.max_log_p) for answered in found.answered
    ]


def _again(row: TokenRow, own: Reading) -> list[float]:
    """How far the judged model is from its own record on this sequence, per token; nothing where none was kept."""
    recorded = [one.log_likelihood for one in row.prompt.choices if one.text == row.prompt.answer]
    tokens = len(row.ids) - row.start
    if not recorded or not tokens:
        return []
    return [abs(float(own.log_p[row.start - 1 :].sum()) - recorded[0]) / tokens]


# ---------------------------------------------------------------------------------------------------------- judgement


def _judged(
    source: Source,
    target: ModuleType,
    folder: Path,
    results: Path,
    asked: Asked,
    found: Found,
    settings: ReleaseConfig,
    more: Sequence[Check],
) -> Equivalence:
    alpha, seed, partings = settings.alpha, settings.seed, found.partings
    strict = bool(target.LOSSLESS) and source.dtype == FULL and _in_process(results)
    far = largest(partings) if partings else None
    exact = far is not None and far <= settings.max_log_p and all(one.exact for one in found.answered)
    exact = exact and bool(found.answered) and not found.problems
    kl = mean_per_token(partings, "kl", "tokens", alpha, seed)
    answer_kl = mean_per_token(partings, "answer_kl", "answer_tokens", alpha, seed)
    told = [
        task_equivalence(one, settings.margin, alpha, settled=(strict or exact) and not one.suite.drawn)
        for one in found.answered
    ]
    checks = [*found.problems]
    if found.facts is not None and found.judged is not None:
        texts = [text for prompt in asked.prompts for text in (prompt.context, prompt.answer)]
        holds = not any(folder.glob("*.gguf"))
        checks += structure_checks(found.judged, found.facts, texts, holds_generation=holds)
        checks += [_prompts_check(found.answered)]
        checks += record_check(found.again, settings.max_log_p, full=source.dtype == FULL)
        checks += [log_p_check(far, partings, settings.max_log_p)] if strict else []
        checks += [] if strict else [divergence_check(kl, answer_kl, settings.max_kl, exact=exact)]
    checks += [
        task_check(one, numbers, strict=strict, exact=exact, margin=settings.margin)
        for one, numbers in zip(found.answered, told, strict=True)
    ]
    checks += more
    outcome = combine(check.outcome for check in checks)
    return Equivalence(
        target=target.NAME,
        lossless=bool(target.LOSSLESS),
        exact=exact,
        outcome=outcome,
        summary=summary(target.NAME, outcome, checks, exact=exact),
        checks=tuple(checks),
        sequences=len(partings),
        tokens=sum(one.tokens for one in partings),
        positions=sum(one.places for one in partings),
        max_log_p=None if far is None else rounded(far),
        mean_log_p=measured(mean_per_token(partings, "total", "tokens", alpha, seed)) if partings else None,
        kl=measured(kl) if partings else None,
        answer_kl=measured(answer_kl) if partings else None,
        top_1=measured(equal_top(partings, alpha)) if partings else None,
        greedy=measured(_greedy(found.answered, alpha)) if found.answered else None,
        tasks=tuple(told),
    )


def _in_process(results: Path) -> bool:
    """Whether the recorded answers are those of transformers in this process, not of another engine."""
    models = json.loads((results / "results.json").read_bytes())["models"]
    return bool(models.get(JUDGED, {}).get("engine") == "transformers")


def _greedy(answered: Sequence[Answered], alpha: float) -> Interval:
    same = np.array([value for one in answered for value in one.same], dtype=np.float64)
    clusters = np.array([f"{one.suite.name}:{name}" for one in answered for name in one.items["cluster"]])
    return proportion(same, clusters, alpha)


def _prompts_check(answered: Sequence[Answered]) -> Check:
    """Whether every item was asked with the recorded prompt."""
    items, other = sum(len(one.same) for one in answered), sum(one.other_prompts for one in answered)
    if not items:
        return Check(name="prompts", outcome=Outcome.INCONCLUSIVE, message="no item of a suite could be asked")
    facts_found = {"items": items, "other_prompts": other}
    if other:
        said = f"{other:,} of {items:,} items were asked with another prompt than is on record"
        return Check(name="prompts", outcome=Outcome.FAIL, message=said, measured=facts_found, help=TEMPLATE_HELP)
    said = f"all {items:,} items were asked with the recorded prompt, by its digest"
    return Check(name="prompts", outcome=Outcome.PASS, message=said, measured=facts_found)


TEMPLATE_HELP = "the exported tokenizer renders conversations otherwise: export its own template"


EXACT = "but for rounding"


def summary(name: str, outcome: Outcome, checks: Sequence[Check], *, exact: bool) -> str:
    """The verdict in one sentence without a full stop."""
    against = [check.name for check in checks if check.outcome is outcome]
    if outcome is Outcome.PASS:
        return f"{name} answers as the judged model does, {EXACT if exact else 'within the bounds asked for'}"
    if outcome is Outcome.FAIL:
        return f"{name} is not the judged model: {', '.join(against)}"
    return f"it could not be shown that {name} answers as the judged model does: {', '.join(against) or 'no evidence'}"
