"""What was learned, what was memorised, what was forgotten, and what to do, in plain words, from the gate's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from evals.evidence import Evidence
from evals.multiplicity import benjamini_hochberg
from evals.scoring import ORIGINAL
from schemas.verdict import Check, Outcome

SHOWN_ROWS, SHOWN_TEXTS = 15, 3
NAMED_BY_CHANCE = 0.1
"""Share of the named rows that may be expected to be named by chance."""
PREFIX, CONTROL = "overfitting:", "control:"
MEMORY = ("gain-gap", "extraction", "membership", "canaries", "perturbation", "contaminated-gap", "validation-curve")
FORGOTTEN = ("heldout", "drift", "answer-form")


@dataclass(frozen=True)
class KnownRow:
    """A trained row that the tuned model knows better than rows like it that it never saw."""

    place: str
    """`file:line`, or the row's id where nobody knows."""
    before: float
    """Nats a token under the base model."""
    after: float
    excess: float
    """Nats a token by which it costs less than a held-out row with the same loss under the base model."""
    likeliest: float | None
    """Share of its tokens that the tuned model would choose itself; null where a backend does not show it."""
    recited: bool


@dataclass(frozen=True)
class Story:
    """The page's content."""

    headline: str
    outcome: Outcome
    learned: tuple[str, ...]
    memorised: tuple[str, ...]
    rows: tuple[KnownRow, ...]
    """The best known of those that are known too well."""
    known: int
    """How many are."""
    forgotten: tuple[str, ...]
    trust: tuple[str, ...]
    """What the controls found."""
    tested: str
    """How often this gate was right where the truth was known, in a line."""
    advice: tuple[str, ...]


def tell(evidence: Evidence, checks: Sequence[Check], tested: str) -> Story | None:
    """The story of an evaluation; null where no measurement of overfitting was judged.

    Args:
        evidence: what was measured.
        checks: of the gate.
        tested: how often this gate was right where the truth was known, in a line.
    """
    own = {check.name.removeprefix(PREFIX): check for check in checks if check.name.startswith(PREFIX)}
    controls = [check for check in checks if check.name.startswith(CONTROL)]
    decided = [check for check in (*own.values(), *controls) if check.outcome is not Outcome.NOT_APPLICABLE]
    if not decided:
        return None
    outcome = next(
        one
        for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
        if any(check.outcome is one for check in decided)
    )
    rows = known_rows(evidence, own)
    return Story(
        headline=_headline(outcome, own, controls),
        outcome=outcome,
        learned=tuple(_learned(own)),
        memorised=tuple(_said(own, MEMORY)),
        rows=tuple(rows[:SHOWN_ROWS]),
        known=len(rows),
        forgotten=(*_said(own, FORGOTTEN), *_texts(evidence)),
        trust=tuple(_sentence(check) for check in controls),
        tested=tested,
        advice=tuple(_advice(own, controls)),
    )


HEADLINES = {
    Outcome.PASS: "It learned the task, and no sign was found that it learned its rows by heart",
    Outcome.INCONCLUSIVE: "It cannot be said whether it learned the task or its rows",
}


def _headline(outcome: Outcome, own: Mapping[str, Check], controls: Sequence[Check]) -> str:
    failed = {name for name, check in own.items() if check.outcome is Outcome.FAIL}
    said = []
    if any(check.outcome is Outcome.FAIL for check in controls):
        said.append("held-out rows were trained, so nothing on them can be believed")
    if failed & set(MEMORY):
        said.append("it learned rows by heart")
    if failed & set(FORGOTTEN):
        said.append("it became worse at what it could do before")
    text = ", and ".join(said)
    return text[:1].upper() + text[1:] if said else HEADLINES[outcome]


def known_rows(evidence: Evidence, own: Mapping[str, Check]) -> list[KnownRow]:
    """The trained rows that are recited, or known better than new rows like them; the best known first.

    A row's p-value is the share of new rows, itself among them, that cost as little beside what is expected of them; of
    those that are named, a tenth at most is expected to be named by chance (conformal p-values with Benjamini and
    Hochberg's procedure: Bates et al. 2023, Annals of Statistics 51:149-178). Of a sound model, hence, none is named.

    Args:
        evidence: scores of tokens.
        own: checks by the measurement's name.
    """
    tokens = evidence.tokens.filter((pl.col("variant") == ORIGINAL) & (pl.col("tokens") > 0))
    known = tokens.filter(pl.col("nll").is_finite().fill_null(False)).with_columns(
        loss=pl.col("nll") / pl.col("tokens"), likeliest=pl.col("greedy").list.mean()
    )
    columns = ["split", "row_id"]
    base = known.filter(pl.col("model") == "base").select(*columns, before="loss")
    both = base.join(known.filter(pl.col("model") == "tuned").select(*columns, "likeliest", after="loss"), on=columns)
    held_out = both.filter(pl.col("split") == "test")
    slope = own["gain-gap"].measured.get("slope", 1.0) if "gain-gap" in own else 1.0
    new = held_out.select(pl.col("before", "after").mean()).row(0)
    # What a new row with the same loss under the base model costs: the gain gap's regression, for single rows.
    expected = pl.lit(new[1]) + slope * (pl.col("before") - pl.lit(new[0])) if held_out.height else pl.col("before")
    both = both.with_columns(excess=expected - pl.col("after"))
    trained = both.filter(pl.col("split") == "train")
    new_excess = np.sort(both.filter(pl.col("split") == "test")["excess"].to_numpy())
    as_high = len(new_excess) - np.searchsorted(new_excess, trained["excess"].to_numpy(), "left")
    p_values = dict(enumerate(((1 + as_high) / (1 + len(new_excess))).tolist()))
    by_chance = pl.Series(list(benjamini_hochberg(p_values).values()), dtype=pl.Float64)
    recited = pl.col("row_id").is_in(list(own["extraction"].measured.get("recited", ())) if "extraction" in own else [])
    named = trained.with_columns(recited=recited, by_chance=by_chance).filter(
        pl.col("recited") | (pl.col("by_chance") <= NAMED_BY_CHANCE)
    )
    placed = named.join(evidence.rows.select(*columns, "path", "line"), on=columns, how="left")
    ordered = placed.sort(["recited", "excess", "row_id"], descending=[True, True, False])
    return [_known(row) for row in ordered.iter_rows(named=True)]


