"""The pages of a comparison: what they show, how wide, and that nothing in them is alive."""

import importlib.util
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.comparing import pages, pareto
from evals.comparing.judge import judge_compare
from evals.stats import proportion
from schemas.compare import Compared
from schemas.compare_config import Prices
from tests.evals.comparing.made_run import arm, made_run, right_of

HOSTILE = '<script>alert(1)</script>\x1b[2J|`*[x](http://x)\n# "\u202e\x00'
PRICES = Prices(machine_hour=1.0, retrain_every_days=30.0, answers=50_000)


@pytest.fixture
def compared(tmp_path) -> Compared:
    rng = np.random.default_rng(5)
    qualities = {"classical": 0.6, "zero_shot": 0.5, "few_shot": 0.6, "rag": 0.55, "tuned": 0.97, "tuned_rag": 0.8}
    scores = {name: [float(x) for x in rng.random(80) < share] for name, share in qualities.items()}
    arms = [*map(arm, scores), arm("full", status="not_applicable", reason="compare.full names no run")]
    recall = proportion(np.array([1.0] * 60 + [0.0] * 20), np.arange(80), 0.05).as_dict()
    found = {"guard": {"removed": [{"row": 1}], "kept": 80}, "recall_at_k": {"3": 0.81234, "5": recall}, "mrr": None}
    folder = made_run(tmp_path, scores, arms=arms, floor=right_of(80, 30), retrieval=found)
    return judge_compare(folder, alpha=0.05, margin=0.03, prices=PRICES)


def hostile_run(folder) -> Compared:
    arms = [
        arm("zero_shot", title=HOSTILE),
        arm("tuned", title=HOSTILE, facts={HOSTILE: HOSTILE}),
        arm(HOSTILE, status="failed", reason=HOSTILE * 40),
    ]
    scores = {"zero_shot": right_of(20, 4), "tuned": right_of(20, 20), HOSTILE: right_of(20, 20)}
    folder = made_run(folder, scores, arms=arms, retrieval={HOSTILE: HOSTILE * 40}, metric=HOSTILE)
    return judge_compare(folder, alpha=0.05, margin=0.03, prices=Prices(machine_hour=1.0, currency=HOSTILE))


def test_text_fits_a_terminal_and_holds_the_tables(compared):
    text = pages.as_text(compared)
    lines = text.splitlines()
    assert max(map(len, lines)) <= pages.COLUMNS
    assert lines[0].startswith("Fine-tuning serves this task best: ")
    titles = [table.title for table in pages.tables(compared)]
    assert titles == [
        "Arms",
        "Differences of quality",
        "Form, consistency, fresh knowledge",
        "Latency, tokens, cost",
        "Break-even",
        "Retrieval",
        "Arms without answers",
    ]
    assert [title for title in titles if title not in lines] == []
    assert re.search(r"^  tuned +0\.\d{3} \[0\.\d{3}, \d\.\d{3}\] +\S+ +yes +recommended$", text, re.M)
    assert re.search(r"^  recall at k 3 +0\.8123$", text, re.M)
    assert re.search(r"^  recall at k 5 +0\.750 \[0\.6\d\d, 0\.8\d\d\]$", text, re.M)
    assert "mrr" not in text
    assert re.search(r"^  guard removed +1 listed in compare.json$", text, re.M)
    assert re.search(r"^  full +not asked +compare.full names no run$", text, re.M)
    assert re.search(r"^  tuned +few_shot +from [\d,]+ answers, [\d.]+ a day$", text, re.M)


def test_columns_without_a_number_are_left_out(tmp_path):
    found = judge_compare(
        made_run(tmp_path, {"few_shot": right_of(40, 5), "rag": right_of(40, 39)}),
        alpha=0.05,
        margin=0.03,
        prices=PRICES,
    )
    by_title = {table.title: table for table in pages.tables(found)}
    assert by_title["Differences of quality"].heads == ("arm", "minus rag")
    assert "Break-even" not in by_title


def test_json_is_the_schema_and_comes_back(compared):
    text = pages.as_json(compared)
    assert json.loads(text)["schema"] == "assay/compare/1"
    assert Compared.model_validate_json(text) == compared


