"""Many cases and seeds in processes of their own, each with a file for its result, so that nothing is run twice.

A file is named after case and seed, its folder after all that decides the result: the case's settings, the base model
and the code. A run that was killed, or that asks for more seeds, runs what has no file yet.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from evals.selftest.case import Case, planted_cases
from evals.selftest.chain import SeedResult, run_seed
from schemas.atomic import exclusive, readable_disk_errors, write_atomic
from schemas.base import fingerprint
from schemas.errors import UserError
from schemas.progress import Progress

STORE = "selftest-seeds"
HEX_IN_NAME = 12
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Place:
    """Where the results of one case live."""

    case: Case
    folder: Path
    embedded: bool = False
    """Whether the case is that of the embedded model."""

    def file(self, seed: int) -> Path:
        """Of one seed."""
        return self.folder / f"{seed}.json"

    def read(self, seed: int) -> SeedResult | None:
        """What an earlier run found; null where there is no whole file."""
        try:
            return SeedResult.model_validate_json(self.file(seed).read_bytes())
        except (OSError, ValidationError):
            return None


def place_of(runs: Path, case: Case, base_model: str, code: str, *, embedded: bool = False) -> Place:
    """The folder of a case's results.

    Args:
        runs: folder of all results.
        case: its settings decide, and
        base_model: the digest of what is tuned, and
        code: the digest of all sources.
        embedded: whether the case is that of the embedded model.
    """
    key = fingerprint([case.settings, base_model, code])[:HEX_IN_NAME]
    return Place(case, runs / STORE / f"{case.name}-{key}", embedded)


def run_seeds(
    places: Sequence[Place], seeds: Sequence[int], model_folder: Path, progress: Progress, processes: int | None = None
) -> dict[str, list[SeedResult]]:
    """Every case with every seed, in worker processes of one thread each; what has a file is read.

    Args:
        places: the cases.
        seeds: of each.
        model_folder: the base model.
        progress: told after every seed.
        processes: how many; null takes as many as there are cores.

    Returns:
        Name of the case -> results in the order of the seeds.

    Raises:
        UserError: another run works on the same results, or a worker was killed.
    """
    missing = [(place, seed) for seed in seeds for place in places if place.read(seed) is None]
    total = len(seeds) * len(places)
    if missing:
        store = places[0].folder.parent
        with readable_disk_errors(store):
            store.mkdir(parents=True, exist_ok=True)
        with exclusive(store / "running"):
            _run(missing, model_folder, progress, total, processes or len(os.sched_getaffinity(0)))
    found = {place.case.name: [place.read(seed) for seed in seeds] for place in places}
    return {name: [result for result in results if result is not None] for name, results in found.items()}


def _run(
    missing: Sequence[tuple[Place, int]], model_folder: Path, progress: Progress, total: int, processes: int
) -> None:
    known = total - len(missing)
    if known:
        progress.say(f"{known} of {total} seeds are known from earlier")
    progress.begin("planted models", "seeds")
    progress.advance(known, total)
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    workers = min(processes, len(missing))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin, initargs=(os.getpid(),)) as pool:
        jobs = [
            pool.submit(work, place.case.name, place.embedded, seed, model_folder, place.folder)
            for place, seed in missing
        ]
        try:
            for done, job in enumerate(as_completed(jobs), known + 1):
                job.result()
                progress.advance(done, total)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker of the selftest was killed",
                where=str(model_folder),
                help="often for want of memory; the same command goes on with the seeds that are missing",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def begin(parent: int) -> None:
    """Make a process a worker: of one thread, since libraries read these variables when they are loaded, and mortal.

    Args:
        parent: the process whose end ends the worker. A pool's workers outlive one that was killed, and would go on
            writing where the next run writes.
    """
    os.environ.update(dict.fromkeys(THREADS, "1"))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def work(name: str, embedded: bool, seed: int, model_folder: Path, folder: Path) -> None:
    """One case and seed, in a worker; its result is one file.

    Args:
        name: of the case.
        embedded: whether it is meant for the embedded model.
        seed: of rows, split and training.
        model_folder: the base model.
        folder: of the case's results.
    """
    import torch

    torch.set_num_threads(1)
    (case,) = planted_cases([name])
    case = case.for_embedded() if embedded else case
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".work-{seed}"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    result = run_seed(case, seed, model_folder, scratch)
    write_atomic(folder / f"{seed}.json", result.model_dump_json(indent=1, by_alias=True).encode("utf-8") + b"\n")
