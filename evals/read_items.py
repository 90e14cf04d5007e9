"""Reads the items of a task from JSON Lines beside this file, so that the task runs from any folder.

assay copies this file next to every task that it resolves; lm-eval imports it from there through `custom_dataset`.
"""

import json
from pathlib import Path
from typing import Any


def read_items(files: dict[str, str], **_: Any) -> Any:
    """The splits of a task as a `datasets.DatasetDict`.

    Args:
        files: split name -> name of a JSON Lines file beside this one.
        _: task metadata, which lm-eval passes as well.
    """
    from datasets import Dataset, DatasetDict

    def rows(name: str) -> list[dict[str, Any]]:
        with Path(__file__).with_name(name).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return DatasetDict({split: Dataset.from_list(rows(name)) for split, name in files.items()})