@pytest.mark.parametrize("form", sorted(pages.FORMS))
def test_hostile_names_stay_text(tmp_path, form):
    page = pages.FORMS[form](hostile_run(tmp_path))
    assert [char for char in page if not char.isprintable() and char != "\n"] == []
    if form == "html":
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)" in page
    if form == "markdown":
        assert "[x](" not in page
        assert re.search(r"(?<!\\)<script", page) is None
        assert not any(line.startswith('# "') for line in page.splitlines())


def test_the_html_page_loads_and_runs_nothing(compared):
    page = pages.as_html(compared)
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"\b(src|href|on\w+)=", page)
    assert "<svg" in page
    assert page.count("<table>") == len(pages.tables(compared))


def test_files_are_written_with_the_picture_and_without(compared, tmp_path, monkeypatch):
    pages.write_pages(tmp_path, compared)
    names = {"compare.json", "compare.txt", "compare.md", "compare.html"}
    assert names | {"pareto.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "pareto.svg").read_text().startswith("<svg")
    monkeypatch.setitem(__import__("sys").modules, "altair", None)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "altair" else real(name))
    bare = tmp_path / "bare"
    bare.mkdir()
    pages.write_pages(bare, compared)
    assert {path.name for path in bare.iterdir()} == names
    assert "<svg" not in (bare / "compare.html").read_text()
    for name in ("compare.txt", "compare.md", "compare.html"):
        assert "here is no picture" in (bare / name).read_text()


# --------------------------------------------------------------------------------------------------- the picture


def dot(name, cost, quality, front=False):
    return pareto.Dot(name, cost, quality, max(0.0, quality - 0.05), min(1.0, quality + 0.05), "other", front)


@given(
    st.lists(
        st.tuples(st.integers(1, 200), st.floats(0.0, 1.0), st.integers(3, 18)), min_size=1, max_size=8, unique=True
    )
)
def test_labels_of_eight_arms_cover_no_other_label(points):
    dots = [dot("x" * wide, cost / 100, quality, place == 0) for place, (cost, quality, wide) in enumerate(points)]
    scale = pareto.scale_of(dots)
    boxes = [pareto.label_box(one, place) for one, place in zip(dots, pareto.place_labels(dots, scale), strict=True)]
    assert all(0 <= box[0] and box[2] <= pareto.WIDTH + 1e-6 for box in boxes)
    shared = [pareto.shared_area(first, second) for first, second in itertools.combinations(boxes, 2)]
    assert max(shared, default=0.0) == 0.0


def test_the_axis_is_logarithmic_where_costs_span_a_decade():
    assert pareto.scale_of([dot("a", 0.1, 0.5), dot("b", 1.0, 0.5)]).log
    assert not pareto.scale_of([dot("a", 0.2, 0.5), dot("b", 1.0, 0.5)]).log
    assert not pareto.scale_of([dot("a", 0.0, 0.5)]).log


def test_places_and_values_are_each_others_inverse():
    for scale in (pareto.scale_of([dot("a", 0.001, 0.5), dot("b", 1.0, 0.5)]), pareto.scale_of([dot("a", 1.0, 0.5)])):
        assert scale.cost(scale.x(0.5)) == pytest.approx(0.5)
        assert scale.quality(scale.y(0.47)) == pytest.approx(0.47)


def test_an_arm_that_costs_nothing_is_drawn_and_said_to():
    dots = [dot("free", 0.0, 0.5, True), dot("a", 0.01, 0.6), dot("b", 1.0, 0.7, True)]
    scale = pareto.scale_of(dots)
    assert scale.log
    assert pareto.label(dots[0]) == "free (costs nothing)"
    assert scale.left < pareto.shown_cost(dots[0], scale) < 0.01
    assert pareto.front_steps(dots, scale)[0][0] == pareto.shown_cost(dots[0], scale)


def test_the_picture_has_a_label_for_each_arm(compared):
    svg = pareto.pareto_picture(compared)
    assert [
        name for name in ("classical", "zero_shot", "few_shot", "rag", "tuned", "tuned_rag") if f">{name}<" not in svg
    ] == []
    assert "cost of an answer" in svg
    nothing = compared.model_copy(update={"arms": ()})
    assert pareto.pareto_picture(nothing) == ""
