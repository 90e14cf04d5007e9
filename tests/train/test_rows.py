"""Which rows are trained, and the refusals that name them."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.load_supervisor import load_supervisor
from schemas.errors import UserError
from tests.toy_project import toy_rows
from train.rows import SplitRow, TokenLedger, choose_rows, read_split, supervise


def row(row_id: str, label: str | None = None, answer: str = "a") -> SplitRow:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
    return SplitRow(row_id, label, 0, "rows.jsonl", 7, messages, None)


LABELLED = st.lists(st.sampled_from(["ham", "spam", None]), min_size=1, max_size=60)


@given(labels=LABELLED, limit=st.integers(1, 70), seed=st.integers(0, 3))
def test_a_subset_keeps_the_shares_of_labels(labels, limit, seed):
    rows = [row(f"r{k}", label) for k, label in enumerate(labels)]
    chosen = choose_rows(rows, limit, seed)
    assert len(chosen) == min(limit, len(rows))
    assert [r.row_id for r in chosen] == [r.row_id for r in rows if r in chosen]
    share = len(chosen) / len(rows)
    before, after = Counter(labels), Counter(r.label for r in chosen)
    for label, count in before.items():
        assert abs(after[label] - count * share) < 1


@given(labels=LABELLED, limit=st.integers(1, 30), shift=st.integers(0, 59))
def test_the_choice_does_not_depend_on_the_order_of_rows(labels, limit, shift):
    rows = [row(f"r{k}", label) for k, label in enumerate(labels)]
    turned = rows[shift % len(rows) :] + rows[: shift % len(rows)]
    assert {r.row_id for r in choose_rows(rows, limit, 0)} == {r.row_id for r in choose_rows(turned, limit, 0)}


def test_another_seed_gives_another_subset_and_no_limit_gives_all():
    rows = [row(f"r{k}") for k in range(40)]
    assert choose_rows(rows, 10, 0) != choose_rows(rows, 10, 1)
    assert choose_rows(rows, 10, 0) == choose_rows(rows, 10, 0)
    assert choose_rows(rows, None, 0) == rows


def test_a_split_is_read_with_its_keys_and_messages(toy):
    rows = toy_rows(3)
    dataset = toy.dataset(train=rows)
    found = read_split(dataset.folder, "train")
    assert [r.row_id for r in found] == ["r0", "r1", "r2"]
    assert [r.label for r in found] == ["no", "yes", "yes"]
    assert found[1].messages == rows[1]["messages"]
    assert found[1].place == "rows.jsonl:2"


def test_line_separators_inside_a_message_do_not_break_a_row(toy):
    rows = toy_rows(2)
    rows[0]["messages"][0]["content"] = "one\u2028two\x85three"
    dataset = toy.dataset(train=rows)
    path = dataset.folder / "data" / "train.jsonl"
    lines = [json.dumps({"messages": r["messages"]}, ensure_ascii=False) for r in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    assert read_split(dataset.folder, "train")[0].messages[0]["content"] == "one\u2028two\x85three"


def test_files_of_a_split_that_do_not_agree_are_refused(toy):
    folder = toy.dataset().folder
    path = folder / "data" / "train.jsonl"
    path.write_text(path.read_text("utf-8").split("\n", 1)[1], "utf-8")
    with pytest.raises(UserError, match="not as `assay curate` writes it") as caught:
        read_split(folder, "train")
    assert caught.value.problems[0].found == "14 rows, and 13 as JSONL"


def test_a_split_that_is_missing_or_of_another_kind_is_refused(toy):
    folder = toy.dataset(train=toy_rows(1)).folder
    with pytest.raises(UserError, match="has no other split"):
        read_split(folder, "other")
    (folder / "data" / "train.jsonl").write_text('{"prompt": "p", "chosen": "c"}\n', "utf-8")
    with pytest.raises(UserError, match="not a conversation") as caught:
        read_split(folder, "train")
    assert caught.value.problems[0].found == "fields chosen, prompt"
    assert caught.value.problems[0].where == "rows.jsonl:1"


def test_the_ledger_counts_what_is_trained(tiny_model_folder):
    rows = [row("a", answer="yes"), row("b", answer="no")]
    supervisor = load_supervisor(tiny_model_folder, 512)
    full = TokenLedger.of(supervise(supervisor, rows, "train"))
    assert (full.rows, full.supervised_tokens, full.truncated_rows, full.rows_with_end_of_turn) == (2, 4 + 3, 0, 2)
    longest = max(len(r.input_ids) for r in supervise(supervisor, rows, "train"))
    cut = TokenLedger.of(supervise(load_supervisor(tiny_model_folder, longest - 1), rows, "train"))
    assert (cut.truncated_rows, cut.truncated_tokens, cut.tokens) == (1, 1, full.tokens - 1)


def test_rows_that_cannot_be_trained_are_counted_and_shown(tiny_model_folder):
    rows = [row(f"g{k}") for k in range(3)] + [row(f"b{k}")._replace(messages=[], line=k) for k in range(7)]
    with pytest.raises(UserError, match="7 of 10 rows of the train split cannot be trained") as caught:
        supervise(load_supervisor(tiny_model_folder, 512), rows, "train")
    summary, *details = caught.value.problems
    assert summary.found == "no-assistant-turn 7"
    assert [problem.where for problem in details] == [f"rows.jsonl:{k}" for k in range(5)]
