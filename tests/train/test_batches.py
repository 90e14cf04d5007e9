"""Batches of like length: every row once, seeded, little padding."""

from hypothesis import given
from hypothesis import strategies as st

from train.batches import epoch_order, padded_tokens

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=200)


@given(lengths=LENGTHS, batch_size=st.integers(1, 9), epoch=st.integers(0, 3))
def test_an_epoch_visits_every_row_once(lengths, batch_size, epoch):
    assert sorted(epoch_order(lengths, batch_size, 0, epoch)) == list(range(len(lengths)))


@given(lengths=LENGTHS, batch_size=st.integers(1, 9))
def test_the_order_is_a_function_of_seed_and_epoch(lengths, batch_size):
    assert epoch_order(lengths, batch_size, 1, 2) == epoch_order(lengths, batch_size, 1, 2)


def test_epochs_and_seeds_differ():
    lengths = list(range(1, 101))
    orders = [epoch_order(lengths, 5, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    batches = [{frozenset(order[k : k + 5]) for k in range(0, 100, 5)} for order in orders]
    assert batches[0] != batches[1]  # not the same batches in another order


def test_padding_is_counted_per_batch():
    assert padded_tokens([3, 5, 2], [0, 1, 2], 2) == 2 * 5 + 1 * 2
    assert padded_tokens([3, 5, 2], [2, 0, 1], 2) == 2 * 3 + 1 * 5


def test_batches_of_like_length_pad_less_than_batches_in_order():
    lengths = [10 + 97 * k % 250 for k in range(300)]
    grouped = padded_tokens(lengths, epoch_order(lengths, 6, 0, 0), 6)
    assert grouped < 1.1 * sum(lengths)
    assert padded_tokens(lengths, range(300), 6) > 1.4 * sum(lengths)


def test_only_the_last_batch_is_short():
    lengths = [10 + 97 * k % 250 for k in range(103)]
    order = epoch_order(lengths, 4, 0, 0)
    shortest_window = sorted(lengths[row] for row in order[100:])
    assert len(shortest_window) == 3
