"""What each training method makes of a row: sequences of tokens, and which of them carry loss.

The tokens are those of `curate/supervision.py`. Nothing here needs torch, so that a preview and the ledger come before
any weights.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curate.supervision import Supervised, SupervisionError, Supervisor
from schemas.errors import Problem, UserError
from schemas.train_config import TrainConfig
from train.rows import SplitRow

SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """What a trainer receives for one row; a long text gives several."""

    row: int
    """Index of the row."""
    sequences: tuple[Supervised, ...]
    """sft, text, full, kto: the row. dpo, reward: with the better and with the worse answer. grpo: the prompt alone."""
    label: bool | None = None
    """kto: whether the answer is a good one."""
    prompt: str = ""
    """grpo: the rendered prompt."""

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(len(sequence.input_ids) for sequence in self.sequences)

    @property
    def supervised_tokens(self) -> int:
        """Tokens that carry loss, in all sequences."""
        return sum(sequence.supervised_tokens for sequence in self.sequences)

    @property
    def truncated_tokens(self) -> int:
        """Tokens that were cut from the prompt, in all sequences."""
        return sum(sequence.truncated_tokens for sequence in self.sequences)


@dataclass(frozen=True)
class TokenLedger:
    """What the trainer will receive, counted before it does."""

    rows: int
    examples: int
    """What the trainer takes as rows: as many as rows, or more where long texts are cut into pieces."""
    tokens: int
    supervised_tokens: int
    truncated_tokens: int
    truncated_rows: int
    rows_with_end_of_turn: int
    """Rows whose supervised turns all end in a supervised end-of-turn token."""

    @classmethod
    def of(cls, examples: Iterable[Example]) -> TokenLedger:
        """Count."""
        by_row: dict[int, list[Example]] = defaultdict(list)
        for example in examples:
            by_row[example.row].append(example)
        groups = list(by_row.values())
        return cls(
            rows=len(groups),
            examples=sum(len(group) for group in groups),
            tokens=sum(example.tokens for group in groups for example in group),
            supervised_tokens=sum(example.supervised_tokens for group in groups for example in group),
            truncated_tokens=sum(example.truncated_tokens for group in groups for example in group),
            truncated_rows=sum(any(example.truncated_tokens for example in group) for group in groups),
            rows_with_end_of_turn=sum(
                all(sequence.end_of_turn_supervised for sequence in group[-1].sequences) for group in groups
            ),
        )


Encoded = list[Supervised] | SupervisionError
"""The sequences of one row, or why it cannot be trained."""


def encode_rows(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
    """The sequences of every row under a method.

    Args:
        supervisor: of the base model; its limit is `train.max_length`.
        rows: of one split.
        config: its method decides which fields a row must have.

    Returns:
        For each row: sft, full, kto one sequence; text one or more; dpo, reward the better and the worse; grpo the
        prompt, without any supervised token.

    Raises:
        UserError: a row is not of a kind that the method trains.
    """
    fields, encode = METHODS[config.method]
    for row in rows:
        missing = [name for name in fields if name not in row.record]
        if missing:
            raise _wrong_kind(row, config.method, fields)
    return encode(supervisor, rows, config)


def supervise(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig, of: str) -> list[Example]:
    """The examples of every row; `of` says in messages whose rows they are.

    Raises:
        UserError: a row cannot be trained; the message names the first few rows and counts each reason.
    """
    encoded = encode_rows(supervisor, rows, config)
    refused = [(row, error) for row, error in zip(rows, encoded, strict=True) if isinstance(error, SupervisionError)]
    if refused:
        raise _refusal(refused, len(rows), of)
    return examples_of(supervisor, rows, encoded, config)


def examples_of(
    supervisor: Supervisor, rows: Sequence[SplitRow], encoded: Sequence[Encoded], config: TrainConfig
) -> list[Example]:
    """The examples of the rows that can be trained; `row` counts all rows."""
    made: list[Example] = []
    for k, (row, sequences) in enumerate(zip(rows, encoded, strict=True)):
        if isinstance(sequences, SupervisionError):
            continue
        if config.method == "text":
            made += [Example(k, (piece,)) for piece in sequences]
        else:
            prompt = supervisor.prompt(row.record["prompt"], row.tools) if config.method == "grpo" else ""
            made.append(Example(k, tuple(sequences), row.record.get("label"), prompt))
    return made


def _conversations(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
    results = supervisor.encode_rows([row.messages for row in rows], [row.tools for row in rows])
    return [result if isinstance(result, SupervisionError) else [result] for result in results]


def _texts(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
    return [_attempt(supervisor.encode_text, row.record["text"]) for row in rows]


def _answers(name: str) -> Callable[[Supervisor, Sequence[SplitRow], TrainConfig], list[Encoded]]:
    """Prompt and the answer in the field `name`; what the assistant said in the prompt carries no loss."""

    def encode(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
        results = supervisor.encode_rows([row.answered(name) for row in rows], [row.tools for row in rows])
        return [result if isinstance(result, SupervisionError) else [result] for result in results]

    return encode


def _pairs(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
    """Both answers after one prompt: where one does not fit, the prompt is cut by as much in both.

    A reward model is asked about whole renderings: its rows keep what the template writes after the answer.
    """

    def encode(messages: list[dict[str, Any]], row: SplitRow, limit: int) -> Supervised:
        found = supervisor.limited(limit).encode(messages, row.tools)
        if config.method != "reward":
            return found
        ids = supervisor.tokenizer.encode(supervisor.render(messages, row.tools), add_special_tokens=False).ids
        tail = ids[len(found.input_ids) + found.truncated_tokens :]
        mask = [*found.supervised, *[False] * len(tail)]
        return dataclasses.replace(found, input_ids=[*found.input_ids, *tail], supervised=mask)

    def pair(row: SplitRow) -> list[Supervised]:
        conversations = [row.answered(name) for name in ("chosen", "rejected")]
        whole = [encode(messages, row, UNLIMITED) for messages in conversations]
        if whole[0].input_ids == whole[1].input_ids:
            raise SupervisionError(
                "equal-answers",
                "the better and the worse answer are the same",
                expected="two answers, of which one is better",
                help="repair the row, or drop it",
            )
        excess = max(len(sequence.input_ids) for sequence in whole) - supervisor.max_length
        if excess <= 0:
            return whole
        unended = [supervisor.limited(UNLIMITED).encode(messages, row.tools) for messages in conversations]
        limits = [len(sequence.input_ids) - excess for sequence in unended]
        return [encode(messages, row, limit) for limit, messages in zip(limits, conversations, strict=True)]

    return [_attempt(pair, row) for row in rows]


def _prompts(supervisor: Supervisor, rows: Sequence[SplitRow], config: TrainConfig) -> list[Encoded]:
    room = supervisor.limited(supervisor.max_length - config.max_new_tokens)
    return [_attempt(lambda row: [room.encode_prompt(row.record["prompt"], row.tools)], row) for row in rows]


def _attempt(encode: Callable[[Any], list[Supervised]], given: Any) -> Encoded:
    try:
        return encode(given)
    except SupervisionError as error:
        return error


UNLIMITED = 1 << 30
METHODS: dict[str, tuple[tuple[str, ...], Callable[[Supervisor, Sequence[SplitRow], TrainConfig], list[Encoded]]]] = {
    "sft": (("messages",), _conversations),
    "full": (("messages",), _conversations),
    "text": (("text",), _texts),
    "dpo": (("prompt", "chosen", "rejected"), _pairs),
    "reward": (("prompt", "chosen", "rejected"), _pairs),
    "kto": (("prompt", "completion", "label"), _answers("completion")),
    "grpo": (("prompt", "reference"), _prompts),
}
"""Method -> the fields that its rows have in `data/*.jsonl`, and how they become tokens."""
TRAINS = {
    "messages": "conversations (chat or prompt-completion rows): method sft or full",
    "text": "plain text: method text",
    "chosen": "preferences: method dpo or reward",
    "label": "answers marked good or bad: method kto",
    "reference": "prompts with a reference answer: method grpo",
}


def _wrong_kind(row: SplitRow, method: str, fields: Sequence[str]) -> UserError:
    fitting = next((text for name, text in TRAINS.items() if name in row.record), None)
    return UserError(
        f"the row is not one that method `{method}` trains",
        where=row.place,
        found=f"fields {', '.join(sorted(row.record))}" + (f"; these are {fitting}" if fitting else ""),
        expected=f"fields {', '.join(fields)}",
        help="change train.method, or bring rows of the kind that it needs",
    )


def _refusal(refused: Sequence[tuple[SplitRow, SupervisionError]], total: int, of: str) -> UserError:
    reasons = Counter(error.reason for _, error in refused)
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    error = UserError(
        f"{len(refused)} of {total} rows of the {of} cannot be trained",
        found=counts,
        expected="rows that teach something and fit, see the reasons",
        help="`assay audit` shows the rows; repair or drop them, and run `assay curate` again",
    )
    details = [
        Problem(problem.what, where=row.place, found=problem.found, expected=problem.expected, help=problem.help)
        for row, error in refused[:SHOWN_PROBLEMS]
        for problem in error.problems
    ]
    error.problems = (*error.problems, *details)
    return error
