"""Metrics of what a model finds likely; lm-eval imports this file from beside a task."""

import math
from typing import Any


def bits_per_byte(document: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """The bits that the model needs for each byte of the item's text, in UTF-8.

    Args:
        document: with the text as `text` or, for an answer, as `answer`.
        results: one log-likelihood in nats, alone or with whether the text is the model's own.
    """
    found = results[0]
    nats = found[0] if isinstance(found, tuple | list) else found
    text = document.get("text") or document["answer"]
    return {"bits_per_byte": -nats / len(text.encode("utf-8")) / math.log(2)}
