"""A curated dataset of made-up notes, and deliveries of more of them, of other topics, or of other labels."""

import json
import random
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from curate.configfile import load_project
from curate.pipeline import curate
from evals.cli_drift import drift
from schemas.drift import Drift
from schemas.errors import ExitCode
from schemas.stage import Finished

GARDEN = "rose tulip soil water seed prune bed leaf mulch hoe shade bloom root vine pot compost rake lawn fern".split()
TRAIN = "rail ticket platform engine delay signal coach track timetable guard tunnel bridge station cargo fare".split()
SHIP = "anchor sail harbour deck mast keel tide captain cabin rope compass wave gull port lantern chart reef".split()


def notes(count: int, seed: int, topics: tuple[list[str], ...] = (GARDEN, TRAIN), **more: Any) -> list[dict[str, Any]]:
    """Chat rows of distinct random words; the label follows the first topic."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        topic = topics[rng.randrange(len(topics))]
        words = " ".join(rng.choices(topic, k=rng.randint(12, 30)))
        answer = "garden" if topic is GARDEN else "travel"
        user = {"role": "user", "content": f"{words} {rng.getrandbits(40):x}"}
        made.append({"messages": [user, {"role": "assistant", "content": answer}], **more})
    return made


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def made_dataset(root: Path, rows: list[dict[str, Any]], **curating: Any) -> Finished:
    """The rows curated below `root` as `assay curate` does."""
    root.mkdir(parents=True, exist_ok=True)
    write_rows(root / "rows.jsonl", rows)
    config = {
        "name": "notes",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"rules": {"pii": {"action": "redact"}}, **curating},
        "gates": {"model": {"tasks": {"t": {"must": "improve", "detect": 0.1}}}},
        "evals": {"suites": ["t"]},
    }
    (root / "assay.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return curate(load_project(root / "assay.yaml"))


def run_drift(*arguments: object) -> tuple[ExitCode, str, str]:
    """Exit code that the command returned, and what it printed."""
    result = CliRunner().invoke(drift, [str(one) for one in arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.stdout, result.stderr


def drifted(*arguments: object) -> tuple[ExitCode, Drift]:
    """Exit code, and what was found."""
    code, out, _ = run_drift(*arguments, "--format", "json", "--quiet")
    return code, Drift.model_validate_json(out)
