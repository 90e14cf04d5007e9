"""`assay report`: from a model gate's verdict to one Markdown file, one HTML page and their pictures."""

from __future__ import annotations

from pathlib import Path

from evals import report_curves, report_pictures
from evals.chain import unchanged_chain
from evals.report_facts import Facts, gather
from evals.report_page import markdown_page, report_page
from evals.selftest.stored import newest_selftest, quoted
from schemas.atomic import write_atomic
from schemas.manifest import InputRef, input_stage, manifest_path, open_stage
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage

STAGE = "report"


def report_stage(verdict: Path) -> Stage:
    """What `assay report` is about to do, with the folder where its result lives: beside the verdict's own stage.

    Args:
        verdict: manifest (or folder) of the gate-model stage.

    Raises:
        ManifestError: it is of another stage, or does not hash to its manifest.
    """
    manifest, folder = open_stage(verdict, "gate-model")
    runs = folder.parent.parent
    place = inputs_from(runs, STAGE)
    inputs: list[InputRef] = [input_stage("verdict", folder, place)]
    refs = [ref for ref in manifest.inputs if ref.role != "selftest"]  # a newer one may have been made since
    inputs += [input_stage(ref.role, manifest_path(folder / ref.path), place) for ref in refs]
    selftest = newest_selftest(runs)
    if selftest is not None:
        inputs.append(input_stage("selftest", selftest, place))
    return Stage(
        stage=STAGE,
        name=manifest.name,
        config={},
        config_given={},
        inputs=tuple(inputs),
        code=code_digest(["schemas", "curate", "evals"]),
        root=runs,
        packages=("altair", "jinja2", "vl-convert-python"),
    )


def write_report(verdict: Path) -> Finished:
    """Verify the whole chain behind a verdict and write its report, or return the one that exists already.

    Raises:
        ManifestError: anything in the chain is not as it was written.
        MissingExtra: the packages that draw are not installed.
    """
    stage = report_stage(verdict)
    root = unchanged_chain(verdict, "no report is made of it")

    def fill(folder: Path) -> dict[str, int]:
        selftest = next((ref for ref in stage.inputs if ref.role == "selftest"), None)
        facts = gather(root, trust=quoted(stage.place_of(selftest)) if selftest else ())
        pictures = draw(facts)
        for name, svg in pictures.items():
            write_atomic(folder / f"{name}.svg", report_pictures.on_white(svg).encode("utf-8"))
        write_atomic(folder / "report.md", markdown_page(facts).encode("utf-8"))
        write_atomic(folder / "report.html", report_page(facts, pictures).encode("utf-8"))
        return {"checks": len(facts.verdict.checks), "pictures": len(pictures)}

    return run_stage(stage, fill)


def draw(facts: Facts) -> dict[str, str]:
    """Name -> SVG of each picture that there are numbers for."""
    pictures = {"scores": report_pictures.scores_picture(facts.scores)}
    if facts.losses:
        pictures["losses"] = report_pictures.losses_picture(facts.losses.rows)
    if facts.curve.batches:
        pictures["training"] = report_curves.curve_picture(facts.curve)
    if facts.curve.measures:
        pictures["measures"] = report_curves.measures_picture(facts.curve.measures)
    if facts.curve.canaries:
        pictures["canaries"] = report_pictures.canaries_picture(facts.curve.canaries)
    return pictures
