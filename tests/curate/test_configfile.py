"""Reading assay.yaml: every problem at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.configfile import load_project
from curate.sources import expand_paths
from schemas.errors import ConfigError, UserError

MINIMAL = """\
name: demo
data:
  sources: [rows.jsonl]
gates:
  model:
    tasks:
      spam: {must: improve, detect: 0.2}
evals:
  suites: [spam]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "assay.yaml"
    path.write_text(text, "utf-8")
    return path


def problems(path: Path, *overrides: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_project(path, overrides)
    return [(problem.what, problem.where) for problem in caught.value.problems]


def test_a_minimal_config_has_documented_defaults(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, MINIMAL))
    assert project.config.train.lora.r == 8
    assert project.config.curate.split.test == 0.1
    assert project.runs == tmp_path / "runs"
    assert project.given["name"] == "demo"


def test_exponent_without_a_dot_is_a_number(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, MINIMAL + "train: {learning_rate: 1e-3}\n"))
    assert project.config.train.learning_rate == 0.001


def test_overrides_win_and_are_part_of_what_was_given(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, MINIMAL), ["train.epochs=3", "evals.limit=null"])
    assert project.config.train.epochs == 3
    assert project.config.evals.limit is None
    assert project.given["train"] == {"epochs": 3}


def test_every_problem_is_reported_at_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace("name: demo", "name: De Mo") + "trian: {}\ntrain: {epochs: 0}\n")
    assert problems(path, "evals.limit=0") == [
        ("`name` is not valid", f"{path}:1"),
        ("`train.epochs` is not valid", f"{path}:11"),
        ("`evals.limit` is not valid", "--set evals.limit"),
        ("unknown key `trian`", f"{path}:10"),
    ]


def test_an_unknown_key_suggests_the_near_one(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace("detect", "detct"))
    with pytest.raises(ConfigError) as caught:
        load_project(path)
    (problem,) = caught.value.problems
    assert problem.what == "unknown key `gates.model.tasks.spam.detct`"
    assert problem.help == "did you mean `detect`?"


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "name: other\n")
    assert problems(path) == [("the key 'name' is given twice", f"{path}:10")]


@pytest.mark.parametrize("override", ["epochs", "=3", "train..epochs=3"])
def test_a_malformed_override_is_named(tmp_path: Path, override: str) -> None:
    assert problems(write(tmp_path, MINIMAL), override)[0][0] == "--set needs key=value"


def test_gated_tasks_must_be_run(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace("suites: [spam]", "suites: [other]"))
    with pytest.raises(ConfigError) as caught:
        load_project(path)
    assert caught.value.problems[0].expected == "gates.model.tasks names spam, which evals.suites does not run"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the config is empty"),
        ("a: [", "the config is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", None),
        ("a: &a [*a, *a]", None),
    ],
)
def test_hostile_yaml_is_a_clear_error(tmp_path: Path, text: str, what: str | None) -> None:
    with pytest.raises((UserError, ConfigError)) as caught:
        load_project(write(tmp_path, text))
    if what is not None:
        assert caught.value.problems[0].what == what


def test_nested_aliases_cannot_explode(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UserError, match="too many values"):
        load_project(write(tmp_path, "\n".join(lines)))


def test_a_missing_config_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_project(tmp_path / "assay.yaml")
    assert "assay init" in caught.value.problems[0].help


def test_sources_expand_files_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "notes.txt", "c.csv.gz"):
        (tmp_path / name).write_text("x")
    names = [path.name for path in expand_paths(["b.jsonl", ".", "*.txt"], tmp_path, "here")]
    assert names == ["b.jsonl", "a.jsonl", "c.csv.gz", "notes.txt"]


def test_a_source_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        expand_paths(["rows-*.jsonl"], tmp_path, "assay.yaml: data.sources")
    assert caught.value.problems[0].found.startswith("'rows-*.jsonl' matches nothing")


def test_every_source_that_matches_nothing_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError) as caught:
        expand_paths(["", "empty", "link.jsonl", "none.jsonl"], tmp_path, "here")
    assert [problem.found for problem in caught.value.problems][:2] == [
        "an empty path",
        "'empty' is a folder without data files",
    ]
    assert "which does not exist" in caught.value.problems[2].found
    assert "folder of the config" in caught.value.problems[3].help
    with pytest.raises(ConfigError) as caught:
        expand_paths(["none.jsonl"], tmp_path, "the command line", start="")
    assert caught.value.problems[0].help == "check the path"


def test_a_search_leaves_our_own_results_out_and_a_name_does_not(tmp_path: Path) -> None:
    made = tmp_path / "runs" / "curate" / "x" / "data"
    made.mkdir(parents=True)
    for path in (tmp_path / "rows.jsonl", made / "train.jsonl"):
        path.write_text("x")
    for entry in (".", "**/*.jsonl"):
        assert expand_paths([entry], tmp_path, "", results=tmp_path / "runs") == (tmp_path / "rows.jsonl",)
        assert len(expand_paths([entry], tmp_path, "")) == 2
    for entry in ("runs/curate/x/data", "runs/**/*.jsonl", "runs/curate/x/data/train.jsonl"):
        assert expand_paths([entry], tmp_path, "", results=tmp_path / "runs") == (made / "train.jsonl",)


def test_a_glob_works_in_a_folder_whose_own_name_looks_like_one(tmp_path: Path) -> None:
    folder = tmp_path / "rows [2]"
    folder.mkdir()
    (folder / "a.jsonl").write_text("x")
    assert expand_paths(["*.jsonl"], folder, "") == (folder / "a.jsonl",)


@pytest.mark.parametrize(
    "override",
    [
        "data.sources=['']",
        "data.format=chats",
        'runs="a\\0b"',
        "curate.split.seed=18446744073709551616",
        "curate.split.seed=-1",
        "gates.data.min_rows=1e30",
    ],
)
def test_values_that_no_file_system_or_generator_takes_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, MINIMAL), [override])
    assert [problem.where for problem in caught.value.problems] == [f"--set {override.partition('=')[0]}"]
