import base64
import dataclasses
import hashlib
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from evals.chain import read_chain
from evals.report import draw, write_report
from evals.report_curves import curve_picture, thinned
from evals.report_facts import Facts, gather
from evals.report_page import markdown_page, report_page
from evals.report_pictures import PALETTE, losses_picture, scores_picture
from evals.report_training import WayBack
from schemas.errors import ManifestError, MissingExtra
from schemas.results import TaskScore
from schemas.verdict import Check, Outcome
from tests.evals.made_chain import make_chain
from tests.evals.made_training import made_training

GOLDEN = Path(__file__).parents[1] / "golden" / "report.md"
HOSTILE = "<img src=x onerror=alert(1)>\"'`|](http://evil.example)\x1b[2J\u202e\n# heading <script>"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return gather(read_chain(make_chain(tmp_path_factory.mktemp("project")).verdict.folder))


@pytest.fixture(scope="module")
def pictures(facts: Facts) -> dict[str, str]:
    return draw(facts)


def hostile(facts: Facts) -> Facts:
    """The same facts with every text from outside replaced by an attack."""
    check = Check(name=HOSTILE, outcome=Outcome.FAIL, message=HOSTILE, help=HOSTILE, measured={}, required={})
    scores = tuple(
        score.model_copy(update={"task": HOSTILE, "model": HOSTILE, "metric": HOSTILE}) for score in facts.scores
    )
    verdict = facts.verdict.model_copy(update={"summary": HOSTILE, "checks": (check,)})
    changes: dict[str, Any] = {
        "name": HOSTILE,
        "verdict": verdict,
        "scores": scores,
        "not_checked": (HOSTILE,),
        "training": ((HOSTILE, HOSTILE),),
        "curve": dataclasses.replace(facts.curve, ways_back=(WayBack(3, 1, HOSTILE),)),
        "chain": tuple(type(link)(HOSTILE, HOSTILE, HOSTILE) for link in facts.chain),
    }
    return type(facts)(**(vars(facts) | changes))


