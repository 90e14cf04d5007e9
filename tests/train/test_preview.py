"""`assay preview`: what is shown of rows, in every form, and what is refused."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import assay
from curate.load_supervisor import load_supervisor
from schemas.errors import ExitCode
from schemas.stage import Stage, run_stage
from schemas.terminal import Screen
from tests.tiny_model import CHATML, write_tiny_tokenizer
from tests.toy_project import ToyProject, toy_rows
from train.preview import Wanted, preview_dataset
from train.preview_text import render, shown_parts

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "preview.text"
HOSTILE = "<script>alert(1)</script>\x1b[31m \u202eevil ⟦x⟧\n\n  a\tb \U0001f389"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer alone: a preview needs no weights."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return folder


@pytest.fixture
def toy(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return ToyProject(tmp_path, model)


def chat(row_id: str, *turns: tuple[str, str], line: int = 1) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"row_id": row_id, "component": 0, "line": line, "messages": messages}


def of_kind(row_id: str, **record: Any) -> dict[str, Any]:
    return {"row_id": row_id, "component": 0, "line": 1, "record": record}


def said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def mixed_rows() -> list[dict[str, Any]]:
    return [
        chat("hostile", ("user", HOSTILE), ("assistant", "Fine.\n- héé"), line=1),
        chat("long", ("user", "abcdefghij" * 20), ("assistant", "yes "), line=2),
        chat("unanswered", ("user", "Hello?"), line=3),
        *toy_rows(3),
    ]


def run(capsys: pytest.CaptureFixture[str], *words: str, expected: ExitCode = ExitCode.PASS) -> str:
    assert assay.run(["preview", *words, "-q"]) == expected
    captured = capsys.readouterr()
    return captured.out if expected is ExitCode.PASS else captured.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capsys, *words, "--format", "json"))
    return found


# ------------------------------------------------------------------------------------------------------------- as text


def test_the_text_is_as_it_was_agreed(toy, model, capsys):
    toy.project(max_length=128)
    out = run(capsys, "--dataset", str(toy.dataset(train=mixed_rows()).path), "--rows", "4")
    out = out.replace(str(model), "MODEL").replace(str(toy.root), "ROOT")
    assert re.sub(r"toy-[0-9a-f]{12}", "toy-DIGEST", out) == GOLDEN.read_text("utf-8")


def test_colours_replace_brackets_on_a_terminal_and_nothing_of_a_row_acts_on_it(toy):
    dataset = toy.dataset(train=mixed_rows())
    found = preview_dataset(toy.project(max_length=128), dataset.path, "train", Wanted(rows=1))
    coloured = render(found, screen=Screen(columns=60))
    assert "\x1b[32mF\x1b[0m\x1b[32mi\x1b[0m" in coloured
    assert "⟦" not in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert all(line.isprintable() for line in bare.split("\n"))
    plain = render(found, screen=Screen(columns=60, colour=False))
    assert "\x1b" not in plain
    assert "⟦Fine.⏎\n" in plain


def test_lines_fit_the_terminal_whatever_a_row_holds(toy):
    rows = [chat("wide", ("user", "日本語" * 60), ("assistant", "\u202e" * 40 + "🎉" * 30))]
    found = preview_dataset(toy.project(max_length=4096), toy.dataset(train=rows).path, "train", Wanted())
    from rich.cells import cell_len

    shown = [line for line in render(found, 0, Screen(40, colour=False)).split("\n") if line.startswith("  │")]
    assert len(shown) > 10
    assert max(map(cell_len, shown)) <= 40
    assert "".join(line[4:] for line in shown).count("🎉") == 30


def test_a_cut_and_what_is_not_shown_add_up(toy):
    rows = [chat("long", ("user", "x" * 500), ("assistant", "y" * 50))]
    found = preview_dataset(toy.project(max_length=200), toy.dataset(train=rows).path, "train", Wanted())
    (sequence,) = found.rows[0].sequences
    before, note, after = shown_parts(sequence, 40)
    assert isinstance(note, str)
    hidden = int(re.findall(r"… (\d+) tokens", note)[0])
    assert len(before) + hidden + len(after) == 200 == len(sequence.tokens.input_ids)
    assert found.ledger.trained.truncated_tokens == sum(count for _, count in sequence.tokens.cuts) > 300


# ------------------------------------------------------------------------------------------------------------- as JSON


def test_json_holds_ids_texts_and_flags_of_every_token(toy, model, capsys):
    toy.project()
    found = as_json(capsys, "--dataset", str(toy.dataset().path), "--rows", "1")
    (row,) = found["rows"]
    (sequence,) = row["sequences"]
    supervised = load_supervisor(model, 256).encode(toy_rows(1)[0]["messages"])
    assert found["schema"] == "assay/preview/1"
    assert (row["row_id"], row["path"], row["line"]) == ("r0", "rows.jsonl", 1)
    assert sequence["input_ids"] == supervised.input_ids
    assert sequence["supervised"] == supervised.supervised
    carried = [text["text"] for text in sequence["texts"] if sequence["supervised"][text["first"]]]
    assert carried == ["n", "o", "<|im_end|>"]
    assert [text["special"] for text in sequence["texts"]][-3:] == [False, False, True]


def test_the_ledger_counts_the_whole_split(toy, capsys):
    toy.project(max_length=128)
    ledger = as_json(capsys, "--dataset", str(toy.dataset(train=mixed_rows()).path), "--rows", "0")["ledger"]
    assert (ledger["rows_in"], ledger["rows_trained"], ledger["rows_refused"]) == (6, 5, 1)
    assert ledger["refused"] == {"no-assistant-turn": 1}
    assert ledger["rows_without_supervised_token"] == 1
    assert (ledger["truncated_rows"], ledger["rows_with_end_of_turn"]) == (1, 5)
    assert ledger["sequence_tokens"]["max"] == 128
    assert ledger["longest"][0]["tokens"] == 128


def test_rows_that_are_not_trained_say_so(toy, capsys):
    toy.project(max_examples=2)
    dataset = str(toy.dataset(train=toy_rows(6)).path)
    chosen = as_json(capsys, "--dataset", dataset)
    assert len(chosen["rows"]) == 2
    assert chosen["ledger"]["rows_not_chosen"] == 4
    left = next(row["row_id"] for row in toy_rows(6) if row["row_id"] not in {r["row_id"] for r in chosen["rows"]})
    assert "not trained: train.max_examples takes other rows" in run(capsys, "--dataset", dataset, "--row", left)


@pytest.mark.parametrize(
    ("only", "expected"),
    [("truncated", ["long"]), ("refused", ["unanswered"]), ("no-end-of-turn", [])],
)
def test_only_some_rows_are_shown(toy, capsys, only, expected):
    toy.project(max_length=128)
    found = as_json(capsys, "--dataset", str(toy.dataset(train=mixed_rows()).path), "--only", only)
    assert [row["row_id"] for row in found["rows"]] == expected
    assert found["ledger"]["rows_in"] == 6


def test_a_filter_that_no_row_fits_says_so(toy, capsys):
    toy.project()
    out = run(capsys, "--dataset", str(toy.dataset().path), "--only", "refused")
    assert "\nno row fits what was asked for\n" in out


def test_a_turn_that_trains_no_end_is_found(toy, capsys, tmp_path):
    endless = tmp_path / "endless"
    write_tiny_tokenizer(endless, template=CHATML.replace("'<|im_end|>' + ", "''+"))
    toy.model = endless
    toy.project()
    found = as_json(capsys, "--dataset", str(toy.dataset(train=toy_rows(2)).path), "--only", "no-end-of-turn")
    assert [row["end_of_turn_supervised"] for row in found["rows"]] == [False, False]
    assert found["ledger"]["rows_with_end_of_turn"] == 0


# ------------------------------------------------------------------------------------------------------------- methods


PAIR = {"prompt": said("user", "2+2?"), "chosen": said("assistant", "4"), "rejected": said("assistant", "five")}


@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_both_answers_of_a_pair_are_shown(toy, capsys, method):
    toy.project(method=method)
    dataset = str(toy.dataset(train=[of_kind("pair", **PAIR)]).path)
    (row,) = as_json(capsys, "--dataset", dataset)["rows"]
    answers = {sequence["name"]: sum(sequence["supervised"]) for sequence in row["sequences"]}
    assert answers == {"chosen": 2, "rejected": 5}
    out = run(capsys, "--dataset", dataset)
    assert "⟦4<|im_end|>⟧" in out
    assert "⟦five<|im_end|>⟧" in out


@pytest.mark.parametrize(("label", "word"), [(True, "good"), (False, "bad")])
def test_kto_shows_the_label(toy, capsys, label, word):
    toy.project(method="kto")
    row = of_kind("k", prompt=said("user", "Hi"), completion=said("assistant", "Yo"), label=label)
    dataset = str(toy.dataset(train=[row]).path)
    assert f"label: {word} answer" in run(capsys, "--dataset", dataset)
    assert as_json(capsys, "--dataset", dataset)["rows"][0]["label"] is label


def test_grpo_shows_the_prompt_and_the_reference(toy, capsys):
    toy.project(method="grpo", rewards=[{"use": "exact_match"}])
    dataset = str(toy.dataset(train=[of_kind("g", prompt=said("user", "2+2?"), reference="4\x1b[0m")]).path)
    out = run(capsys, "--dataset", dataset)
    assert "reference: 4\\x1b[0m" in out
    assert "│ <|im_start|>assistant⏎\n" in out
    assert "⟦" not in out
    (row,) = as_json(capsys, "--dataset", dataset)["rows"]
    assert (row["reference"], row["sequences"][0]["name"]) == ("4\x1b[0m", "prompt")


def test_every_piece_of_a_text_is_counted_and_the_first_ones_are_shown(toy, capsys):
    toy.project(method="text", max_length=8)
    dataset = str(toy.dataset(train=[of_kind("t", text="abcdefg" * 6)]).path)
    out = run(capsys, "--dataset", dataset)
    assert re.findall(r"piece \d+ of \d+", out) == ["piece 1 of 6", "piece 2 of 6", "piece 3 of 6"]
    assert "… 3 more pieces, 24 tokens, not shown" in out
    pieces = as_json(capsys, "--dataset", dataset)["rows"][0]["sequences"]
    assert sum(sum(piece["supervised"]) for piece in pieces) == 42
    assert run(capsys, "--dataset", dataset, "--max-tokens", "0").count("piece ") == 6


# -------------------------------------------------------------------------------------------------------------- a page


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "style"}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_holds_no_script_and_the_text_of_the_rows(toy, capsys):
    toy.project(max_length=128)
    html = run(capsys, "--dataset", str(toy.dataset(train=mixed_rows()).path), "--format", "html")
    page = Page()
    page.feed(html)
    assert not page.tags & {"script", "img", "link", "iframe"}
    text = "".join(page.text)
    assert "Fine.⏎\n- héé<|im_end|>" in text
    assert "\\x1b[31m \\u202eevil" in text
    assert "cannot be trained (no-assistant-turn)" in text
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert 'title="token 0, id 1: &lt;|im_start|&gt;; no loss"' in html


# ---------------------------------------------------------------------------------------------------------- a raw file


def test_a_file_is_previewed_before_it_is_curated(toy, capsys):
    toy.project()
    rows = ['{"prompt": "Say a", "completion": "a"}', '{"what": "is this"}', '{"prompt": "Say b", "completion": "b"}']
    Path("raw.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    found = as_json(capsys, "--source", "raw.jsonl")
    assert [(row["path"], row["line"]) for row in found["rows"]] == [("raw.jsonl", 1), ("raw.jsonl", 3)]
    assert found["ledger"]["rows_unreadable"] == 1
    assert "⟦b<|im_end|>⟧" in run(capsys, "--source", "raw.jsonl")


# ------------------------------------------------------------------------------------------------------------- refused


def refused(toy: ToyProject, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    dataset = toy.dataset(test=[])
    return run(capsys, "--dataset", str(dataset.path), *words, expected=ExitCode.USAGE)


def test_a_dataset_that_was_changed_is_refused(toy, capsys):
    toy.project()
    dataset = toy.dataset()
    (dataset.folder / "data" / "train.jsonl").write_text("", "utf-8")
    assert "files do not match" in run(capsys, "--dataset", str(dataset.path), expected=ExitCode.USAGE)


def test_an_empty_or_missing_split_is_refused(toy, capsys):
    toy.project()
    assert "the test split is empty" in refused(toy, capsys, "--split", "test")
    bare = run_stage(Stage("curate", "bare", {}, {}, (), "0", toy.root / "runs"), lambda folder: {})
    assert "the dataset has no test split" in run(
        capsys, "--dataset", str(bare.path), "--split", "test", expected=ExitCode.USAGE
    )


def test_without_a_dataset_curate_is_named(toy, capsys):
    toy.project()
    Path("rows.jsonl").write_text('{"text": "a"}\n', "utf-8")
    assert "run `assay curate` first" in run(capsys, expected=ExitCode.USAGE)


def test_an_unknown_row_and_one_of_several_are_refused(toy, capsys):
    toy.project()
    assert "no row has this id" in refused(toy, capsys, "--row", "zzz")
    several = refused(toy, capsys, "--row", "r")
    assert "several rows have ids that begin so" in several
    assert "r: r0, r1, r10, r11, r12, …" in several


def test_a_model_without_template_is_refused_but_for_plain_text(toy, capsys, tmp_path):
    toy.model = tmp_path / "bare"
    write_tiny_tokenizer(toy.model, template=None)
    toy.project()
    assert "no chat template" in refused(toy, capsys)
    toy.project(method="text")
    Path("raw.jsonl").write_text('{"text": "abc"}\n', "utf-8")
    assert "a⟦bc<|im_end|>⟧" in run(capsys, "--source", "raw.jsonl")


@pytest.mark.parametrize("name", ["nobody/has-this-model", "./no-such-folder"])
def test_a_model_that_is_not_here_is_refused(toy, capsys, name):
    toy.model = name
    toy.project()
    assert "the base model's tokenizer is not on this machine" in refused(toy, capsys)


def test_rows_of_another_kind_are_refused(toy, capsys):
    toy.project(method="dpo")
    assert "the row is not one that method `dpo` trains" in refused(toy, capsys)


def test_a_file_and_a_split_are_refused(toy, capsys):
    toy.project()
    assert "a file and a dataset are named" in refused(toy, capsys, "--source", "rows.jsonl")


@pytest.mark.parametrize(("content", "message"), [("", "holds no row"), ('{"a": 1}\n', "holds no row")])
def test_a_file_without_rows_is_refused(toy, capsys, content, message):
    toy.project()
    Path("raw.jsonl").write_text(content, "utf-8")
    assert message in run(capsys, "--source", "raw.jsonl", expected=ExitCode.USAGE)


def test_no_training_library_is_loaded(toy):
    toy.project()
    dataset = toy.dataset()
    code = "import sys, assay\nassert assay.run(sys.argv[1:]) == 0\nprint({'torch', 'transformers'} & set(sys.modules))"
    command = [sys.executable, "-c", code, "preview", "--dataset", str(dataset.path), "--rows", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
    assert done.stdout.splitlines()[-1] == "set()"
