"""Which engine a command line names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from schemas.errors import UserError

Name = Literal["local", "ray"]
ENGINES: tuple[Name, ...] = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where the work is done."""

    name: Name = "local"
    address: str | None = None
    """Of a running Ray cluster; null starts one on this machine and ends it again."""


LOCAL = Engine()


def engine_of(name: str, address: str | None) -> Engine:
    """What `--engine` and `--address` say.

    Raises:
        UserError: an address without Ray, or of a kind that Ray Data does not work with.
    """
    if address is not None and name != "ray":
        raise UserError(
            "--address names a Ray cluster, and the engine is another one",
            where="the command line",
            found=f"--engine {name}",
            help="add --engine ray",
        )
    if address is not None and address.startswith("ray://"):
        raise UserError(
            "the address is that of a Ray client server",
            where="--address",
            found=address,
            expected="HOST:PORT of the cluster's head, or auto on one of its nodes",
            help="run the command on a node of the cluster, or submit it with `ray job submit`",
        )
    return Engine(cast("Name", name), address)
