"""What a pull request shows of a model verdict: the page, the items on which the models part, the rows to blame."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from evals.blame import RULES, as_sarif, blamed
from evals.evidence import read_evidence
from evals.flips import Flip, Flips, find_flips
from evals.forest import Forest, axis_picture, forests, row_picture
from evals.gate_page import SHOWN, gate_page
from schemas.base import canonical_json, digest
from schemas.manifest import InputRef
from schemas.verdict import Check, Outcome, Standing, Verdict

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>&amp; "q" \x1b[31m</pre></div>\u202e\x00'


@pytest.fixture
def parted(done):
    """The evaluation of `done`, with other scores: t0 to t2 are lost, t3 is gained, on t4 the candidate failed."""
    project, _, result = done
    evidence = read_evidence(result.folder, project.config.gates.model, 0)
    base = dict.fromkeys([f"t{n}" for n in range(12)], 1.0) | {"t3": 0.0}
    tuned = dict.fromkeys(base, 1.0) | {"t0": 0.0, "t1": 0.0, "t2": 0.0, "t4": None}
    given = [pl.col("item_id").replace_strict(scores, return_dtype=pl.Float64) for scores in (base, tuned)]
    score = pl.when(pl.col("model") == "base").then(given[0]).otherwise(given[1])
    items = evidence.items.with_columns(score=score, prediction=pl.col("model") + " says " + pl.col("item_id"))
    return replace(evidence, items=items), result


def verdict(outcome=Outcome.FAIL, name="toy_test:improve", **measured):
    found = {"estimate": -0.1, "low": -0.2, "high": 0.1, "items": 12} | measured
    required = {"margin": 0.05, "alpha": 0.05}
    check = Check(
        name=name, outcome=outcome, message=f"found {HOSTILE}", measured=found, required=required, help=HOSTILE
    )
    return Verdict(gate="model", outcome=outcome, subject={"results": "0" * 64}, checks=(check,), summary=HOSTILE)


# ---------------------------------------------------------------------------------------------------------- the items


def test_items_part_both_ways_and_a_failure_is_the_greatest_loss(parted):
    evidence, result = parted
    found = find_flips(evidence, result.folder, "toy_test")
    assert [flip.item_id for flip in found.lost] == ["t4", "t0", "t1", "t2"]
    assert [flip.item_id for flip in found.gained] == ["t3"]
    assert [flip.failed for flip in found.lost] == [True, False, False, False]
    first = found.lost[1]
    assert (first.before, first.now, first.target) == ("base says t0", "tuned says t0", "no")
    assert (first.score_before, first.score_now) == (1.0, 0.0)
    assert "bad x" in first.asked


def test_where_lower_is_better_the_sides_change(parted):
    evidence, result = parted
    tasks = {"toy_test": evidence.results.tasks["toy_test"] | {"higher_is_better": False}}
    turned = replace(evidence, results=evidence.results.model_copy(update={"tasks": tasks}))
    found = find_flips(turned, result.folder, "toy_test")
    assert [flip.item_id for flip in found.gained] == ["t0", "t1", "t2"]
    assert [flip.item_id for flip in found.lost] == ["t4", "t3"]


# ----------------------------------------------------------------------------------------------------------- the page


class Tags(HTMLParser):
    """Every tag and its attributes, and whether they are closed in order."""

    def __init__(self):
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags_of(page):
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    return parser.seen


def flip(number, before="yes", now="no", score=0.0):
    return Flip(f"item{number}{HOSTILE}", number, f"asked {HOSTILE}", HOSTILE, before, now, 1.0, score)


def test_nothing_hostile_becomes_markup():
    lost = (flip(0, HOSTILE, f"{HOSTILE} and more"), flip(1, None, HOSTILE), flip(2, score=None))
    name = f"toy_test{HOSTILE}:improve"
    page = gate_page("toy", verdict(name=name), [Flips(f"t{HOSTILE}", "base", lost, (flip(3),))], "not tested")
    tags = tags_of(page)
    assert not {"script", "img", "iframe", "object", "a", "link"} & {tag for tag, _ in tags}
    assert not [attrs for _, attrs in tags if {name for name in attrs if name.startswith("on")} | {"style"} & {*attrs}]
    assert not set(page) & {"\x1b", "\x00", "\u202e"}
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src &#x27;none&#x27;; style-src &#x27;sha256-" in page


def test_the_page_says_first_where_the_candidate_stands():
    (check,) = verdict(Outcome.INCONCLUSIVE, items_to_decide=4_700).checks
    task = check.model_copy(update={"verdict": Standing.INCONCLUSIVE})
    part = check.model_copy(
        update={"name": f"t:slice:k={HOSTILE}", "outcome": Outcome.NOT_APPLICABLE, "verdict": Standing.REGRESSED}
    )
    both = verdict().model_copy(update={"verdict": Standing.INCONCLUSIVE, "checks": (task, part)})
    page = gate_page("toy", both, [], "not tested")
    tags_of(page)
    header = page[: page.index("</header>")]
    assert '<span class="mark inconclusive">inconclusive, about 4,700 items would decide</span>' in header
    assert '<span class="mark fail">regressed</span>' in header
    assert "by slice, which decides nothing (1)" in header


def test_answers_stand_side_by_side_with_their_differences_marked():
    page = gate_page(
        "toy", verdict(), [Flips("t", "base", (flip(0, "it is spam today", "it is ham today"),), ())], "not tested"
    )
    assert "it is <del>spam</del> today" in page
    assert "it is <ins>ham</ins> today" in page
    locked = gate_page("toy", verdict(), [Flips("t", "locked", (flip(0, None, "it is ham"),), ())], "not tested")
    assert "this lock keeps the score, not the answer" in locked
    assert "Against the locked baseline: worse on 1, better on 0 items." in locked


def test_a_page_holds_so_many_items_and_counts_the_others():
    page = gate_page("toy", verdict(), [Flips("t", "base", tuple(flip(n) for n in range(SHOWN + 5)), ())], "not tested")
    assert page.count('<article class="example">') == SHOWN
    assert f"worse on {SHOWN + 5}, the first {SHOWN} shown" in page


def test_a_huge_answer_is_cut():
    page = gate_page(
        "toy", verdict(), [Flips("t", "base", (flip(0, "word " * 200_000, "x" * 1_000_000),), ())], "not tested"
    )
    assert len(page) < 60_000


# ------------------------------------------------------------------------------------------------------------ the plot


def test_the_checks_of_a_task_share_a_scale_that_holds_zero_and_every_threshold():
    checks = (*verdict().checks, *verdict(name="toy_test:slice:a=b", low=0.2, high=0.4, estimate=0.3).checks)
    (forest,) = forests(verdict().model_copy(update={"checks": checks}))
    assert [row.name for row in forest.rows] == ["improve", "slice:a=b"]
    assert [row.bar for row in forest.rows] == [-0.05, -0.05]
    low, high = forest.scale
    assert low < -0.2
    assert high > 0.4
    ticks = [float(text) for text in re.findall(r">([+-]?[\d.]+)</text>", axis_picture(forest.scale))]
    assert 0.0 in ticks
    assert 3 <= len(ticks) <= 6
    inside = [
        float(x) for row in forest.rows for x in re.findall(r'x[12]?="([\d.-]+)"', row_picture(row, forest.scale))
    ]
    assert min(inside) >= 0
    assert max(inside) <= 360


def test_what_compares_no_scores_is_not_drawn_and_a_missing_interval_is_a_dot():
    gap = Check(name="overfitting:gain-gap", outcome=Outcome.PASS, message="", measured={"estimate": 1.0})
    assert forests(verdict().model_copy(update={"checks": (gap,)})) == []
    (forest,) = forests(verdict(low=None, high=None, estimate=0.0))
    drawn = row_picture(forest.rows[0], forest.scale)
    assert (drawn.count("<line"), drawn.count("<rect")) == (2, 1)
    assert Forest("t", forest.rows).scale[0] < -0.05


# ----------------------------------------------------------------------------------------------------------- the rows


def test_lost_items_of_a_failed_task_point_at_their_rows(parted, tmp_path):
    evidence, result = parted
    found = blamed(verdict(), evidence, result.manifest, result.folder, tmp_path)
    assert [(one.code, one.path, one.line, one.row_id) for one in found] == [
        ("EVL001", "rows.jsonl", line, row) for line, row in ((5, "t4"), (1, "t0"), (2, "t1"), (3, "t2"))
    ]
    assert "on which it failed" in found[0].message
    sarif = json.loads(as_sarif(found))["runs"][0]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == [rule[0] for rule in RULES]
    assert sarif["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "rows.jsonl"},
        "region": {"startLine": 5},
    }
    passing = verdict(Outcome.PASS)
    assert blamed(passing, evidence, result.manifest, result.folder, tmp_path) == []


def test_a_trained_row_that_holds_an_item_is_blamed_with_it(parted, tmp_path):
    evidence, result = parted
    (dataset,) = (ref for ref in result.manifest.inputs if ref.role == "dataset")
    folder = tmp_path / "evals" / "copy"
    copied = tmp_path / "curate" / "copy"
    for source, target in ((result.folder, folder), ((result.folder / dataset.path).parent, copied)):
        for path in sorted(Path(source).rglob("*")):
            if path.is_file():
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())
    items = [{"text": f"item {n}"} for n in range(12)]
    names = [digest(canonical_json(item))[:16] for item in items]
    (tmp_path / "own.jsonl").write_text("".join(f"\n{json.dumps(item)}\n" for item in items))
    marks = [{"item_id": names[0], "grade": "question", "row_id": "r3", "rows": {"train": {"question": 1}}}]
    marks.append({"item_id": names[1], "grade": "question", "row_id": "v1", "rows": {"validation": {"question": 1}}})
    contamination = {"schema": "assay/contamination/1", "items": marks}
    (copied / "contamination.json").write_text(json.dumps(contamination))
    own = InputRef(role="task", path="../../own.jsonl", sha256=digest((tmp_path / "own.jsonl").read_bytes()))
    inputs = (dataset.model_copy(update={"path": "../../curate/copy/manifest.json"}), own)
    manifest = result.manifest.model_copy(update={"inputs": inputs})
    task = evidence.results.tasks["toy_test"] | {
        "split": None,
        "contamination": {"items": [{"item_id": name, "grade": "question"} for name in names[:2]]},
    }
    renamed = evidence.items.with_columns(
        item_id=pl.col("item_id").replace_strict({f"t{n}": name for n, name in enumerate(names)})
    )
    results = evidence.results.model_copy(update={"tasks": {"toy_test": task}})
    seen = replace(evidence, items=renamed, results=results)
    found = blamed(verdict(), seen, manifest, folder, tmp_path)
    assert [(one.code, one.path, one.line) for one in found] == [
        ("EVL001", "own.jsonl", 10),
        ("EVL001", "own.jsonl", 2),
        ("EVL001", "own.jsonl", 4),
        ("EVL001", "own.jsonl", 6),
        ("EVL002", "rows.jsonl", 4),
    ]
    assert found[1].evidence["twin"] == {"path": "rows.jsonl", "line": 4}
    assert "twin" not in found[2].evidence
    assert found[4].evidence["twin"] == {"path": "own.jsonl", "line": 2}
    passing = blamed(verdict(Outcome.PASS), seen, manifest, folder, tmp_path)
    assert [one.code for one in passing] == ["EVL002"]
