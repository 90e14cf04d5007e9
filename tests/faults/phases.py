"""What is disturbed: a command line of assay, the folder in which it is given, and what it ends in undisturbed.

A further phase is one entry of PHASES and a function that makes its scene.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from curate.configfile import load_project
from curate.indexing import build_index
from curate.pipeline import curate
from curate.rules.near_duplicate import EDITED, STORY
from schemas.progress import SILENT
from tests.curate.made_rows import chat, distinct_rows, make_project, write_rows
from tests.toy_project import ToyProject, toy_kind, toy_rows

Scene = Callable[[Path, Path], Sequence[str]]
"""Fills a folder, given a tiny base model elsewhere; returns the command line."""

ASKED = (
    "How many trips does a ferry that takes twelve cars need for sixty cars that wait on the other side of the lake?"
)
ITEMS = [{"question": ASKED, "answer": "5"}, *({"question": f"What do {n} llamas eat in winter?"} for n in range(30))]
DIRTY = [
    b'{"messages": [',
    *distinct_rows(2),
    chat(STORY, "fiction"),
    chat(EDITED, "fiction"),
    chat("Ask kim@kde.org", "no"),
    chat(f"A riddle. {ASKED} Think first.", "Five."),
    chat("Was it late?", "yes"),
    chat("Was it late?", "no"),
]
STEPS = ["schema", "exact-duplicate", "near-duplicate", "conflict", "pii"]


@dataclass(frozen=True)
class Phase:
    """A command that is disturbed."""

    name: str
    scene: Scene
    kills: int
    """In the long form."""
    exit_code: int = 0
    """Of the undisturbed command."""
    refuses: str = ""
    """What it says where its result is there already; without it, it returns that result."""
    models: bool = False
    """Whether it loads a model, so that a process that is forked for it must know torch."""


def _project(folder: Path, model: Path, count: int = 150, **sections: Any) -> None:
    """A config over two files of rows."""
    write_rows(folder / "more.jsonl", distinct_rows(count // 3, start=1000))
    data = {"sources": ["rows.jsonl", "more.jsonl"]} | sections.pop("data", {})
    sections = {"curate": {"steps": STEPS}, "train": {"base_model": str(model)}} | sections
    make_project(folder, [*distinct_rows(count), *DIRTY], data=data, **sections)


def audit(folder: Path, model: Path) -> Sequence[str]:
    """Two results and a baseline beside them."""
    _project(folder, model)
    write_rows(folder / "evals.jsonl", ITEMS)
    given = ["audit", "rows.jsonl", "more.jsonl", "--against", "evals.jsonl", "--fail-on", "error"]
    return [*given, "--format", "json", "--out", "report.json", "--also", "html:report.html"]


def curation(folder: Path, model: Path, *, against: bool = False) -> Sequence[str]:
    """The data pipeline; `against` looks for eval items as well."""
    write_rows(folder / "evals.jsonl", ITEMS)
    searched: dict[str, Any] = {"data": {"evals": ["evals.jsonl"]}, "curate": {"steps": [*STEPS, "contamination"]}}
    _project(folder, model, **(searched if against else {}))
    return ["curate", "assay.yaml"]


def index_build(folder: Path, model: Path) -> Sequence[str]:
    """A new index of rows."""
    _project(folder, model)
    return ["index", "build", "rows.jsonl", "more.jsonl", "--kind", "duplicates", "--out", "made.index"]


def index_build_evals(folder: Path, model: Path) -> Sequence[str]:
    """A new index of eval items under a key that is there."""
    write_rows(folder / "evals.jsonl", ITEMS)
    (folder / "eval.key").write_text("0123456789abcdef" * 2 + "\n", "ascii")
    given = ["index", "build", "evals.jsonl", "--kind", "contamination", "--keyed", "--key-file", "eval.key"]
    return [*given, "--out", "made.index"]


def index_add(folder: Path, model: Path) -> Sequence[str]:
    """Rows for an index that is there."""
    index_build(folder, model)
    build_index("duplicates", [str(folder / "more.jsonl")], folder / "made.index", SILENT)
    return ["index", "add", "made.index", "rows.jsonl"]


def gate_data(folder: Path, model: Path) -> Sequence[str]:
    """The verdict on a dataset that was curated."""
    gates = {
        "data": {"min_rows": 10, "min_supervised_tokens": 20},
        "model": {"tasks": {"made_test": {"must": "improve", "detect": 0.5}}},
    }
    curation(folder, model)
    _project(folder, model, gates=gates)
    curate(load_project(folder / "assay.yaml"))
    return ["gate", "data", "assay.yaml"]


# ----------------------------------------------------------------------------------------------------- with a model

DROPOUT: dict[str, Any] = {"lora": {"r": 2, "lora_dropout": 0.1}, "epochs": 4, "checkpoint_steps": 2}
TRAININGS: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "full": {"method": "full"},
    "dpo": {"method": "dpo"},
    "kto": {"method": "kto"},
    "grpo": {
        "method": "grpo",
        "rewards": [{"use": "regex", "options": {"pattern": "[a-z]"}}],
        "batch_size": 8,
        "max_new_tokens": 4,
        "epochs": 2,
    },
    "accumulated": {"method": "sft", "gradient_accumulation": 2, "batch_size": 2, "packing": True},
    "stopped early": {
        "method": "sft",
        "early_stopping": 2,
        "epochs": 30,
        "learning_rate": 0.1,
        "watch": {"share": 1.0},
        "guard": {"spike": None},
    },
    "sent back": {
        "method": "sft",
        "epochs": 12,
        "learning_rate": 0.8,
        "guard": {"spike": 1.1, "window": 2, "patience": 1, "factor": 0.01, "rollbacks": 9},
    },
}


def training(folder: Path, model: Path, settings: dict[str, Any]) -> Sequence[str]:
    """Training the tiny model on a toy dataset that passed its gate."""
    toy, method = ToyProject(folder, model), settings["method"]
    kinds = {"train": (16, "r"), "validation": (5, "v"), "test": (4, "t")}
    dataset = toy.dataset(**{split: toy_kind(method, *given) for split, given in kinds.items()})
    toy.verdict(dataset)
    toy.project(**DROPOUT | settings)
    return ["train", "assay.yaml", "--dataset", str(dataset.path.relative_to(folder))]


def evaluation(folder: Path, model: Path) -> Sequence[str]:
    """Scoring the tiny model and an adapter of random weights."""
    from tests.evals.made_adapter import made_adapter, made_dataset, made_project

    project = made_project(folder, model)
    adapter = made_adapter(project, made_dataset(folder, model, test=toy_rows(12, "t")), rows=11)
    return ["evals", "assay.yaml", "--adapter", str(adapter.path.relative_to(folder))]


def _with(scene: Scene, *more: str) -> Scene:
    """The same scene and command line with more flags."""
    return lambda folder, model: [*scene(folder, model), *more]


BUILT = "there is something of this name already"
ON_DISK = ("--memory", "0")
"""Sources of any size count as large: their text lies in files without a name."""

PHASES = (
    Phase("audit", audit, 25, exit_code=1),
    Phase("audit, text on disk", _with(audit, *ON_DISK), 20, exit_code=1),
    Phase("curate", curation, 35),
    Phase("curate, text on disk", _with(curation, *ON_DISK), 25),
    Phase("contamination", partial(curation, against=True), 35),
    Phase("index build, rows", index_build, 20, refuses=BUILT),
    Phase("index build, eval items", index_build_evals, 20, refuses=BUILT),
    Phase("index add", index_add, 20),
    Phase("gate data", gate_data, 10),
    *(
        Phase(f"train, {name}", partial(training, settings=settings), 6 if name == "sft" else 2, models=True)
        for name, settings in TRAININGS.items()
    ),
    Phase("evals", evaluation, 20, models=True),
)


BY_NAME = {phase.name: phase for phase in PHASES}


def seeded(*words: object) -> random.Random:
    """Random numbers that a name decides."""
    return random.Random(" ".join(map(str, words)))
