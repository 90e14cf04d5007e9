"""What `assay release` proved of each exported model, and what it published."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Strict
from schemas.compare import Measured
from schemas.manifest import FileEntry
from schemas.verdict import Check, Outcome


class TaskEquivalence(Strict):
    """One task, answered by the exported model and compared with the recorded answers of the judged one."""

    task: str
    metric: str
    items: int
    same: int
    """Items with the recorded answer: the same text, the same choice, or the same log-likelihood within tolerance."""
    ties: int
    """Of the others, those on which the judged model itself was undecided within the tolerance."""
    judged: float
    """Mean score as recorded."""
    exported: float
    difference: Measured
    """Exported minus judged score on the same items, positive where the exported model is better."""
    agreement: Measured
    """Share of items with the recorded answer."""
    items_needed: int | None = None
    """Items that would show the difference to be within the margin with power 0.8, were it as it was measured; null
    where it is shown already, or where no number would."""


class Equivalence(Strict):
    """`equivalence.json` holds one for each target: whether an exported model answers like the one that was judged."""

    target: str
    """merged, gguf-q8_0, ..."""
    lossless: bool
    """Whether the form loses nothing, so that nothing may differ beyond rounding."""
    exact: bool
    """Whether nothing did: every log-probability within `max_log_p`, every answer the recorded one or a tie."""
    outcome: Outcome
    summary: str
    """The verdict in one plain sentence."""
    checks: tuple[Check, ...]
    """All must hold; see evals/release/equivalence.py."""
    sequences: int = 0
    """Prompts with their recorded answer that both models read."""
    tokens: int = 0
    """Tokens of these whose log-probability was compared."""
    positions: int = 0
    """Tokens of these at which the whole distributions were compared."""
    max_log_p: float | None = None
    """Largest absolute difference of a token's log-probability, in nats; null where nothing could be compared."""
    mean_log_p: Measured | None = None
    """Mean absolute difference of a token's log-probability, in nats."""
    kl: Measured | None = None
    """KL(judged || exported) in nats per token, over prompts and answers."""
    answer_kl: Measured | None = None
    """The same over the tokens of answers alone."""
    top_1: Measured | None = None
    """Share of tokens before which both models hold the same token for the likeliest."""
    greedy: Measured | None = None
    """Share of all items of all tasks with the recorded answer."""
    tasks: tuple[TaskEquivalence, ...] = ()


class Served(Strict):
    """One item, asked over HTTP."""

    task: str
    item_id: str
    recorded: str
    """The answer of the judged model, or the beginning of it that is known to be its most likely one."""
    answered: str
    same: bool


class SmokeTest(Strict):
    """Whether the released folder, served over HTTP, gives the recorded answers."""

    outcome: Outcome
    checks: tuple[Check, ...]
    """One for each target that was served."""
    answers: dict[str, tuple[Served, ...]] = Field(default_factory=dict)
    """Target -> what it said."""


class ReleasedTarget(Strict):
    """One form in which the model is released."""

    name: str
    """adapter, merged, gguf-q8_0, ..."""
    folder: str
    """Where its files are, relative to the release."""
    lossless: bool
    """Whether the form itself loses nothing."""
    files: tuple[FileEntry, ...]
    """What was exported, paths relative to the release."""
    equivalence: Equivalence


class Release(Strict):
    """`release.json`: what is released, on which evidence, and what it was proven to be."""

    schema_: Literal["assay/release/1"] = Field(default="assay/release/1", alias="schema")
    name: str
    outcome: Outcome
    """Of the proofs of equivalence and, where one was made, the smoke test."""
    summary: str
    gate: Outcome
    """What the model gate said."""
    override: str | None = None
    """Why it is released although the gate did not pass; null where it did."""
    subject: dict[str, str]
    """Role -> sha256 of what the release was made from, as the manifest names its inputs."""
    targets: tuple[ReleasedTarget, ...]
    smoke: SmokeTest | None = None
    evidence: dict[str, str]
    """Path -> sha256 of every other file of the release but the signature: cards, bill, pages, what a server needs."""
    signed_by: str | None = None
    """sha256 of the public key (DER, SubjectPublicKeyInfo) that checks model.sig; null where it is unsigned."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