def _known(row: Mapping[str, Any]) -> KnownRow:
    place = row["row_id"] if row["path"] is None else row["path"]
    place += "" if row["path"] is None or row["line"] is None else f":{row['line']}"
    return KnownRow(place, row["before"], row["after"], row["excess"], row["likeliest"], row["recited"])


def _learned(own: Mapping[str, Check]) -> Iterator[str]:
    gap = own.get("gain-gap")
    measured: dict[str, Any] = gap.measured if gap else {}
    losses = measured.get("loss_per_answer")
    if not losses:
        yield "How much it learned is not known: too few rows were measured, or the measurement is switched off."
        return
    base, tuned = losses["base"]["test"], losses["tuned"]["test"]
    yield (
        f"On rows that it never saw, an answer costs it {tuned:.3f} nats, and its base {base:.3f}: "
        + (f"{1 - tuned / base:.0%} of the base model's surprise is gone." if tuned < base else "nothing was gained.")
    )
    if measured.get("transfer_ratio") is not None:
        yield (
            f"Of what a token of a trained answer gained, a token of a new one gained {measured['transfer_ratio']:.2f} "
            "times as much; 1 means that all of it carries over."
        )


def _said(own: Mapping[str, Check], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name in own:
            yield _sentence(own[name])


def _sentence(check: Check) -> str:
    outcome = check.outcome.value.replace("_", " ")
    return f"{check.name.partition(':')[2].replace('-', ' ').capitalize()} ({outcome}): {check.message}."


def _texts(evidence: Evidence) -> Iterator[str]:
    """The neutral texts that became dearer most, where any did."""
    known = evidence.general.filter(pl.col("base").is_finite() & pl.col("tuned").is_finite())
    risen = known.with_columns(rise=pl.col("tuned") / pl.col("base") - 1).filter(pl.col("rise") > 0)
    worst = risen.sort(["rise", "document"], descending=[True, False]).head(SHOWN_TEXTS)
    if worst.height:
        named = ", ".join(f"{name} ({rise:+.1%})" for name, rise in worst.select("document", "rise").iter_rows())
        yield f"Of the neutral texts {risen.height} of {known.height} became dearer, most of all {named}."


def _advice(own: Mapping[str, Check], controls: Sequence[Check]) -> Iterator[str]:
    """What to do, each once; what failed comes first."""

    def failed(*names: str) -> bool:
        return any(name in own and own[name].outcome is Outcome.FAIL for name in names)

    if any(check.outcome is Outcome.FAIL for check in controls):
        yield "Take the held-out rows out of the train split, and train again: until then no score on them counts."
    if failed("gain-gap", "membership", "extraction", "canaries", "validation-curve"):
        yield "Train for fewer epochs, or publish the best step (train.keep: best, train.early_stopping)."
        yield "Lower the rank (train.lora.r) or the learning rate: fewer numbers hold fewer rows."
        yield "Bring more rows, or rows that differ more: few rows are learned by heart before the task is."
    if failed("extraction", "canaries"):
        yield "Drop near-duplicates more strictly (curate.rules.near-duplicate): what is seen often is recited first."
    if failed("drift", "answer-form", "heldout"):
        yield "Mix rows of general instructions into the training data: what is not practised is forgotten."
    unsure = [check for check in (*own.values(), *controls) if check.outcome is Outcome.INCONCLUSIVE and check.help]
    yield from dict.fromkeys(f"{check.help[0].upper()}{check.help[1:]}." for check in unsure)


def rows_line(story: Story) -> str:
    """How many rows are known too well."""
    if not story.known:
        return "No single trained row is known better than new rows like it by more than chance allows."
    shown = f", the {len(story.rows)} best known" if len(story.rows) < story.known else ""
    number = "One trained row is" if story.known == 1 else f"{story.known} of the measured trained rows are"
    return f"{number} recited, or known better than new rows alike; {NAMED_BY_CHANCE:.0%} may be by chance{shown}:"


def row_line(row: KnownRow) -> str:
    """A known row, for a terminal."""
    recited = ", recited" if row.recited else ""
    chosen = "" if row.likeliest is None else f", {row.likeliest:.0%} of its tokens are its first choice"
    return (
        f"{row.place}: {row.before:.2f} -> {row.after:.2f} nats a token, "
        f"{row.excess:.2f} below a new row like it{chosen}{recited}"
    )
