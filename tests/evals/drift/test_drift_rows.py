"""New rows are read and treated as the dataset's own, none is lost, and unequal sizes make no difference."""

import json

import numpy as np
import pytest

from evals.drift.dataset import dataset_behind, read_known
from evals.drift.new_rows import NothingNew, read_new
from evals.drift.pool import labels_of, pooled
from evals.drift.vectors import vectors_of
from schemas.drift_config import DriftConfig
from schemas.errors import UserError
from tests.evals.drift.made_drift import made_dataset, notes, write_rows


def chat(text, answer="garden", **more):
    turns = [{"role": "user", "content": text}]
    return {"messages": [*turns, {"role": "assistant", "content": answer}] if answer else turns, **more}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A dataset of 150 notes, two copies of one of them, a private one and one without an answer."""
    root = tmp_path_factory.mktemp("known")
    rows = notes(150, 1)
    private = chat("Water the roses, says ada@lovelace.net, and prune the hedge before noon on Sunday")
    dataset = made_dataset(root, [*rows, rows[0], rows[0], private, chat("unanswered", None)])
    return read_known(dataset.path, root)


def read(tmp_path, known, *rows):
    return read_new([write_rows(tmp_path / "new.jsonl", list(rows))], known)


def test_rows_that_were_dropped_as_copies_are_put_back(known):
    assert known.dataset.manifest.counts["rows_dropped"] == 3
    assert known.rows.height == 153
    back = known.rows.filter(known.rows["split"].is_null())
    assert back["place"].to_list() == ["rows.jsonl:151", "rows.jsonl:152"]


def test_the_steps_that_compare_rows_are_not_run_on_new_ones(known):
    names = {rule.name for rule in known.rules}
    assert {"broken-line", "mail-address"} <= names
    assert not names & {"exact-duplicate", "near-duplicate", "conflict", "eval-item"}


def test_new_rows_are_redacted_as_the_dataset_was(tmp_path, known):
    private = chat("Water the roses, says bob@lovelace.net, and prune the hedge before noon on Sunday")
    new = read(tmp_path, known, private)
    assert new.changed == 1
    assert "bob@" not in new.rows["record"][0]
    told = [record for record in known.rows["record"] if "Water the roses" in record]
    texts = [json.loads(record)["messages"][0]["content"] for record in (told[0], new.rows["record"][0])]
    assert texts[0].split("<mail-")[0] == texts[1].split("<mail-")[0] == "Water the roses, says "


def test_every_row_is_accounted_for(tmp_path, known):
    rows = notes(20, 2)
    path = write_rows(tmp_path / "new.jsonl", [*rows, rows[3], *notes(4, 1), chat("no answer", None)])
    with path.open("ab") as out:
        out.write(b'{"messages": \xff\n[1]\n')
    new = read_new([path], known)
    account = pooled(known, new, DriftConfig(max_rows=100), None).account
    assert (account.read, account.unreadable, account.dropped) == (28, 2, 1)
    assert account.dropped_by == {"no-assistant-turn": 1}
    assert account.unreadable_at == (f"{path}:27", f"{path}:28")
    assert account.like_known == 4
    rest = account.copies + account.known + account.not_drawn + account.compared
    assert rest == 25
    assert account.known <= 4


def test_more_rows_than_are_drawn_are_counted(tmp_path, known):
    pool = pooled(known, read(tmp_path, known, *notes(130, 3)), DriftConfig(max_rows=100), None)
    assert (pool.account.not_drawn, pool.account.compared) == (30, 100)
    assert int((~pool.sample.new).sum()) == 100
    assert len(pool.sample.texts) == pool.rows.height == 200


def test_rows_without_answers_are_compared_by_their_prompts(tmp_path, known):
    new = read(tmp_path, known, *[chat(row["messages"][0]["content"], None) for row in notes(15, 4)])
    assert not new.answered
    pool = pooled(known, new, DriftConfig(), None)
    assert all(said is None for said, is_new in zip(pool.sample.answers, pool.sample.new, strict=True) if is_new)
    assert not any(text.endswith("garden") for text in pool.sample.texts)


def test_labels_are_answers_of_few_kinds():
    assert labels_of(["a", "b"] * 10) == {"a", "b"}
    assert labels_of(["a", "b", "c"]) == frozenset()
    assert labels_of([f"a text of its own, number {at}" for at in range(200)]) == frozenset()


def test_texts_hold_free_answers_but_no_labels(tmp_path, known):
    pool = pooled(known, read(tmp_path, known, *notes(15, 5)), DriftConfig(), None)
    assert not pool.with_answers
    dataset = made_dataset(tmp_path / "free", [chat(f"Why {at}?", f"Because of reason {at * at}.") for at in range(60)])
    free = read_known(dataset.path, tmp_path / "free")
    pool = pooled(
        free, read(tmp_path, free, *[chat(f"How {at}?", f"By means {at}.") for at in range(12)]), DriftConfig(), None
    )
    assert pool.with_answers
    assert pool.sample.labels == frozenset()
    assert any("By means 3." in text for text in pool.sample.texts)


@pytest.mark.parametrize("rows", [[], [{"a": 1}]])
def test_nothing_to_compare_is_inconclusive(tmp_path, known, rows):
    with pytest.raises(NothingNew) as raised:
        read(tmp_path, known, *rows)
    assert raised.value.exit_code == 4


def test_groups_count_once(tmp_path):
    rows = [
        chat(row["messages"][0]["content"], metadata={"who": f"w{at % 30}"}) for at, row in enumerate(notes(120, 6))
    ]
    root = tmp_path / "grouped"
    dataset = made_dataset(root, rows)
    known = read_known(dataset.path, root)
    known.reading["group_by"] = "who"
    late = [chat(row["messages"][0]["content"], metadata={"who": f"w{at % 40}"}) for at, row in enumerate(notes(40, 7))]
    pool = pooled(known, read(tmp_path, known, *late), DriftConfig(), None)
    assert len(pool.sample.texts) == 40
    assert pool.account.like_known == 30


def test_the_dataset_is_found_behind_any_result(known, tmp_path):
    assert dataset_behind(known.dataset.folder).path == known.dataset.folder / "manifest.json"


def test_an_embedding_model_gives_each_text_its_own_vector(tiny_model_folder, tmp_path):
    texts = [f"row {at}" * (1 + at % 3) for at in range(12)]
    together = vectors_of(texts, tiny_model_folder, 0)
    assert together.shape[0] == 12
    for at in (1, 2, 10):
        assert np.allclose(together[at], vectors_of([texts[at]], tiny_model_folder, 0)[0], atol=1e-4)
    assert not np.allclose(together[1], together[10], atol=1e-2)
    with pytest.raises(UserError) as raised:
        vectors_of(texts, tmp_path, 0)
    assert raised.value.problems[0].where == f"drift.embedding: {tmp_path}"
