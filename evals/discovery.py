"""Finding the one-file parts of a package: a new file is found without being registered anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def modules(package: str) -> list[ModuleType]:
    """Every public module of a package, imported, sorted by name.

    Args:
        package: dotted name, for example `evals.gates`.
    """
    home = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(home.__path__) if not found.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]
