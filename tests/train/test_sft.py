"""The loss is the full model's loss on the supervised tokens, however rows are laid out in a batch."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from curate.load_supervisor import load_supervisor
from curate.supervision import IGNORED, Supervised
from tests.toy_project import toy_rows
from train.adapter import load_weights
from train.collate import lay_end_to_end, pad_batch
from train.methods.sft import mean_loss, supervised_nll

PAD = 2


def encoded(folder, count=8) -> list[Supervised]:
    supervisor = load_supervisor(folder, 256)
    return [supervisor.encode(row["messages"]) for row in toy_rows(count)]


def full_loss(model, rows) -> dict[str, float]:
    """The sum over rows of the loss from all logits, one row at a time, without padding."""
    total = {"nll": 0.0, "supervised": 0, "correct": 0}
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
        labels = torch.tensor(row.labels[1:])
        total["nll"] += float(cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        total["supervised"] += int((labels != IGNORED).sum())
        total["correct"] += int((logits.argmax(-1) == labels).sum())
    return total


def test_padding_is_on_the_right_and_carries_no_loss():
    rows = [Supervised([5, 6, 7], [False, True, True], 0, (), True), Supervised([8], [False], 0, (), True)]
    batch = pad_batch(rows, pad_token_id=2)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 2, 2]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED] * 3]
    assert batch["lengths"].tolist() == [3, 1]


@pytest.mark.parametrize("layout", ["padded", "end to end"])
def test_the_loss_of_a_batch_is_the_loss_of_its_rows(tiny_model_folder, layout):
    model, rows = load_weights(tiny_model_folder), encoded(tiny_model_folder)
    batch = pad_batch(rows, PAD) if layout == "padded" else lay_end_to_end(rows)
    with torch.no_grad():
        nll, sums = supervised_nll(model, batch)
    expected = full_loss(model, rows)
    assert float(nll) == pytest.approx(expected["nll"], rel=1e-5)
    assert sums == {**expected, "nll": float(nll)}


def test_no_row_sees_another_when_laid_end_to_end(tiny_model_folder):
    model, rows = load_weights(tiny_model_folder), encoded(tiny_model_folder, 3)
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([rows[1].input_ids])).logits[0]
        batch = lay_end_to_end(rows)
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits[0]
    start = len(rows[0].input_ids)
    torch.testing.assert_close(packed[start : start + len(alone)], alone, rtol=1e-4, atol=1e-5)


def test_measuring_leaves_mode_and_random_state_alone(tiny_model_folder):
    model, rows = load_weights(tiny_model_folder), encoded(tiny_model_folder, 11)
    model.train()
    state = torch.get_rng_state()
    measured = mean_loss(model, rows, PAD)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    expected = full_loss(model.eval(), rows)
    assert measured["loss"] == pytest.approx(expected["nll"] / expected["supervised"], rel=1e-5)
    assert measured["accuracy"] == expected["correct"] / expected["supervised"]
