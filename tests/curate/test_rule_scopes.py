"""What a rule says of a shard is what it says of it among all rows, as far as its scope promises."""

from dataclasses import replace

import pytest

from curate.audit import audit_corpus
from curate.readers import read_corpus
from curate.rows import Corpus, Shard
from curate.rules import all_rules
from curate.rules.base import Example, Rule, Scope
from tests.curate.made_rows import corpus_of, distinct_rows, lines_of, settings_for

ALONE = [rule for rule in all_rules() if rule.scope is not Scope.ALL]


def name_of(value: object) -> str:
    return value.code if isinstance(value, type) and issubclass(value, Rule) else ""


def found(rule: Rule, corpus: Corpus) -> list[str]:
    return [finding.model_dump_json() for finding in audit_corpus(corpus, [rule], workers=1).findings]


@pytest.mark.parametrize("rule", ALONE, ids=name_of)
def test_a_file_is_judged_as_it_is_beside_others(rule, tmp_path):
    for example in (*rule.fires, *rule.silent):
        paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.jsonl"]
        for path, rows in zip(
            paths, (distinct_rows(30), [*example.lines], [*example.lines, *distinct_rows(5)]), strict=True
        ):
            path.write_bytes(lines_of(rows))
        chosen = rule(**example.options)
        shards = [replace(beside(example, read_corpus([path])), shard=Shard(n, None)) for n, path in enumerate(paths)]
        apart = [line for shard in shards for line in found(chosen, shard)]
        assert found(chosen, beside(example, read_corpus(paths))) == apart


def beside(example: Example, corpus: Corpus) -> Corpus:
    of_example = corpus_of(example)
    return replace(corpus, evals=of_example.evals, token_settings=settings_for(example.template, example.max_length))
