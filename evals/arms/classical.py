"""A classifier of words that was trained on the same rows, for answers that are labels."""

from __future__ import annotations

import time

from evals.comparing.prompting import Item
from evals.comparing.setting import Prepared, Setting, Written
from evals.references import trained_classifier

TITLE = "classical"
ORDER = 10


def applies(setting: Setting) -> str:
    """Where the answers are labels."""
    return "" if setting.labels else "the answers are text, not labels"


def prepare(setting: Setting) -> Prepared:
    """Logistic regression on TF-IDF of words and word pairs."""
    start = time.perf_counter()
    texts, answers = [row.text for row in setting.trained], [row.answer.strip() for row in setting.trained]
    classify = trained_classifier(texts, answers, setting.config.seed)

    def write(item: Item) -> Written:
        return Written(answer=classify([item.text])[0])

    return Prepared("none", write, {"trained_rows": len(texts)}, time.perf_counter() - start)
