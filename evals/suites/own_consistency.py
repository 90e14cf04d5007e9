"""Does the model give the same answer when a question of the test split is put in other words?

Each question is asked as it stands and in up to three other wordings, made by rules that leave its meaning alone. An
item's score is the share of the other wordings that get the same answer, right or wrong: a model that always says the
same agrees with itself, so this belongs beside a task that asks for the right answer. Slice: `wording`.
"""

from __future__ import annotations

import re
from typing import Any

from evals.dataset_items import sampled
from evals.makers import Given, Made
from evals.tasks import Reference

QUESTIONS, WORDINGS = 50, 4
CONTRACTED = {
    "do not": "don't", "does not": "doesn't", "is not": "isn't", "are not": "aren't", "cannot": "can't",
    "will not": "won't", "what is": "what's", "i am": "i'm", "you are": "you're", "we are": "we're",
}  # fmt: skip
"""These change places in either direction."""
REWORDED = {
    **CONTRACTED, **{short: long for long, short in CONTRACTED.items()}, "in order to": "to", "such as": "like",
    "for example": "for instance", "begin": "start", "quickly": "fast", "large": "big", "assist": "help",
    "purchase": "buy", "obtain": "get", "perhaps": "maybe", "regarding": "about", "however": "but",
}  # fmt: skip
PHRASE = re.compile(
    rf"(?<!\w)({'|'.join(sorted(map(re.escape, REWORDED), key=len, reverse=True))})(?!\w)", re.IGNORECASE
)
TASK: dict[str, Any] = {
    "doc_to_text": "prompt",
    "doc_to_target": "answer",
    "target_delimiter": "",
    "process_results": Reference("_agreement.answer"),
    "metric_list": [
        {"metric": "agreement", "aggregation": Reference("_agreement.agreement"), "higher_is_better": True}
    ],
    "metadata": {"version": 1, "chat_template": "rendered"},
}
LABELS: dict[str, Any] = {"output_type": "multiple_choice", "doc_to_choice": "choices"}
TEXTS: dict[str, Any] = {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["<|im_end|>", "\n"], "do_sample": False, "max_gen_toks": 32},
}


def make(given: Given) -> Made:
    """All wordings of a sample of questions, as many as the limit allows items."""
    count = QUESTIONS if given.limit is None else max(1, given.limit // WORDINGS)
    rows = [asked for asked in given.rows("test") if len(asked.row.messages) > 1 and _asks(asked.row.messages[-2])]
    labels = given.labels()
    made = Made(config=LABELS if labels else TEXTS)
    for asked in sampled(rows, count, given.seed):
        *before, question, _ = asked.row.messages
        for wording, text in wordings(question["content"]).items():
            prompt = given.prompt([*before, {**question, "content": text}], asked.row.tools)
            document = {"prompt": prompt, "answer": asked.answer, "group": asked.row.row_id, "wording": wording}
            made.documents.append(document | ({"choices": labels} if labels else {}))
            made.ids.append(f"{asked.row.row_id}-{wording}")
            made.clusters.append(asked.row.component)
    return made


def _asks(turn: dict[str, Any]) -> bool:
    return turn.get("role") == "user" and isinstance(turn.get("content"), str) and bool(turn["content"].strip())


def wordings(text: str) -> dict[str, str]:
    """Name of each wording -> the text in it; a rule that changes nothing gives none.

    Args:
        text: a question; it is itself the wording `plain`.
    """
    found = {
        "plain": text,
        "asked": f"Please read this carefully.\n\n{text}",
        "thanked": f"{text}\n\nThank you in advance.",
    }
    reworded = PHRASE.sub(_exchanged, text)
    return found | ({"reworded": reworded} if reworded != text else {})


def _exchanged(match: re.Match[str]) -> str:
    said = match[0]
    other = REWORDED[said.lower()]
    return other.capitalize() if said[0].isupper() else other
