"""The same row twice."""

from evals.selftest.plant import ALIKE, Plant

PLANT = Plant(
    name="exact_duplicate",
    what="a copy of another row",
    rules=("exact-duplicate",),
    edits={"copy": lambda record, drawn: record},
    apart=ALIKE,
    place="beside",
)
