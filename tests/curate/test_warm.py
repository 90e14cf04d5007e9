"""What is compiled ahead of time is what an audit calls."""

from typing import Any

from curate.audit import audit_corpus
from curate.contamination.scoring import score_groups
from curate.dedup.kernel import sketch_rows
from curate.dedup.odd_texts import mark_odd
from curate.dedup.verify import judge_pairs
from curate.rules.catalogue import select_rules
from curate.warm import warm
from tests.curate.made_rows import chat, corpus_from, distinct_rows


def test_an_audit_compiles_nothing_that_was_not_compiled_ahead():
    warm()
    kernels: tuple[Any, ...] = (score_groups, judge_pairs, mark_odd, sketch_rows)
    before = [len(kernel.signatures) for kernel in kernels]
    assert min(before) > 0
    words = " ".join(distinct["messages"][0]["content"] for distinct in distinct_rows(20))
    audit_corpus(corpus_from(chat(words, "yes"), chat(words + " again", "yes"), *distinct_rows(30)), select_rules([]))
    assert [len(kernel.signatures) for kernel in kernels] == before
