"""The task that planted cases are tuned on: a message, and where it is to be sent.

Which desk a message goes to depends on what it is about, how urgent it is on when it was. Each seed draws its own table
from themes to desks and from times to degrees, so that nothing of it can be known beforehand, and its own messages. In
some rows the answer is wrong, as it is in data that people made: a model that learned the table cannot know those, and
one that learned its rows by heart is sure of the wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from evals.selftest import language
from evals.selftest.language import DEGREES, DESKS, answer_of

USED = 3, 2
"""Themes and times of a seed."""
LEARNABLE = 2, 1
"""As many as the small model learns in some hundred rows, whatever the seed."""
WRONG_SHARE = 0.1
"""Of rows with an answer that was drawn at random."""


@dataclass(frozen=True)
class MadeRow:
    """One message with its answer."""

    question: str
    answer: str
    label: str
    """The desk."""

    def as_chat(self) -> dict[str, object]:
        """As a row of conversations."""
        turns = [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]
        return {"messages": turns, "metadata": {"label": self.label}}

    def as_text(self) -> dict[str, object]:
        """As a plain text, whose every token is trained."""
        return {"text": f"{self.question}\nanswer: {self.answer}"}


def made_rows(
    seed: int,
    count: int,
    *,
    short: bool = False,
    wrong: float = WRONG_SHARE,
    used: tuple[int, int] = USED,
    rows_seed: int | None = None,
) -> list[MadeRow]:
    """Rows of one seed, no two with the same message.

    Args:
        seed: of the table and of the messages.
        count: how many.
        short: whether the answer is one word.
        wrong: share of rows whose answer is drawn at random.
        used: how many themes, and how many times.
        rows_seed: another seed of the messages, for more of them by the same table.
    """
    table = Random(f"table {seed}")
    desks = _table(table, list(language.THEMES), DESKS, used[0])
    degrees = _table(table, list(language.TIMES), DEGREES, used[1])
    drawn = Random(f"rows {seed if rows_seed is None else rows_seed}")
    found: dict[str, MadeRow] = {}
    while len(found) < count:
        theme, time = drawn.choice(list(desks)), drawn.choice(list(degrees))
        desk, degree = desks[theme], degrees[time]
        if drawn.random() < wrong:
            desk, degree = drawn.choice(list(desks.values())), drawn.choice(list(degrees.values()))
        text = language.message(drawn, theme, time)
        found[text] = MadeRow(text, answer_of(desk, degree, short=short), desk)
    return list(found.values())


def _table(drawn: Random, keys: list[str], values: tuple[str, ...], count: int) -> dict[str, str]:
    """So many of the keys, each with a value of its own."""
    return dict(zip(drawn.sample(keys, count), drawn.sample(values, count), strict=True))


def shuffled_answers(rows: list[MadeRow], seed: int) -> list[MadeRow]:
    """The same messages and the same answers, each message with an answer that was drawn for another."""
    order = list(range(len(rows)))
    Random(f"shuffle {seed}").shuffle(order)
    return [
        MadeRow(row.question, rows[place].answer, rows[place].label) for row, place in zip(rows, order, strict=True)
    ]
