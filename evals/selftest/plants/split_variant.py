"""A row of the training split in the test split, with words added, left out or cut off."""

from evals.selftest.plant import ALIKE, Plant
from evals.selftest.plants.near_duplicate import PLANT as EDITED

PLANT = Plant(
    name="split_variant",
    what="a training row with other words here and there in the test split",
    rules=("split-copy", "split-near-duplicate", "split-variant"),
    edits={name: EDITED.edits[name] for name in ("words_added", "words_left_out", "end_cut_off")},
    apart=ALIKE,
    place="test",
)
