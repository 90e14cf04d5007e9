"""The conditions of the data gate. Each looks at the dataset itself, not at what its own report says of it."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from curate.configfile import Project
from curate.dataset import Dataset
from curate.findings import findings_of
from curate.keys import row_keys
from curate.power import detectable_gain, detectable_margin, items_for_gain, items_for_margin
from curate.rows import Corpus
from curate.rules.catalogue import select_rules
from curate.sensitive import masker
from curate.similar import comparable_texts
from curate.splitting import MAX_SHARE, PROOF_THRESHOLD
from curate.task_items import task_items
from curate.time_split import rows_past_cut
from schemas.config import TaskGate
from schemas.errors import UserError
from schemas.finding import Severity
from schemas.verdict import Check, Outcome

CHARS_PER_TOKEN = 4
ESTIMATE_FACTOR = 2
"""An estimate decides only where it is off the threshold by at least this factor."""
NAMED = 10


def check_rows(project: Project, dataset: Dataset) -> list[Check]:
    """At least `min_rows` rows in the training split."""
    needed = project.config.gates.data.min_rows
    rows = int((dataset.rows["split"] == "train").sum())
    outcome = Outcome.PASS if rows >= needed else Outcome.FAIL if rows else Outcome.INCONCLUSIVE
    return [
        Check(
            name="min-rows",
            outcome=outcome,
            message=f"{rows:,} rows to train on, at least {needed:,} are asked for",
            measured={"rows": rows},
            required={"min_rows": needed},
            help="" if outcome is Outcome.PASS else "add rows, or lower gates.data.min_rows if so few are meant",
        )
    ]


def check_supervised_tokens(project: Project, dataset: Dataset) -> list[Check]:
    """At least `min_supervised_tokens` tokens with loss in the training split; estimated without a tokenizer."""
    needed = project.config.gates.data.min_supervised_tokens
    rows = dataset.lines("train")
    if rows and all("reference" in row for row in rows):
        return [
            Check(
                name="min-supervised-tokens",
                outcome=Outcome.NOT_APPLICABLE,
                message="answers are drawn and rewarded while training; no token of these rows carries loss",
            )
        ]
    counted = _counted_tokens(project, rows)
    if isinstance(counted, tuple):
        tokens, untrainable = counted
        outcome = Outcome.PASS if tokens >= needed else Outcome.FAIL if rows else Outcome.INCONCLUSIVE
        message = f"{tokens:,} supervised tokens, at least {needed:,} are asked for"
        measured: dict[str, Any] = {"supervised_tokens": tokens, "estimated": False, "rows_without": untrainable}
        if untrainable:
            message += f"; {untrainable:,} rows cannot be trained as they are"
    else:
        tokens = _estimated_tokens(rows)
        sure, hopeless = tokens >= needed * ESTIMATE_FACTOR, tokens * ESTIMATE_FACTOR < needed
        outcome = Outcome.PASS if sure else Outcome.FAIL if hopeless and rows else Outcome.INCONCLUSIVE
        message = (
            f"about {tokens:,} supervised tokens, estimated from characters because {counted}; at least {needed:,} are "
            "asked for"
        )
        measured = {"supervised_tokens": tokens, "estimated": True}
    return [
        Check(
            name="min-supervised-tokens",
            outcome=outcome,
            message=message,
            measured=measured,
            required={"min_supervised_tokens": needed},
            help=""
            if outcome is Outcome.PASS
            else "add rows or longer answers, or fetch the base model for exact counts",
        )
    ]


def _counted_tokens(project: Project, rows: list[dict[str, Any]]) -> tuple[int, int] | str:
    """(supervised tokens, rows that cannot be trained) with the real tokenizer, or why it cannot count them."""
    from curate.load_supervisor import load_supervisor
    from curate.model_files import find_model_folder
    from curate.supervision import Supervised

    folder = find_model_folder(project.config.train.base_model, project.root)
    if folder is None:
        return "the base model's tokenizer is not on this machine"
    texts = [row["text"] for row in rows if "text" in row]
    conversations = [(_conversation(row), row.get("tools")) for row in rows if "text" not in row]
    try:
        supervisor = load_supervisor(folder, project.config.train.max_length, needs_template=bool(conversations))
    except UserError as error:
        return f"the base model's tokenizer cannot be used: {error}"
    encoded = supervisor.encode_rows([turns for turns, _ in conversations], [tools for _, tools in conversations])
    trained = [row for row in encoded if isinstance(row, Supervised)]
    # Each token of a text is predicted but the first, and after them the end of the text; an empty one is refused.
    lengths = supervisor.count(texts)
    tokens = sum(row.supervised_tokens for row in trained) + sum(lengths)
    return tokens, len(encoded) - len(trained) + lengths.count(0)


def _conversation(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns that are trained: all of a conversation's; of a preference or a judged answer, the (better) answer."""
    if "messages" in row:
        return list(row["messages"])
    answer = row.get("chosen") or row.get("completion") or [{"role": "assistant", "content": row.get("reference")}]
    return [{**turn, "weight": 0} if turn.get("role") == "assistant" else turn for turn in row["prompt"]] + answer


