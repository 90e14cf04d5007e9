"""A row of the training split in the test split, as it is or edited."""

from evals.selftest.plant import ALIKE, Plant
from evals.selftest.plants.near_duplicate import PLANT as EDITED

PLANT = Plant(
    name="split_leak",
    what="a training row, or an edited copy of one, in the test split",
    rules=("split-copy", "split-near-duplicate", "split-prompt"),
    edits={
        "copy": lambda record, drawn: record,
        "case": EDITED.edits["case"],
        "typing_errors": EDITED.edits["typing_errors"],
    },
    apart=ALIKE,
    place="test",
)
