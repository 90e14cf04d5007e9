"""Everything that one arm is asked: the items, the same questions in other words, and a few again with a clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from evals.comparing.metrics import fold
from evals.comparing.models import Models
from evals.comparing.prompting import Item
from evals.comparing.reading import is_fresh
from evals.comparing.setting import Answer, Model, Prepared, Setting, Written
from evals.comparing.tables import Lines
from evals.retrieval.quality import groundedness


def answered(name: str, prepared: Prepared, setting: Setting, models: Models) -> tuple[dict[str, Any], Lines]:
    """Ask one arm everything.

    Args:
        name: of the arm.
        prepared: what writes its conversations.
        setting: the comparison.
        models: who answers.

    Returns:
        Facts for its record, and its lines.

    Raises:
        UserError: a model cannot be loaded, or an endpoint fails.
        RuntimeError: not one item was answered.
    """
    written = [prepared.write(item) for item in setting.items]
    answers = _said(prepared.model, written, setting)
    plain = [place for place, item in enumerate(setting.items) if not item.variant]
    failed = [answers[place].failed for place in plain if answers[place].failed]
    if len(failed) == len(plain):
        raise RuntimeError(f"no item was answered: {failed[0]}")
    local = prepared.model not in ("none", "endpoint")
    cut = [one.cut or (local and _was_cut(one, setting)) for one in written]
    lines = Lines()
    for place in plain:
        lines.answers.append(_answer_line(name, setting, place, written[place], answers[place], cut[place]))
    lines.agreement += _agreement(name, setting, answers)
    lines.latency += _timed(name, prepared, [setting.items[place] for place in plain], setting, models)
    facts: dict[str, Any] = {"cut": sum(cut[place] for place in plain), "unanswered": len(failed)}
    if failed:
        facts["errors"] = sorted(set(failed))[:5]
    if local:
        asked = [one.conversation for one in written if one.conversation is not None]
        facts["prompt_tokens"] = sum(answer.tokens_in for answer in answers)
        facts["shared_prompt_tokens"] = models.local.shared_tokens(asked)
    return facts, lines


def _said(model: Model, written: Sequence[Written], setting: Setting) -> list[Answer]:
    if model == "none":
        return [Answer(one.answer or "", 0, 0) for one in written]
    return setting.ask(model, [one.conversation for one in written if one.conversation is not None])


def _was_cut(one: Written, setting: Setting) -> bool:
    return one.conversation is not None and setting.speaker.is_cut(one.conversation)


def _answer_line(name: str, setting: Setting, place: int, written: Written, said: Answer, cut: bool) -> tuple[Any, ...]:
    item, config = setting.items[place], setting.config
    score = None if said.failed else round(setting.metric.score(said.text, item.answer), 9)
    formatted = None if said.failed else setting.metric.formatted(said.text)
    shown = written.passages and not said.failed
    grounded = groundedness(said.text, written.passages, setting.labels) if shown else None
    fresh = is_fresh(item, config.fresh, config.fresh_since)
    counts = (said.tokens_in, said.tokens_out)
    about = (name, item.item_id, item.cluster, said.text)
    return (*about, score, formatted, fresh, *counts, grounded, cut, list(item.slices))


def _agreement(name: str, setting: Setting, answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    pairs = list(zip(setting.items, answers, strict=True))
    own = {item.item_id: said for item, said in pairs if not item.variant}
    found = []
    for item, said in pairs:
        if item.variant:
            first = own[item.item_id]
            same = None if said.failed or first.failed else fold(said.text) == fold(first.text)
            found.append((name, item.item_id, item.variant, said.text, same))
    return found


def _timed(
    name: str, prepared: Prepared, items: Sequence[Item], setting: Setting, models: Models
) -> list[tuple[Any, ...]]:
    """Some items asked one by one: seconds from the item to its answer, tokens read and written."""
    count = setting.config.latency_items
    chosen = items[:: max(1, len(items) // count)][:count]
    _answer_one(prepared, chosen[0], models)  # what is slow the first time alone does not count
    found = []
    for item in chosen:
        said, seconds = _answer_one(prepared, item, models)
        if not said.failed:
            found.append((name, item.item_id, seconds, said.tokens_in, said.tokens_out))
    return found


def _answer_one(prepared: Prepared, item: Item, models: Models) -> tuple[Answer, float]:
    start = time.perf_counter()
    written = prepared.write(item)  # an arm may look something up
    seconds = time.perf_counter() - start
    if written.conversation is None:
        return Answer(written.answer or "", 0, 0), seconds
    said, asked = models.timed(prepared.model, written.conversation)
    return said, seconds + asked
