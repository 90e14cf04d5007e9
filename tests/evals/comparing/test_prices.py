"""What an arm costs, and from how many answers on training pays."""

from typing import Any

import pytest

from evals.comparing.prices import Use, break_even, costs, on_front
from schemas.compare import Cost
from schemas.compare_config import Prices


def use(model="base", **changes: Any) -> Use:
    known: dict[str, Any] = {"price": None, "seconds": 3.6, "tokens_in": 1000.0, "tokens_out": 100.0}
    return Use(**(known | {"model": model, "fixed_seconds": 0.0} | changes))


def test_measured_seconds_at_the_price_of_the_machine():
    unit, found, why = costs([use(), use("tuned", fixed_seconds=1800.0)], Prices(currency="EUR", machine_hour=2.0))
    assert (unit, why) == ("EUR", "")
    assert found[0] == Cost(per_answer=0.002, fixed=0.0, total=2.0)
    assert found[1] == Cost(per_answer=0.002, fixed=1.0, total=3.0)


def test_tokens_at_their_price_and_a_training_at_its_own():
    prices = Prices(input_per_million=1.0, output_per_million=5.0, training=40.0, answers=10_000)
    unit, found, _ = costs([use(), use("tuned", fixed_seconds=9e9), use("none")], prices)
    assert unit == "USD"
    assert found[0] == Cost(per_answer=0.0015, fixed=0.0, total=15.0)
    assert found[1] == Cost(per_answer=0.0015, fixed=40.0, total=55.0)
    assert found[2] == Cost(per_answer=0.0, fixed=0.0, total=0.0)


def test_an_endpoint_has_its_own_price():
    own = {"input_per_million": 10.0, "output_per_million": 20.0}
    _, found, _ = costs([use(), use("endpoint", price=own), use("endpoint")], Prices(machine_hour=2.0))
    assert [cost.per_answer for cost in found] == [0.002, 0.012, None]
    assert found[2].total is None


@pytest.mark.parametrize(
    "prices", [Prices(), Prices(machine_hour=0.0), Prices(input_per_million=1.0, output_per_million=1.0)]
)
def test_seconds_stand_in_where_an_arm_of_this_machine_has_no_price(prices):
    unit, found, why = costs([use(), use("tuned", fixed_seconds=60.0)], prices)
    assert unit == "s"
    assert "prices.machine_hour" in why
    assert found[1] == Cost(per_answer=3.6, fixed=60.0, total=3660.0)


def test_an_arm_that_was_not_timed_has_no_cost():
    _, found, _ = costs([use(seconds=None)], Prices())
    assert found == [Cost(per_answer=None, fixed=0.0, total=None)]


COSTS = {
    "cheap": Cost(per_answer=0.001, fixed=0.0, total=1.0),
    "dear": Cost(per_answer=0.011, fixed=0.0, total=11.0),
    "paid": Cost(per_answer=0.001, fixed=50.0, total=51.0),
    "none": Cost(per_answer=None, fixed=None, total=None),
    "bulk": Cost(per_answer=0.006, fixed=20.0, total=26.0),
}


@pytest.mark.parametrize(
    ("arm", "other", "kind", "answers"),
    [
        ("paid", "dear", "from", 5000.0),
        ("paid", "cheap", "never", None),
        ("cheap", "dear", "always", None),
        ("bulk", "paid", "up_to", 6000.0),
        ("cheap", "cheap", "always", None),
        ("paid", "none", "unknown", None),
    ],
)
def test_break_even(arm, other, kind, answers):
    found = break_even(arm, COSTS[arm], other, COSTS[other], Prices(retrain_every_days=10.0))
    assert found.kind == kind
    assert found.answers == (None if answers is None else pytest.approx(answers))
    assert found.per_day == (None if answers is None else pytest.approx(answers / 10))
    assert break_even(arm, COSTS[arm], other, COSTS[other], Prices()).per_day is None
    if answers is not None:
        mine, theirs = COSTS[arm], COSTS[other]
        totals = [cost.fixed + answers * cost.per_answer for cost in (mine, theirs)]
        assert totals[0] == pytest.approx(totals[1])


def test_the_front_holds_what_nothing_beats():
    points = [(1.0, 0.5), (2.0, 0.8), (3.0, 0.7), (2.0, 0.6), (4.0, 0.8), (5.0, 0.9)]
    assert on_front(points) == [True, True, False, False, False, True]
    assert on_front([(1.0, 0.5), (1.0, 0.5)]) == [True, True]
