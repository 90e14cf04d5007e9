"""`assay selftest model`: planted models through training, evaluation and gate, and how often the gate was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.model_files import base_model_inputs
from evals.selftest import pages
from evals.selftest.base_model import NAME, ensure_small_model
from evals.selftest.case import Case, planted_cases
from evals.selftest.rates import model_rates
from evals.selftest.seeds import place_of, run_seeds
from evals.selftest.stored import RESULT, ROOMS, STAGE
from schemas.atomic import write_atomic
from schemas.base import fingerprint
from schemas.progress import Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from train.base_model import ensure_base_model

SEEDS, QUICK_SEEDS, EMBEDDED_SEEDS = 60, 3, 8
"""No miss in 59 seeds is what it takes to know of a rate that it is above 0.95."""
EMBEDDED = "smollm2-135m-instruct"
EMBEDDED_CASES = ("healthy", "over_epoch", "shuffled_labels")


@dataclass(frozen=True)
class Wanted:
    """What is to be run."""

    names: Sequence[str]
    """Of cases; none takes all, or with the embedded model those that are meant for it."""
    seeds: range
    quick: bool = False
    """Whether few seeds are run on purpose."""
    embedded: bool = False
    """Tune the embedded model instead of the small one."""

    def cases(self) -> list[Case]:
        """The cases.

        Raises:
            UserError: there is none of a name.
        """
        cases = planted_cases(self.names or (EMBEDDED_CASES if self.embedded else ()))
        return [case.for_embedded() for case in cases] if self.embedded else cases


def selftest_models(runs: Path, wanted: Wanted, progress: Progress, processes: int | None = None) -> Finished:
    """Run the planted models that have no result yet, and publish the rates of all of them.

    Args:
        runs: folder of all results.
        wanted: cases and seeds.
        progress: where it is shown.
        processes: at a time; null takes as many as there are cores.

    Raises:
        UserError: there is no such case, or another run works on the same results.
        MissingExtra: what training or evaluation needs is not installed.
    """
    cases = wanted.cases()
    model = ensure_base_model(EMBEDDED) if wanted.embedded else ensure_small_model()
    stage = model_stage(runs, cases, wanted, model)
    places = [place_of(runs, case, _identity(model), stage.code, embedded=wanted.embedded) for case in cases]

    def fill(folder: Path) -> dict[str, int]:
        results = run_seeds(places, wanted.seeds, model, progress, processes)
        rates = model_rates(cases, results, EMBEDDED if wanted.embedded else NAME, quick=wanted.quick)
        write_atomic(folder / RESULT, rates.model_dump_json(indent=1, by_alias=True).encode("utf-8") + b"\n")
        for form, write in pages.MODEL_FORMS.items():
            write_atomic(folder / f"selftest.{form}", write(rates).encode("utf-8"))
        every = [one for case in cases for one in results[case.name]]
        lines = [one.model_dump_json(by_alias=True, exclude={"cpu_seconds"}) for one in every]
        write_atomic(folder / "seeds.jsonl", "".join(f"{line}\n" for line in lines).encode("utf-8"))
        missed = sum(len(one.missed) for one in rates.cases)
        return {"cases": len(cases), "seeds": len(wanted.seeds), "missed": missed}

    return run_stage(stage, fill)


def model_stage(runs: Path, cases: Sequence[Case], wanted: Wanted, model: Path) -> Stage:
    """The stage that publishes the rates.

    Args:
        runs: folder of all results.
        cases: what is planted.
        wanted: how often.
        model: folder of the base model.
    """
    seeds = [wanted.seeds.start, len(wanted.seeds)]
    return Stage(
        stage=STAGE,
        name=EMBEDDED if wanted.embedded else NAME,
        config={"cases": {case.name: case.settings for case in cases}, "seeds": seeds, "quick": wanted.quick},
        config_given={},
        inputs=base_model_inputs(model, inputs_from(runs, STAGE)),
        code=code_digest(ROOMS),
        root=runs,
        packages=("lm_eval", "numpy", "peft", "polars", "scipy", "torch", "transformers", "trl"),
        seeds={"first": wanted.seeds.start, "last": wanted.seeds.stop - 1},
    )


def _identity(model: Path) -> str:
    return fingerprint(sorted(ref.identity for ref in base_model_inputs(model, model)))