def test_the_markdown_is_the_golden_one(facts):
    """Digests and folder names depend on versions of libraries; everything else is fixed."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", markdown_page(facts))
    text = re.sub(r"\bmade-[0-9a-f]{12}\b", "made-<fingerprint>", text)
    if os.environ.get("ASSAY_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("attack", [False, True])
def test_the_page_runs_nothing_and_loads_nothing(facts, pictures, attack):
    page = Page(report_page(hostile(facts), draw(hostile(facts))) if attack else report_page(facts, pictures))
    assert (
        page.tags & {"script", "img", "iframe", "object", "embed", "link", "a", "form", "base", "foreignobject"}
        == set()
    )
    assert [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "style")] == []
    assert [value for _, value in page.attributes if "url(" in value] == []


def test_an_attack_is_shown_as_text(facts):
    page = report_page(hostile(facts), draw(hostile(facts)))
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_policy_allows_this_style_sheet_and_nothing_else(facts, pictures):
    text = report_page(facts, pictures)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert ("content", policy) in Page(text).attributes


def test_markdown_from_data_starts_no_markup(facts):
    text = re.sub(r"`[^`\n]*`", "code", markdown_page(hostile(facts)).replace("\\`", "tick"))
    assert "<" not in text
    assert "`" not in text
    assert "\x1b" not in text
    assert len(re.findall(r"(?<!\\)\]\(", text)) == 3, "our own three pictures"
    assert len(re.findall(r"^#", text, re.M)) == 7, "our own headings"
    bars = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}
    assert bars == {3, 4, 5, 8}, "columns of our own tables"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.PASS, "May ship"),
        (Outcome.FAIL, "Must not ship"),
        (Outcome.INCONCLUSIVE, "Not decided, too little evidence"),
        (Outcome.STALE, "Not decided, the baseline no longer fits"),
    ],
)
def test_the_verdict_stands_on_top_in_plain_words(tmp_path, pictures, outcome, words):
    facts = gather(read_chain(make_chain(tmp_path, outcome).verdict.folder))
    assert markdown_page(facts).splitlines()[0] == f"# {words}: made"
    assert f"<h1>{words}</h1>" in report_page(facts, pictures)


def test_what_was_not_checked_is_said(tmp_path):
    chain = make_chain(tmp_path, notes=("ungated: trained with --allow-ungated",))
    said = gather(read_chain(chain.verdict.folder)).not_checked
    assert "train: ungated: trained with --allow-ungated." in said
    assert "contamination (not applicable): no eval items are configured." in said
    assert "Other abilities of the base model: no task must not_regress." in said


def test_a_report_is_written_once_and_names_what_it_rests_on(tmp_path):
    chain = make_chain(tmp_path)
    finished = write_report(chain.verdict.path)
    assert sorted(entry.path for entry in finished.manifest.files) == [
        "losses.svg",
        "report.html",
        "report.md",
        "scores.svg",
        "training.svg",
    ]
    roles = [ref.role for ref in finished.manifest.inputs]
    assert roles == ["verdict", "results", "adapter", "dataset", "data_verdict"]
    assert write_report(chain.verdict.folder).reused is True
    assert gather(read_chain(chain.verdict.folder)).chain[0].path == os.path.join(
        "runs", "gate-model", chain.verdict.folder.name
    )


def test_no_report_is_made_of_a_changed_chain(tmp_path):
    chain = make_chain(tmp_path)
    chain.raw.write_bytes(b"changed")
    with pytest.raises(ManifestError) as caught:
        write_report(chain.verdict.path)
    assert caught.value.problems[0].found.endswith("raw.jsonl: changed")
    assert not (tmp_path / "runs" / "report").exists()


def test_a_report_of_another_stage_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="another stage"):
        write_report(make_chain(tmp_path).data_verdict.path)


def test_without_the_drawing_packages_the_extra_is_named(facts, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtra) as caught:
        draw(facts)
    assert caught.value.problems[0].help == "pip install 'assay[report]', or run `make setup`"


def score(task: str, value: float, **more: float) -> TaskScore:
    return TaskScore(task=task, model="tuned", metric="acc", value=value, higher_is_better=True, items=10, **more)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_pictures_hold_each_number_and_only_colours_that_the_page_restyles(pictures):
    for svg in pictures.values():
        used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', svg))
        assert used <= set(PALETTE.values())
        assert "style=" not in svg
    assert {"0.910", "0.420", "0.690", "spam_test, acc", "tuned model", "majority class"} <= set(
        texts(pictures["scores"])
    )


def test_scores_outside_the_unit_interval_and_without_intervals_are_drawn(facts):
    found = texts(scores_picture([score("perplexity", 12.5), score("perplexity", 14.0, low=13.0, high=15.0)]))
    assert {"12.500", "14.000"} <= set(found)


def test_a_loss_of_zero_is_drawn_although_it_has_no_logarithm():
    assert {"0.000", "0.500"} <= set(texts(losses_picture([("tuned", 0.0, 0.5)])))


def trained(root: Path, method: str = "sft", **given: Any) -> Facts:
    return gather(read_chain(make_chain(root, trained=made_training(method, **given)).verdict.folder))


def test_a_curve_without_samples_names_one_series(facts):
    assert "held-out sample" not in texts(curve_picture(facts.curve))
    assert "trained batches" in texts(curve_picture(facts.curve))


def test_the_curve_marks_the_published_step_and_the_ways_back(tmp_path):
    facts = trained(tmp_path)
    found = texts(draw(facts)["training"])
    assert {"published: step 20", "way back 1", "trained sample", "held-out sample"} <= set(found)
    assert facts.curve.sentences == [
        "the weights after step 20 are the result, not those of step 60",
        "at step 35 training went back to step 20: a loss of 9 where the median of 20 steps was 0.5",
        "gain gap, how much more trained rows gained than held-out rows: +0.243 (nats per supervised token)",
    ]
    assert [
        (name, *(None if value is None else round(value, 3) for value in values))
        for name, *values in facts.curve.table[:3]
    ] == [
        ("loss, trained batches", 2.223, 0.509, 0.03),
        ("loss, trained sample", 2.01, 0.388, 0.023),
        ("loss, held-out sample", 2.1, 0.721, 0.891),
    ]


@pytest.mark.parametrize(
    ("method", "unit", "titles"),
    [
        ("sft", "nats per supervised token", ["share of supervised tokens right"]),
        ("dpo", "nats per pair", ["share of pairs right", "mean margin of the better answer"]),
        ("kto", "per answer", ["mean margin of the better answer"]),
        ("reward", "nats per pair", ["share of pairs right", "mean margin of the better answer"]),
        ("grpo", "mean of an answer", []),
    ],
)
def test_each_method_shows_what_it_measures(tmp_path, method, unit, titles):
    facts = trained(tmp_path, method)
    assert facts.curve.unit == unit
    assert facts.curve.name == ("reward" if method == "grpo" else "loss")
    assert [measure.title for measure in facts.curve.measures] == titles
    pictures = draw(facts)
    assert set(titles) <= set(texts(pictures["measures"]) if titles else [])
    page, markdown = report_page(facts, pictures), markdown_page(facts)
    for name, *values in facts.curve.table:
        assert f"<td>{name}</td>" in page
        assert f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) in markdown


def test_canaries_are_shown_by_dose_and_warned_of(tmp_path):
    facts = trained(tmp_path, canaries=True)
    assert [(one.times, one.start, round(one.end, 2)) for one in facts.curve.canaries] == [
        (0, 2.5, 2.5),
        (1, 2.5, 2.3),
        (2, 2.5, 2.09),
        (4, 2.5, 1.69),
    ]
    assert {"never inserted", "once an epoch", "4 times an epoch"} <= set(texts(draw(facts)["canaries"]))
    assert "do not ship it" in report_page(facts, draw(facts))
    assert "do not ship it" in markdown_page(facts)


def test_more_than_the_config_takes_for_learning_by_heart_is_said(tmp_path):
    curve = dataclasses.replace(trained(tmp_path).curve, max_gain_gap=0.2)
    assert curve.sentences[-1].endswith("(nats per supervised token), and more than 0.2 is taken for learning by heart")


def test_a_long_curve_is_drawn_in_few_points_that_keep_its_mean():
    points = tuple((step, float(step % 2)) for step in range(1, 100_001))
    few = thinned(points)
    assert len(few) == 400
    assert few[-1] == (100_000, 0.5)
    assert thinned(points[:400]) == points[:400]


@pytest.mark.parametrize("kept", [{"metrics.jsonl": None}, {"metrics.jsonl": None, "ledger.json": None}])
def test_an_adapter_from_elsewhere_has_no_curve(tmp_path, kept):
    facts = gather(read_chain(make_chain(tmp_path, trained=kept).verdict.folder))
    assert (facts.curve.batches, facts.curve.table, facts.curve.sentences) == ((), [], [])
    pictures = draw(facts)
    assert sorted(pictures) == ["losses", "scores"]
    assert "training.svg" not in markdown_page(facts)
    assert "Training by optimiser step" not in report_page(facts, pictures)


@pytest.mark.parametrize("name", ["metrics.jsonl", "ledger.json"])
def test_a_broken_record_of_training_is_named(tmp_path, name):
    chain = make_chain(tmp_path, trained={name: b"{broken"})
    with pytest.raises(ManifestError) as caught:
        write_report(chain.verdict.path)
    assert caught.value.problems[0].where == str(chain.adapter.folder / name)
    assert not list((tmp_path / "runs" / "report").glob("*"))


def test_every_picture_of_training_has_only_colours_that_the_page_restyles(tmp_path):
    for svg in draw(trained(tmp_path, canaries=True)).values():
        assert set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', svg)) <= set(PALETTE.values())
        assert "style=" not in svg
