"""The search behind a sweep: what it suggests, what it gives up, what it keeps."""

from pathlib import Path

from schemas.sweep_config import SweepConfig
from schemas.sweep_results import Trial
from schemas.train_config import TrainConfig
from tests.toy_sweep import SPACE
from train import study


def trial(number: int, curve=(), **fields):
    settings = fields.pop("settings", {"learning_rate": 2e-3 * (number + 1), "epochs": 1})
    loss = {"validation_loss": 1.0, "gain_gap": 0.1, "folder": "train/x", "state": "passed"} | fields
    return Trial(number=number, settings=settings, curve=list(curve), **loss)


def search_in(folder: Path, seed: int = 0, **settings):
    space = {name: SPACE[name] for name in ("learning_rate", "epochs")}
    config = SweepConfig.model_validate({"space": space, "seed": seed} | settings)
    return study.Search(folder / "study.jsonl", config, TrainConfig())


def test_the_median_of_finished_trials_prunes(tmp_path):
    search = search_in(tmp_path)
    for number, loss in enumerate((1.0, 1.1, 1.2)):
        search.add(trial(number, [(0.0, 2.0), (0.5, loss), (1.0, loss)]), 0.5)
        assert search.is_hopeless([(0.0, 2.0), (0.5, 1.15)]) is (number == 2)
    assert not search.is_hopeless([(0.0, 2.0)])
    assert not search.is_hopeless([(0.0, 2.0), (0.5, 1.05)])
    assert not search.is_hopeless([(0.0, 2.0), (2.0, 1.9)])  # nobody came so far
    assert search.is_hopeless([(0.0, 2.0), (0.72, 1.15)])  # between two of their measurements
    assert not search_in(tmp_path, prune=False).is_hopeless([(0.0, 2.0), (0.5, 1.9)])


def points(folder: Path, seed: int, count: int = 8) -> list[dict]:
    folder.mkdir(exist_ok=True)
    found = []
    for number in range(count):
        search = search_in(folder, seed)  # opened anew for each, as after a kill
        assert len(search.trials()) == number
        settings = search.next_settings()
        search.add(trial(number, settings=settings, validation_loss=settings["learning_rate"]), 0.5)
        found.append(settings)
    return found


def test_the_same_seed_gives_the_same_points_and_another_seed_others(tmp_path):
    first = points(tmp_path / "a", seed=1)
    assert first == points(tmp_path / "b", seed=1)
    assert first[0] == {"learning_rate": 1e-3, "epochs": 1}
    assert first[1:] != points(tmp_path / "c", seed=7)[1:]
    assert all(1e-3 <= one["learning_rate"] <= 3e-2 and one["epochs"] in (1, 2) for one in first)


def test_the_search_learns_what_is_good_and_what_the_watch_forbids(tmp_path):
    def rates(folder: Path, gap_above: float) -> list[float]:
        folder.mkdir()
        search = search_in(folder)
        for number in range(30):
            settings = search.next_settings()
            rate = settings["learning_rate"]
            gap = 0.9 if rate > gap_above else 0.1
            search.add(trial(number, settings=settings, validation_loss=1 - rate, gain_gap=gap), 0.5)
        return sorted(one.settings["learning_rate"] for one in search.trials()[15:])

    allowed, forbidden = rates(tmp_path / "a", 1.0), rates(tmp_path / "b", 5e-3)
    assert allowed[7] > 1e-2
    assert forbidden[7] < 5e-3