def _estimated_tokens(rows: list[dict[str, Any]]) -> int:
    """Four characters a token and one token for the end of each answer."""
    tokens = 0
    for row in rows:
        turns = row.get("messages") or row.get("chosen") or row.get("completion") or []
        answers = [turn for turn in turns if turn.get("role") == "assistant"] or [{"content": row.get("text")}]
        tokens += sum(len(turn.get("content") or "") // CHARS_PER_TOKEN + 1 for turn in answers)
    return tokens


def check_errors(project: Project, dataset: Dataset) -> list[Check]:
    """At most `max_errors` findings of error weight are left in the rows."""
    allowed = project.config.gates.data.max_errors
    rules = select_rules([], project.config.curate.rules, where=f"{project.path}: curate.rules", root=project.root)
    # Contamination and what straddles splits have checks of their own.
    rules = tuple(
        rule
        for rule in rules
        if rule.effective_severity is Severity.ERROR
        and rule.family() != "contamination"
        and rule.idle_reason(dataset.corpus) is None
    )
    mask = masker(rules)
    found = [finding for rule in rules for finding in findings_of(rule, dataset.corpus, mask)]
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    counts: dict[str, int] = {}
    for finding in errors:
        counts[finding.code] = counts.get(finding.code, 0) + 1
    outcome = Outcome.FAIL if len(errors) > allowed else Outcome.PASS
    if not dataset.rows.height:
        outcome = Outcome.INCONCLUSIVE
    listed = ", ".join(f"{code} in {count:,} rows" for code, count in sorted(counts.items()))
    return [
        Check(
            name="no-error-findings",
            outcome=outcome,
            message=f"{len(errors):,} error findings left{f': {listed}' if listed else ''}; at most {allowed:,} may be",
            measured={
                "errors": len(errors),
                "by_rule": counts,
                "rules_run": [rule.code for rule in rules],
                "first": [
                    {"code": f.code, "path": f.path, "row": f.row, "row_id": f.row_id, "message": f.message}
                    for f in errors[:NAMED]
                ],
            },
            required={"max_errors": allowed},
            help="" if outcome is Outcome.PASS else "add the step that drops or redacts them, see `assay explain CODE`",
        )
    ]


def check_dropped_share(project: Project, dataset: Dataset) -> list[Check]:
    """At most this share of the rows that came in was dropped."""
    bound = project.config.gates.data.max_dropped_share
    ledger = dataset.json("ledger.json")
    if not ledger or not ledger.get("rows_in"):
        return [
            Check(
                name="dropped-share",
                outcome=Outcome.INCONCLUSIVE,
                message="nothing says how many rows were dropped on the way to this dataset",
                required={"max_dropped_share": bound},
                help="curate the source rows with `assay curate`",
            )
        ]
    rows_in, kept = int(ledger["rows_in"]), dataset.rows.height
    share = 1.0 - kept / rows_in
    outcome = Outcome.PASS if share <= bound else Outcome.FAIL
    return [
        Check(
            name="dropped-share",
            outcome=outcome,
            message=f"{rows_in - kept:,} of {rows_in:,} rows were dropped ({share:.3f}); at most {bound:g} may be",
            measured={"rows_in": rows_in, "rows_kept": kept, "share": round(share, 6)},
            required={"max_dropped_share": bound},
            help="" if outcome is Outcome.PASS else "read dropped.parquet: is one rule too strict for this data?",
        )
    ]


def check_contamination(project: Project, dataset: Dataset) -> list[Check]:
    """No test prompt among the rows to train on, and no configured eval item anywhere."""
    if project.config.gates.data.contamination == "ignore":
        return [
            Check(
                name="contamination",
                outcome=Outcome.NOT_APPLICABLE,
                message="not asked for (gates.data.contamination: ignore)",
            )
        ]
    shared, tested = shared_prompts(dataset)
    found, sets, unscanned = _eval_hits(project, dataset.corpus)
    hits = sum(found.values())
    outside = f"{hits:,} rows hold configured eval items" if found else "no other eval items are configured"
    if unscanned:
        outside += f"; {unscanned:,} eval items could not be compared"
    if hits:
        outcome, advice = Outcome.FAIL, "curate again with the step `contamination`, which drops these rows"
    elif shared:
        outcome, advice = Outcome.FAIL, "curate again: its splits keep equal prompts together"
    elif unscanned:
        outcome, advice = Outcome.INCONCLUSIVE, "mend these items, or take them out of the eval: LEK406 names them"
    elif tested:
        outcome, advice = Outcome.PASS, ""
    else:
        outcome, advice = Outcome.INCONCLUSIVE, "add rows, or raise curate.split.test: there is no test row"
    return [
        Check(
            name="contamination",
            outcome=outcome,
            message=f"{shared:,} of {tested:,} test prompts stand in the other splits as well; {outside}",
            measured={"test_prompts": tested, "test_prompts_elsewhere": shared, "eval_rows_by_rule": found} | sets,
            required={"contamination": "none"},
            help=advice,
        )
    ]


def shared_prompts(dataset: Dataset) -> tuple[int, int]:
    """(distinct test prompts that stand in another split too, distinct test prompts); of plain text, the texts.

    Prompts of more than 5% of the rows are the task's own wording, not a question.
    """
    keys = row_keys(dataset.corpus)
    compared = "full" if keys["prompt"].is_null().all() else "prompt"
    prompts = (
        dataset.corpus.rows.select("index", "source")
        .join(keys.select("index", prompt=compared), on="index")
        .filter(pl.col("prompt").is_not_null() & (pl.len().over("prompt") <= max(1.0, MAX_SHARE * dataset.rows.height)))
    )
    test = prompts.filter(pl.col("source") == 2)["prompt"].unique()
    other = prompts.filter(pl.col("source") != 2)["prompt"].unique()
    return int(test.is_in(other.implode()).sum()), test.len()


def _eval_hits(project: Project, corpus: Corpus) -> tuple[dict[str, int], dict[str, Any], int]:
    """Rule code -> rows in which it finds an eval item; the table of eval sets; items that could not be compared.

    All empty where no eval items are configured.
    """
    from dataclasses import replace

    from curate.contamination.account import searched_sets, uncompared
    from curate.indexes import holds_rows, open_indexes
    from curate.readers import read_corpus

    files = project.eval_files()
    indexes = open_indexes([path for path in project.index_paths() if not holds_rows(path)], project.index_key_file())
    if not files and indexes.evals is None:
        return {}, {}, 0
    evals = read_corpus((), evals=files).evals if files else None
    together = indexes.beside(replace(corpus, evals=evals, memo={}))
    rules = select_rules(["eval-item"], project.config.curate.rules, root=project.root)
    found = {rule.code: len({hit.index for hit in rule.find(together)}) for rule in rules}
    table = searched_sets(together)
    return found, table, uncompared(table["eval_sets"])


def check_split_proof(project: Project, dataset: Dataset) -> list[Check]:
    """The splits share no near-duplicate pair, no component and no group: counted again, exactly."""
    from curate.split import split_proof

    wanted = project.config.gates.data.split_proof
    claimed = dataset.json("split_proof.json")
    if claimed is None:
        missing = Outcome.NOT_APPLICABLE if wanted == "optional" else Outcome.INCONCLUSIVE
        return [
            Check(
                name="split-proof",
                outcome=missing,
                message="the dataset carries no proof that its splits share nothing",
                required={"split_proof": wanted},
                help="make the splits with `assay curate`",
            )
        ]
    rows = dataset.rows
    texts = (
        dataset.corpus.rows.select("index")
        .join(comparable_texts(dataset.corpus).select("index", "text"), on="index", how="left", maintain_order="left")
        .get_column("text")
    )
    thresholds = rows["split_threshold"] if "split_threshold" in rows.columns else None
    proof = split_proof(texts, rows["split"], threshold=PROOF_THRESHOLD, thresholds=thresholds)
    pairs = int(str(proof["cross_split_pairs"]))
    components = _across(rows, "component")
    groups = _across(rows, "group") if "group" in rows.columns else 0
    late = rows_past_cut(rows["time"], rows["split"], claimed["time"]["cuts"]) if claimed.get("time") else 0
    honest = claimed.get("cross_split_pairs") == pairs
    if pairs or components or groups or late or not honest:
        outcome, advice = Outcome.FAIL, "curate again; do not move rows between splits by hand"
    elif rows["split"].n_unique() > 1:
        outcome, advice = Outcome.PASS, ""
    else:
        outcome, advice = Outcome.INCONCLUSIVE, "add rows, or change the shares of curate.split: one split holds all"
    return [
        Check(
            name="split-proof",
            outcome=outcome,
            message=(
                f"{pairs:,} pairs of similar rows, {components:,} components and {groups:,} groups lie across splits"
                + (f", {late:,} rows are later than their split may be" if claimed.get("time") else "")
                + ("" if honest else f"; the dataset's own proof claims {claimed.get('cross_split_pairs')} pairs")
            ),
            measured={
                "cross_split_pairs": pairs,
                "components": components,
                "groups": groups,
                "rows_past_cut": late,
                "method": proof["method"],
            },
            required={"split_proof": wanted, "threshold": PROOF_THRESHOLD},
            help=advice,
        )
    ]


def _across(rows: pl.DataFrame, unit: str) -> int:
    """Values of a column that occur in more than one split."""
    spread = rows.filter(pl.col(unit).is_not_null()).group_by(unit).agg(pl.col("split").n_unique())
    return int((spread["split"] > 1).sum())


def check_detectable_effects(project: Project, dataset: Dataset) -> list[Check]:
    """For each gated task: the planned items can show the effect that the gate asks for."""
    return [_detectable(project, dataset, name, task) for name, task in project.config.gates.model.tasks.items()]


def _detectable(project: Project, dataset: Dataset, name: str, task: TaskGate) -> Check:
    alpha = project.config.gates.model.alpha
    plan = task_items(project, dataset, name)
    improve = task.must == "improve"
    wanted = task.detect if improve else task.margin
    assert wanted is not None  # the config model refuses a task without it
    if improve:
        effect = detectable_gain(plan.items, alpha, threshold=task.min_gain)
        needed = items_for_gain(wanted, alpha, task.min_gain) if wanted > task.min_gain else None
    else:
        effect, needed = detectable_margin(plan.items, alpha), items_for_margin(wanted, alpha)
    advice = "raise `detect` above `min_gain`: no number of items shows more than the true gain"
    if needed is not None:
        advice = f"{needed:,} items show it: raise evals.limit, enlarge the test split, or ask for a larger effect"
    word = "gain" if improve else "margin"
    fits = effect <= wanted
    outcome = Outcome.PASS if fits and not plan.assumed else Outcome.INCONCLUSIVE
    shown = f"a {word} of {effect:.3f}" if math.isfinite(effect) else f"no {word} at all"
    message = f"{plan.items:,} items can show {shown} with power 0.8; {wanted:g} is asked for"
    if plan.assumed:
        message += " (the number of items is assumed: the task's file was not found beside the config)"
    return Check(
        name=f"{name}:detectable-effect",
        outcome=outcome,
        message=message,
        measured={
            "items": plan.items,
            "assumed": plan.assumed,
            "detectable": round(effect, 6) if math.isfinite(effect) else None,
            "items_needed": needed,
            "discordance": 0.5,
            "power": 0.8,
        },
        required={"detect" if improve else "margin": wanted, "alpha": alpha},
        help="" if outcome is Outcome.PASS else advice,
    )
