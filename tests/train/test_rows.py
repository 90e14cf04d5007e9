"""Which rows are trained, and the refusals that name them."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UserError
from tests.toy_project import toy_rows
from train.rows import SplitRow, choose_rows, read_split


def row(row_id: str, label: str | None = None, answer: str = "a") -> SplitRow:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
    return SplitRow(row_id, label, 0, "rows.jsonl", 7, {"messages": messages})


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


def test_a_split_that_is_missing_is_refused(toy):
    with pytest.raises(UserError, match="has no other split"):
        read_split(toy.dataset(train=toy_rows(1)).folder, "other")


@pytest.mark.parametrize(
    ("record", "roles"),
    [
        ({"text": "t"}, ["assistant"]),
        ({"prompt": [{"role": "user"}], "chosen": [{"role": "assistant"}]}, ["user", "assistant"]),
        ({"prompt": [{"role": "user"}], "completion": [{"role": "assistant"}]}, ["user", "assistant"]),
        ({"prompt": [{"role": "user"}], "reference": "r"}, ["user", "assistant"]),
        ({"prompt": [{"role": "user"}], "reference": 3}, ["user"]),
    ],
)
def test_every_kind_of_row_can_be_read_as_a_conversation(record, roles):
    assert [turn["role"] for turn in SplitRow("a", None, 0, "f", 1, record).messages] == roles
