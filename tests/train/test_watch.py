"""What is measured while a model trains: neutral text that it never trains on, and each held-out row by itself."""

import json
import math

import pytest

from curate.neutral_text import python_prose
from evals.row_facts import ReadRows, row_facts
from tests.evals.test_methods import trained
from train.monitor import measured_line


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]


def test_drift_and_each_held_out_row_are_seen_while_it_happens(tiny_model_folder, tmp_path):
    _, made = trained(tmp_path, tiny_model_folder, "sft", epochs=4, learning_rate=3e-2)
    looks = [one for one in records(made.folder) if "held_out_loss" in one]
    assert len(looks) >= 2
    for one in looks:
        assert len(one["held_out_rows"]) == 4
        assert math.isfinite(one["general_loss"])
    assert looks[-1]["general_loss"] != looks[0]["general_loss"]
    tokens = sum(looks[0]["held_out_rows"]) / looks[0]["held_out_loss"]
    assert tokens == pytest.approx(round(tokens), abs=1e-4)  # the mean is that of the rows, by token
    curve = row_facts(ReadRows(next((tmp_path / "runs" / "curate").iterdir()), made.folder))["validation_curve"]
    assert curve["rows"] == [[one["step"], one["held_out_rows"]] for one in looks]
    assert curve["points"] == [[one["step"], one["held_out_loss"]] for one in looks]


@pytest.mark.parametrize(("method", "watch"), [("dpo", {}), ("sft", {"general_texts": 0})])
def test_neutral_text_is_read_only_where_it_has_a_loss_and_is_wanted(tiny_model_folder, tmp_path, method, watch):
    _, made = trained(tmp_path, tiny_model_folder, method, watch=watch)
    assert all("general_loss" not in one for one in records(made.folder))


def test_neutral_text_is_no_row_that_was_trained(tiny_model_folder, tmp_path):
    _, made = trained(tmp_path, tiny_model_folder, "sft")
    ledger = json.loads((made.folder / "ledger.json").read_bytes())
    assert (ledger["rows_trained"], ledger["canaries"], ledger["canary_rows"]) == (12, 0, {})
    assert ledger["held_out"]["rows"] == 4


def test_the_line_names_what_was_measured():
    line = measured_line(3, {"held_out_loss": 1.0, "general_loss": 2.5, "canary_1_loss": 3.0})
    assert line == "after step 3: held-out loss 1.0000, neutral text 2.5000, canaries x1 3.00"


def test_the_prose_is_long_enough_and_no_markup():
    texts = dict(python_prose())
    assert len(texts) >= 40
    assert all(len(text.split()) >= 40 and "\n" not in text for text in texts.values())
