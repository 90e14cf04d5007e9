"""A sweep of the toy project: few trials, a small space, and enough validation rows to compare by."""

from pathlib import Path

import yaml

from tests.toy_project import ToyProject, toy_rows

SPACE = {
    "learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
    "epochs": {"choices": [1, 2]},
    "lora.target_modules": {"choices": [["q_proj"], ["q_proj", "v_proj"]]},
}
SMALL = {"lora": {"r": 2, "last_layers": 1, "target_modules": ["q_proj"]}, "watch": {"rows": 4, "share": 1.0}}


def config_of(toy: ToyProject, train: dict | None = None, **settings) -> Path:
    """The toy's config with a sweep; the toy's own method writes one without."""
    project = toy.project(**SMALL | (train or {}))
    written = yaml.safe_load(project.path.read_text("utf-8"))
    written["sweep"] = {"trials": 3, "space": SPACE} | settings
    project.path.write_text(yaml.safe_dump(written), "utf-8")
    return project.path


def gated(toy: ToyProject, **splits) -> Path:
    dataset = toy.dataset(**{"validation": toy_rows(24, "v")} | splits)
    toy.verdict(dataset)
    return dataset.path
