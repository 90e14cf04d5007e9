"""What LLaMA-Factory needs to take a dataset as it is: a description of the files, and files of its own for pairs.

`dataset_dir: <run>/llamafactory` and `dataset: train` of its config are enough. Conversations and plain text are read
from `data/` itself. For preferences it wants one chosen and one rejected message, for feedback the judged answer among
the messages, so that these rows are written a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from curate.export import whole_lines

TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function",
    "system_tag": "system",
}
LINES_PER_PART = 10_000


def describe_splits(folder: Path, kinds: dict[str, set[str]]) -> None:
    """Write `llamafactory/dataset_info.json` for the splits in `data/`.

    Rows of a shape that it has no place for (rewards, several kinds in one split, answers of several messages) leave
    their split out of the description.

    Args:
        folder: of the curated dataset.
        kinds: name of each split -> the kinds of its rows.
    """
    target = folder / "llamafactory"
    target.mkdir()
    described = {}
    for split, found in kinds.items():
        entry = _entry(folder, split, found)
        if entry is not None:
            described[split] = entry
    (target / "dataset_info.json").write_bytes(orjson.dumps(described, option=orjson.OPT_INDENT_2) + b"\n")


def _entry(folder: Path, split: str, kinds: set[str]) -> dict[str, Any] | None:
    shared = f"../data/{split}.jsonl"
    if kinds == {"text"}:
        return {"file_name": shared, "columns": {"prompt": "text"}}
    if kinds and kinds <= {"chat", "prompt-completion"}:
        # Only the format named after OpenAI reads tool calls; it also adds words to every instruction.
        columns = {"messages": "messages"}
        if _has_tools(folder / "data" / f"{split}.jsonl"):
            return {
                "file_name": shared,
                "formatting": "openai",
                "columns": columns | {"tools": "tools"},
                "tags": TAGS,
            }
        return {"file_name": shared, "formatting": "sharegpt", "columns": columns, "tags": TAGS}
    if kinds == {"preference"}:
        columns = {"messages": "messages", "chosen": "chosen", "rejected": "rejected"}
        about = {"ranking": True, "columns": columns}
    elif kinds == {"feedback"}:
        about = {"columns": {"messages": "messages", "kto_tag": "label"}}
    else:
        return None
    own = folder / "llamafactory" / f"{split}.jsonl"
    if not _rewrite(folder / "data" / f"{split}.jsonl", own):
        return None
    return {"file_name": own.name, "formatting": "sharegpt", "tags": TAGS} | about


def _has_tools(path: Path) -> bool:
    with path.open("rb") as lines:
        return any(b'"tools":' in line or b'"tool_calls":' in line for line in lines)


def _rewrite(source: Path, target: Path) -> bool:
    """Write pairs or judged answers as LLaMA-Factory reads them; whether every row could be."""
    with source.open("rb") as lines, target.open("wb") as file:
        for part in _parts(lines):
            rows = [_reshaped(orjson.loads(line)) for line in part]
            told = [orjson.dumps(row) for row in rows if row is not None]
            if len(told) < len(rows):
                break
            file.write(whole_lines(told))
        else:
            return True
    target.unlink()
    return False


def _parts(lines: BinaryIO) -> Iterator[list[bytes]]:
    while part := [line for line, _ in zip(lines, range(LINES_PER_PART), strict=False)]:
        yield part


def _reshaped(row: dict[str, Any]) -> dict[str, Any] | None:
    if "rejected" not in row:
        return {"messages": row["prompt"] + row["completion"], "label": row["label"]}
    chosen, rejected = row["chosen"], row["rejected"]
    if len(chosen) != 1 or len(rejected) != 1:
        return None
    return {"messages": row["prompt"], "chosen": chosen[0], "rejected": rejected[0]}
