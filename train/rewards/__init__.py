"""Rewards of GRPO, one a file, named as `train.rewards` names them; or a function of the user's own.

A file here has `make(options)`, which checks its options and gives a function from a completion and its row to a
number, or to null where the reward does not apply to the row. The row is as `data/*.jsonl` has it; `reference` is its
reference answer. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import math
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.train_config import RewardFunction

Judge = Callable[[str, dict[str, Any]], float | None]


@dataclass(frozen=True)
class Reward:
    """One reward function, ready to be called."""

    name: str
    judge: Judge

    def __call__(self, completion: str, record: dict[str, Any]) -> float | None:
        """The reward of a completion.

        Raises:
            UserError: the function failed, or gave neither a finite number nor None.
        """
        try:
            with contextlib.redirect_stdout(sys.stderr):  # results alone belong on stdout
                found = self.judge(completion, dict(record))
            number = float(found) if isinstance(found, Real) else math.nan
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            raise UserError(
                "a reward function failed",
                where=f"train.rewards: {self.name}",
                found=f"{type(error).__name__}: {error} for the completion {completion[:80]!r}",
                help="repair the function; it may return None where it does not apply",
            ) from error
        if found is None:
            return None
        if math.isfinite(number):
            return number
        raise UserError(
            "a reward function gave no number",
            where=f"train.rewards: {self.name}",
            found=f"{found!r} for the completion {completion[:80]!r}",
            expected="a finite number, or None",
        )


def reward_files(given: Sequence[RewardFunction], root: Path) -> list[Path]:
    """The users' own files that a config names and that are there: other code is another training."""
    paths = {root / one.python.rpartition(":")[0] for one in given if one.python is not None}
    return sorted(path for path in paths if path.is_file())


def load_rewards(given: Sequence[RewardFunction], root: Path) -> list[Reward]:
    """The reward functions of a config.

    Args:
        given: `train.rewards`.
        root: folder of the config, which a user's file is relative to and inside of.

    Raises:
        UserError: there is no such reward, file or function, or its options are wrong.
    """
    return [_built_in(one) if one.use is not None else _users(str(one.python), one.options, root) for one in given]


def _built_in(given: RewardFunction) -> Reward:
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    if given.use not in names:
        raise UserError(
            "there is no reward of this name",
            where="train.rewards",
            found=str(given.use),
            expected=f"one of {', '.join(names)}",
            help="or name a function of your own: {python: rewards.py:my_reward}",
        )
    return Reward(given.use, importlib.import_module(f"train.rewards.{given.use}").make(dict(given.options)))


def _users(place: str, options: dict[str, Any], root: Path) -> Reward:
    file, _, name = place.rpartition(":")
    path = (root / file).resolve()
    if not file or not name.isidentifier() or not path.is_relative_to(root.resolve()) or not path.is_file():
        raise UserError(
            "the reward function cannot be found",
            where="train.rewards",
            found=f"python: {place}",
            expected="FILE.py:FUNCTION, a file inside the config's folder",
            help="the function takes a completion (text), its reference and its row, and returns a number",
        )
    spec = importlib.util.spec_from_file_location(f"reward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
        function = getattr(module, name)
        inspect.signature(function).bind("completion", "reference", {}, **options)
    except (Exception, SystemExit) as error:  # the user's file may do anything
        raise UserError(
            "the reward function cannot be used",
            where=f"{path}: {name}",
            found=f"{type(error).__name__}: {error}",
            expected=f"def {name}(completion, reference, row{''.join(f', {key}' for key in options)})",
        ) from error
    return Reward(name, lambda completion, record: function(completion, record.get("reference"), record, **options))


def check_options(name: str, options: dict[str, Any], known: dict[str, type | tuple[type, ...]]) -> None:
    """Refuse options that a reward does not have.

    Args:
        name: of the reward.
        options: as given.
        known: option -> type of its value.

    Raises:
        UserError: an unknown option, or a value of another type.
    """
    for key, value in options.items():
        if key not in known or not isinstance(value, known[key]):
            raise UserError(
                f"the reward {name} cannot take this option",
                where="train.rewards",
                found=f"{key}: {value!r}",
                expected=f"some of {', '.join(known) or 'none'}",
            )
