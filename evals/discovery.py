"""Finding the one-file parts of a package: a new file is found without being registered anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TypeVar

from schemas.errors import UserError

Part = TypeVar("Part")


def modules(package: str) -> list[ModuleType]:
    """Every public module of a package, imported, sorted by name.

    Args:
        package: dotted name, for example `evals.gates`.
    """
    home = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(home.__path__) if not found.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def named(known: Mapping[str, Part], names: Sequence[str], what: str, where: str) -> list[Part]:
    """The parts with these names, or all of them, in the order of `known`.

    Args:
        known: name -> part.
        names: those that are wanted; none takes all.
        what: one of them is called, for the message.
        where: the option or setting that names them.

    Raises:
        UserError: there is no part of a name.
    """
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UserError(
            f"there is no such {what}",
            where=where,
            found=", ".join(unknown),
            expected=f"one of {', '.join(known)}",
        )
    return [part for name, part in known.items() if not names or name in names]
