"""The JSONL exports are what trainers take: OpenAI's published rules, TRL's dataset types, `datasets.load_dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.pipeline import publish, run_pipeline
from tests.curate.made_rows import chat, distinct_rows, make_project

ROLES = {"system", "developer", "user", "assistant", "tool"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def said(row: dict[str, Any]) -> tuple[str, str]:
    return row["messages"][0]["content"], row["messages"][1]["content"]


def rows_of(kind: str) -> list[dict[str, Any]]:
    pairs = [said(row) for row in distinct_rows(30)]
    match kind:
        case "chat":
            return [chat(question, answer, source="x") for question, answer in pairs]
        case "tools":
            return [
                {
                    "messages": [
                        {"role": "user", "content": question},
                        {"role": "assistant", "content": None, "tool_calls": [CALL]},
                        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                        {"role": "assistant", "content": answer},
                    ],
                    "tools": [WEATHER],
                }
                for question, answer in pairs
            ]
        case "prompt-completion":
            return [{"instruction": question, "input": "", "output": answer} for question, answer in pairs]
        case "preference":
            return [{"prompt": q, "chosen": a, "rejected": f"not {a}"} for q, a in pairs]
        case "feedback":
            return [{"prompt": q, "completion": a, "label": a == "yes"} for q, a in pairs]
        case _:
            return [{"text": f"{question} {answer}"} for question, answer in pairs]


def exported(tmp_path: Path, kind: str) -> Path:
    project = make_project(tmp_path, rows_of(kind))
    out = tmp_path / "out"
    out.mkdir()
    publish(run_pipeline(project), project, out)
    return out / "data" / "train.jsonl"


@pytest.mark.parametrize("kind", ["chat", "tools", "prompt-completion"])
def test_conversations_keep_to_the_rules_of_openai_fine_tuning(tmp_path: Path, kind: str) -> None:
    """Only known keys, known roles, text or tool calls in every message, and an assistant who ends the row."""
    lines = exported(tmp_path, kind).read_bytes().splitlines()
    assert len(lines) >= 10  # the least number of examples that a job takes
    for line in lines:
        row = orjson.loads(line)
        assert row.keys() <= {"messages", "tools", "functions", "parallel_tool_calls"}
        assert row["messages"][-1]["role"] == "assistant"
        for message in row["messages"]:
            assert message["role"] in ROLES
            assert message.keys() <= {
                "role",
                "content",
                "name",
                "weight",
                "tool_calls",
                "tool_call_id",
                "function_call",
            }
            assert message["content"] or message.get("tool_calls")
            assert message["role"] != "tool" or message["tool_call_id"]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("chat", {"messages"}),
        ("tools", {"messages", "tools"}),
        ("prompt-completion", {"messages"}),
        ("preference", {"prompt", "chosen", "rejected"}),
        ("feedback", {"prompt", "completion", "label"}),
        ("text", {"text"}),
    ],
)
def test_trl_takes_the_rows_as_they_are(tmp_path: Path, kind: str, columns: set[str]) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    path = exported(tmp_path, kind)
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows.column_names) == columns
    assert data_utils.is_conversational(rows[0]) is (kind != "text")
    if kind == "feedback":
        assert {type(row["label"]) for row in rows} == {bool}
