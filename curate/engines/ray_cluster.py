"""Reaching a Ray cluster, and making sure that its workers run what runs here."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from schemas.errors import MissingExtra, UserError
from schemas.stage import code_digest

ROOMS = ("schemas", "curate")
"""What workers run."""
LIBRARIES = ("numba", "numpy", "orjson", "polars", "pycld2", "tokenizers")
"""Whose version may show in the bytes of a result."""
CONNECT_S = 10.0
"""How long the head of a cluster may take to answer."""


@contextmanager
def connected(address: str | None, cpus: int | None = None) -> Iterator[Callable[[Any], Any]]:
    """A connection to a cluster; gives a function that holds an object for all tasks, and returns a reference to it.

    Args:
        address: of a running cluster, or `auto`; null starts one on this machine, which ends with the block.
        cpus: cores of a cluster that is started here; null for all.

    Raises:
        MissingExtra: Ray is not installed.
        UserError: the cluster cannot be reached, or runs another version of Ray, of Python, or of assay.
    """
    # Nothing is reported to anybody, unless the user's own environment says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", error.name or "ray") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # assay shows its own
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    _check_port(address)
    own = {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error
    try:
        _check_workers(ray)
        yield ray.put
    finally:
        ray.shutdown()


def _check_port(address: str | None) -> None:
    """Make sure that somebody listens there: Ray itself would ask again for minutes.

    Raises:
        UserError: nobody does.
    """
    host, colon, port = (address or "").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> UserError:
    """What went wrong, in words; Ray tells versions apart only by its message."""
    said = " ".join(str(error).split())[:300]
    if "ersion mismatch" in said:
        return UserError(
            "the Ray cluster runs another version of Ray or of Python",
            where=address or "this machine",
            found=said,
            help="install the same versions on every node and here",
        )
    if address is None:
        return UserError("Ray cannot be started on this machine", where="this machine", found=said)
    return UserError(
        "the Ray cluster cannot be reached",
        where=f"--address {address}",
        found=said,
        expected="HOST:PORT of the cluster's head, or auto on one of its nodes",
        help="`ray status` on a node says whether it runs; one that asks for a token needs RAY_AUTH_MODE=token here",
    )


def versions() -> dict[str, str]:
    """What results depend on: the digest of the code, and the versions of the libraries that compute."""
    return {"assay": f"code {code_digest(ROOMS)[:12]}"} | {name: version(name) for name in LIBRARIES}


def _check_workers(ray: Any) -> None:
    """Make sure that every node runs the code that runs here.

    Raises:
        UserError: a node has no assay, or another version of it or of a library that computes.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Defined here so that it travels as it is: a function of this module could not be found where assay is missing.
    def look() -> dict[str, str]:
        try:
            from curate.engines.ray_cluster import versions as there
        except ImportError as missing:
            return {"missing": str(missing)}
        return there()

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    probes = {
        node["NodeManagerAddress"]: ray.remote(look)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote()
        for node in nodes
    }
    here = versions()
    for node, probe in probes.items():
        there = ray.get(probe)
        if "missing" in there:
            raise UserError(
                "a worker has no assay", where=f"node {node}", found=there["missing"],
                help=f"install assay there, in the environment of Ray, for Python {platform.python_version()}",
            )  # fmt: skip
        for name, wanted in here.items():
            if there[name] != wanted:
                raise UserError(
                    f"a worker runs another version of {name}", where=f"node {node}", found=there[name],
                    expected=wanted, help="install the same versions on every node and here",
                )  # fmt: skip
