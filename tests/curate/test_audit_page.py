import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.distributions import distribution
from curate.outputs import render
from curate.outputs.histogram import histogram, short
from curate.outputs.worddiff import MAX_WORDS, side_by_side
from curate.request import AuditRequest, run_audit
from tests.curate.made_rows import chat, distinct_rows, write_rows

HOSTILE = "<img src=x onerror=alert(1)>\"'`|](http://evil.example)\x1b[2J\u202e\n# heading <script>alert(2)</script>"
SARIF_SCHEMA = Path(__file__).parents[1] / "golden" / "sarif-2.1.0.schema.json"
"""The structure of the OASIS schema (errata 1), its descriptions left out."""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "rect", "line", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def page_of(folder: Path, rows: list, name: str = "rows.jsonl", **request) -> str:
    return render(run_audit(AuditRequest([str(write_rows(folder / name, rows))], **request)), "html", None)


def attacked_rows() -> list:
    row = chat(f"{HOSTILE} one two three four five six seven eight nine ten", HOSTILE)
    near = chat(f"{HOSTILE} one two three four five six seven eight nine TEN!", HOSTILE)
    return [
        row,
        near,
        row,
        {"messages": [{"role": HOSTILE, "content": HOSTILE}, {"role": "assistant", "content": ""}]},
        {HOSTILE: HOSTILE},
        b'{"messages": [<script>alert(3)</script>',
        *distinct_rows(5),
    ]


def test_the_page_runs_nothing_and_loads_nothing_whatever_the_rows_hold(tmp_path):
    text = page_of(tmp_path, attacked_rows(), name="<script>alert(4)<script>.jsonl")
    page = Page(text)
    assert page.open == [], "every element is closed"
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert [
        value for name, value in page.attributes if name == "href" and not re.fullmatch("#[A-Z]+[0-9]+", value)
    ] == []
    assert [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "style")] == []
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "default-src &#x27;none&#x27;" in text


def test_personal_data_is_hidden_in_pairs_as_well(tmp_path):
    rows = [chat(f"Please write to jane.miller@posteo.net about {n} apples today", "I will do that") for n in (1, 1)]
    text = page_of(tmp_path, [*rows, *distinct_rows(3)])
    assert "DUP201" in text
    assert "posteo" not in text
    assert "&lt;mail-" in text


def test_a_pair_shows_what_differs(tmp_path):
    words = "the quick brown fox jumps over the lazy dog while seven wizards box with jolly quartz sphinxes"
    text = page_of(tmp_path, [chat(words, "yes it does"), chat(words.replace("quick", "rapid"), "yes it does")])
    assert "<del>quick</del>" in text
    assert "<ins>rapid</ins>" in text


def test_the_page_begins_with_what_was_read_and_names_waivers_that_expired(tmp_path):
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("- {code: DUP201, reason: known, expires: 2020-01-01}\n", encoding="utf-8")
    text = page_of(tmp_path, distinct_rows(3) * 2, waivers=waivers)
    header = text[: text.index("</header>")]
    assert "6 rows of chat (messages), jsonl" in header
    assert "expired on 2020-01-01" in header


def test_no_rows_and_no_findings_make_a_page_too(tmp_path):
    assert "nothing can be said about this data" in page_of(tmp_path, [])
    assert "5 rows: nothing found" in page_of(tmp_path, distinct_rows(5))


@given(st.text(max_size=300), st.text(max_size=300))
def test_both_sides_keep_their_words(left, right):
    a, b = side_by_side(left, right)
    if len(left) < MAX_WORDS and len(right) < MAX_WORDS and "…" not in (a + b):
        strip = re.compile(r"</?(?:ins|del)>")
        plain = Page(f"<p>{strip.sub('', a)}</p>")
        assert plain.tags == ["p"]
        if left == right:
            assert "<del>" not in a
            assert "<ins>" not in b
    assert "<script" not in (a + b)


def test_a_long_common_beginning_is_cut_and_a_huge_text_costs_little():
    start = "word " * 50_000
    a, b = side_by_side(start + "alpha end", start + "beta end")
    assert a.startswith("…")
    assert "<del>alpha</del>" in a
    assert "<ins>beta</ins>" in b
    assert len(a) < 4000
    assert len(side_by_side("x" * 1_000_000, "y" * 1_000_000)[0]) < 1000


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=50))
def test_every_size_is_in_the_bin_that_begins_at_or_below_it(sizes):
    found = distribution("sizes", pl.Series(sizes))
    lower = [least for least, _ in found.bins]
    assert sum(count for _, count in found.bins) == len(sizes)
    assert found.bins[0][1]
    assert found.bins[-1][1]
    for place, (least, count) in enumerate(found.bins):
        above = lower[place + 1] if place + 1 < len(lower) else 10**12
        assert count == sum(least <= size < above for size in sizes)
    assert histogram(found).count("<rect") == len(found.bins)


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (999, "999"), (1000, "1k"), (1234, "1.2k"), (35_400, "35k"), (2_000_000, "2M")]
)
def test_numbers_over_bars_are_short(number, shown):
    assert short(number) == shown


@pytest.mark.parametrize("rows", [[], distinct_rows(3), attacked_rows()], ids=["none", "clean", "hostile"])
def test_sarif_is_what_its_schema_asks_for(tmp_path, rows):
    found = run_audit(AuditRequest([str(write_rows(tmp_path / "a b%c:d.jsonl", rows))]))
    report = json.loads(render(found, "sarif", None))
    schema = json.loads(SARIF_SCHEMA.read_text(encoding="utf-8"))
    checker = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in checker.iter_errors(report)] == []
    assert sum(len(run["results"]) for run in report["runs"]) == len(found.findings)
    broken = report | {"version": "2"}
    assert not checker.is_valid(broken), "the schema refuses what is wrong"


def test_a_run_of_sarif_is_never_longer_than_code_scanning_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.outputs.sarif.PER_RUN", 2)
    found = run_audit(AuditRequest([str(write_rows(tmp_path / "rows.jsonl", [b"{"] * 5))], select=["SCH101"]))
    runs = json.loads(render(found, "sarif", None))["runs"]
    assert [len(run["results"]) for run in runs] == [2, 2, 1]
    assert len({run.get("automationDetails", {}).get("id") for run in runs}) == 3
