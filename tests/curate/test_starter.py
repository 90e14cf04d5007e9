import json
import os
from pathlib import Path

import pytest
import yaml

import assay
from curate.configfile import load_project
from schemas.errors import ExitCode


def chat(text: str, answer: str) -> str:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}) + "\n"


def test_init_writes_a_config_that_runs_on_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("Mails 2024.jsonl").write_text(
        "".join(chat(f"mail {n} says {n * 7919}", "yes" if n % 2 else "no") for n in range(60))
    )
    assert assay.run(["init", "Mails 2024.jsonl"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written == ["assay.yaml", "mails_2024_test.yaml", ".github/workflows/assay.yaml"]
    project = load_project(Path("assay.yaml"))
    assert project.config.name == "mails-2024"
    assert [path.name for path in project.source_files()] == ["Mails 2024.jsonl"]
    assert project.config.curate.split.stratify_by == "answer"
    task = yaml.safe_load(Path("mails_2024_test.yaml").read_text())
    assert task["doc_to_choice"] == ["no", "yes"], "not the YAML booleans"
    assert yaml.safe_load(Path(".github/workflows/assay.yaml").read_text())["jobs"]["gates"]["steps"]
    assert Path("assay.yaml").read_text().count("EDIT") == 1
    assert assay.run(["curate", "--config", "assay.yaml"]) == 0


def test_init_asks_for_free_answers_word_for_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("qa.csv").write_text("question,answer\n" + "".join(f"what is {n}?,the number {n}\n" for n in range(30)))
    assert assay.run(["init", "qa.csv"]) == 0
    task = yaml.safe_load(Path("qa_test.yaml").read_text())
    assert task["output_type"] == "generate_until"
    assert load_project(Path("assay.yaml")).config.curate.split.stratify_by is None


def test_init_of_an_unknown_shape_asks_for_its_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"Frage": "a", "Antwort": "b"}\n' * 3)
    assert assay.run(["init", "rows.jsonl"]) == 0
    text = Path("assay.yaml").read_text()
    assert "Found: Frage, Antwort" in text
    assert load_project(Path("assay.yaml")).config.data.columns == {"prompt": "Frage", "completion": "Antwort"}


def test_init_never_overwrites_unless_told_to(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(chat("a", "b"))
    Path("assay.yaml").write_text("mine\n")
    assert assay.run(["init", "rows.jsonl"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: there is a file already; nothing was written")
    assert Path("assay.yaml").read_text() == "mine\n"
    assert sorted(os.listdir()) == ["assay.yaml", "rows.jsonl"]
    assert assay.run(["init", "rows.jsonl", "--force"]) == 0
    assert Path("assay.yaml").read_text() != "mine\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file holds no row"),
        (
            '{"prompt": "a", "chosen": "b", "rejected": "c"}\n',
            "`assay init` writes no config for preference rows",
        ),
    ],
)
def test_init_refuses_what_cannot_be_trained(tmp_path, monkeypatch, capsys, text, problem):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(text)
    assert assay.run(["init", "rows.jsonl"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {problem}")
    assert os.listdir() == ["rows.jsonl"]


def test_a_hostile_file_name_and_hostile_labels_stay_inside_their_yaml_strings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = 'a"]\nruns: evil #.jsonl'
    Path(name).write_text("".join(chat(f"text {n}", ['", x: [', "#no: 'yes'"][n % 2]) for n in range(40)))
    assert assay.run(["init", name]) == 0
    project = load_project(Path("assay.yaml"))
    assert tuple(project.config.data.sources) == (name,)
    assert project.config.runs == "runs"
    [task] = [path for path in Path().glob("*_test.yaml")]
    assert yaml.safe_load(task.read_text())["doc_to_choice"] == ['", x: [', "#no: 'yes'"]


def test_init_never_replaces_the_data_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = Path("rows.jsonl")
    rows.write_text("".join(chat(f"question {number}", "a b c") for number in range(30)))
    before = rows.read_bytes()
    assert assay.run(["init", "rows.jsonl", "--config", "rows.jsonl", "--force"]) == ExitCode.USAGE
    assert "would replace the data" in capsys.readouterr().err
    assert (os.listdir(), rows.read_bytes()) == (["rows.jsonl"], before)
    assert assay.run(["init", "rows.jsonl", "--config", ".", "--force"]) == ExitCode.USAGE
    assert os.listdir() == ["rows.jsonl"]
