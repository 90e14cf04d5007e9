"""English prose that has nothing to do with a task: what training and evals watch a model's drift on.

It is the prose of the language reference that comes with every CPython (module `pydoc_data.topics`): it is on each
machine, under a free licence, and no training row is likely to hold it. What matters is not how well a model knows the
text but whether training changed that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSAGE_TOKENS = 96
"""Of a document; what follows is left out."""
MIN_WORDS = 40
"""A paragraph of fewer is no document."""
MARKUP = tuple(" *+|>.=-")


def python_prose() -> Iterator[tuple[str, str]]:
    """Topic and text of each document, in the order of topics."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        paragraph = next(prose(text), None)
        if paragraph is not None:
            yield name, paragraph


def prose(text: str) -> Iterator[str]:
    """The paragraphs of at least `MIN_WORDS` words that are no markup, each on one line."""
    for paragraph in re.split(r"\n\s*\n", text):
        if len(paragraph.split()) >= MIN_WORDS and not paragraph.startswith(MARKUP):
            yield " ".join(paragraph.split())
