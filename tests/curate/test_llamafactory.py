"""What is written for LLaMA-Factory: its description of the files, and rows in the shapes that its readers know."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.llamafactory import TAGS
from curate.pipeline import publish, run_pipeline
from tests.curate.made_rows import make_project
from tests.curate.test_export_formats import rows_of


def described(tmp_path: Path, rows: list[dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    project = make_project(tmp_path, rows)
    out = tmp_path / "out"
    out.mkdir()
    publish(run_pipeline(project), project, out)
    return out / "llamafactory", orjson.loads((out / "llamafactory" / "dataset_info.json").read_bytes())


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("kind", "formatting"), [("chat", "sharegpt"), ("prompt-completion", "sharegpt"), ("tools", "openai")]
)
def test_conversations_are_read_from_the_dataset_itself(kind, formatting, tmp_path):
    folder, info = described(tmp_path, rows_of(kind))
    assert list(info) == ["train", "validation", "test"]
    assert info["train"]["formatting"] == formatting
    assert info["train"]["tags"] == TAGS
    rows = lines(folder / info["train"]["file_name"])
    assert rows
    assert all({message["role"] for message in row["messages"]} <= set(TAGS.values()) for row in rows)


def test_plain_text_is_a_prompt_without_an_answer(tmp_path):
    folder, info = described(tmp_path, rows_of("text"))
    assert info["test"] == {"file_name": "../data/test.jsonl", "columns": {"prompt": "text"}}
    assert all(row.keys() == {"text"} for row in lines(folder / info["test"]["file_name"]))


def test_of_a_preference_one_message_is_chosen_and_one_rejected(tmp_path):
    folder, info = described(tmp_path, rows_of("preference"))
    assert info["train"]["ranking"] is True
    pairs = lines(folder.parent / "data" / "train.jsonl")
    assert lines(folder / "train.jsonl") == [
        {"messages": row["prompt"], "chosen": row["chosen"][0], "rejected": row["rejected"][0]} for row in pairs
    ]
    assert pairs


def test_feedback_holds_the_judged_answer_among_its_messages(tmp_path):
    folder, info = described(tmp_path, rows_of("feedback"))
    assert info["train"]["columns"] == {"messages": "messages", "kto_tag": "label"}
    rows = lines(folder / "train.jsonl")
    assert rows
    assert all(row["messages"][-1]["role"] == "assistant" and row["label"].__class__ is bool for row in rows)


def test_what_it_has_no_place_for_is_left_out(tmp_path):
    rows = rows_of("preference")
    several = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    rows += [
        {"prompt": f"number {n}", "chosen": [*several, {"role": "assistant", "content": "c"}], "rejected": "no"}
        for n in range(30)
    ]
    folder, info = described(tmp_path / "several", rows)
    assert info == {}
    assert [path.name for path in folder.iterdir()] == ["dataset_info.json"]
    _, mixed = described(tmp_path / "mixed", rows_of("chat") + rows_of("text"))
    assert mixed == {}
