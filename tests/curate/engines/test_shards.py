"""Files that are looked at one by one give the audit of all of them, whoever does it."""

import itertools
from dataclasses import replace

import pytest

from curate.contamination.search import telling_index
from curate.engines.choice import Engine, engine_of
from curate.engines.merging import merged, wording_of
from curate.engines.ray_audit import _recipe, refuse_what_needs_all_rows
from curate.engines.shards import Counted, ShardFile, Worker
from curate.outputs import render
from curate.request import AuditRequest, Settings, run_settings, settings_of
from curate.rules import all_rules
from curate.rules.base import Scope
from schemas.errors import ConfigError, UserError
from tests.curate.made_rows import chat, distinct_rows, write_rows

COMPARING = tuple(rule.code for rule in all_rules() if rule.scope is Scope.ALL)
QUESTIONS = (
    "Which river flows through the old town of Heidelberg before it joins the Rhine at Mannheim?",
    "How many moons of Jupiter were known to astronomers before the telescope was turned on them?",
    "Why does the moon look larger when it stands close to the horizon than when it is overhead?",
)
COMMON = "Please read the following question with care and then answer it in one short sentence:"


@pytest.fixture
def folder(tmp_path):
    """Shards that differ: in faults, in shape, in size; the same wording is common in all of them together only."""
    rows = tmp_path / "rows"
    rows.mkdir()
    write_rows(rows / "a.jsonl", [*distinct_rows(40), chat(QUESTIONS[0], "The Neckar."), b"{broken", chat("hi", "")])
    asked = [chat(f"{COMMON} {n} {word}?", "Yes.") for n, word in enumerate(itertools.repeat("apples", 14))]
    write_rows(rows / "b.jsonl", [*asked, chat("My mail is jo.doe@posteo.de", "Sent to jo.doe@posteo.de.")])
    write_rows(rows / "c.jsonl", [{"prompt": QUESTIONS[1].upper(), "completion": "None."}, *asked[::-1], [1, 2]])
    write_rows(rows / "d.jsonl", [])
    items = [{"question": question, "answer": "nobody knows"} for question in QUESTIONS]
    write_rows(tmp_path / "items.jsonl", [*items, {"question": f"{COMMON} what is two and two?", "answer": "four"}])
    return tmp_path


def settings_for(folder, **given) -> Settings:
    ignored = given.pop("ignore", COMPARING)
    request = AuditRequest(
        paths=[str(folder / "rows")], against=[str(folder / "items.jsonl")], ignore=ignored,
        engine=Engine("ray"), **given,
    )  # fmt: skip
    return settings_of(request)


def in_shards(settings: Settings):
    """The audit by the functions that workers run, here."""
    recipe = _recipe(settings)
    files = [ShardFile(n, path, str(path), split) for n, (path, split) in enumerate(settings.paths.items())]
    carried = [ShardFile.of(file.as_item()) for file in files]
    worker = Worker(recipe)
    counted = [Counted.of(worker.counted(file).as_item()) for file in carried]
    wording = wording_of(counted, telling_index(worker.base))
    looked = [worker.looked(file, wording.common_runs) for file in carried]
    return merged(recipe, [file.name for file in files], looked, wording)


@pytest.mark.parametrize("form", ["text", "sarif", "junit", "github", "markdown"])
def test_every_format_is_the_same(folder, form):
    settings = settings_for(folder)
    whole = run_settings(replace(settings, engine=Engine()))
    apart = in_shards(settings)
    assert len(whole.findings) > 5
    assert {finding.code for finding in whole.findings} >= {"LEK401", "PII501"}
    assert apart.findings == whole.findings
    for limit in (None, 1, 5):
        assert render(apart, form, limit) == render(whole, form, limit)
    assert apart.exit_code("error") == whole.exit_code("error")
    assert apart.eval_sets == whole.eval_sets


def test_wording_that_is_common_in_all_files_together_is_no_shard_s_alone(folder):
    settings = settings_for(folder)
    worker = Worker(_recipe(settings))
    files = [ShardFile(n, path, str(path)) for n, path in enumerate(settings.paths)]
    index = telling_index(worker.base)
    counted = [worker.counted(file) for file in files]
    assert not any(wording_of([file], index).common_runs.any() for file in counted)
    assert wording_of(counted, index).common_runs.any()


def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(folder):
    settings = settings_for(folder)
    (folder / "rows" / "b.jsonl").unlink()
    audit = in_shards(settings)
    assert [source.path[-7:] for source in audit.corpus.sources] == ["a.jsonl", "c.jsonl", "d.jsonl"]
    assert list(audit.corpus.skipped) == [str(folder / "rows" / "b.jsonl")]
    with pytest.raises(ConfigError) as caught:
        audit.raise_failure()
    assert caught.value.problems[0].where == str(folder / "rows" / "b.jsonl")
    assert caught.value.exit_code == 2


def test_a_file_that_changes_between_the_two_looks_is_an_error(folder):
    settings = settings_for(folder)
    recipe, path = _recipe(settings), folder / "rows" / "a.jsonl"
    worker, file = Worker(recipe), ShardFile(0, path, "a.jsonl")
    wording = wording_of([worker.counted(file)], telling_index(worker.base))
    write_rows(path, distinct_rows(3))
    with pytest.raises(UserError, match="changed while"):
        merged(recipe, ["a.jsonl"], [worker.looked(file, wording.common_runs)], wording)


def test_what_compares_all_rows_is_refused_by_name(folder):
    settings = settings_for(folder, ignore=(), with_statistics=True)
    with pytest.raises(ConfigError) as caught:
        refuse_what_needs_all_rows(replace(settings, paths={**settings.paths}))
    said = "\n".join(line for problem in caught.value.problems for line in problem.lines())
    assert "DUP201 exact-duplicate" in said
    assert "LEK401" not in said
    assert "numbers of the rows" in said


def test_an_address_is_one_of_ray():
    assert engine_of("ray", "10.0.0.1:6379") == Engine("ray", "10.0.0.1:6379")
    with pytest.raises(UserError, match="the engine is another one"):
        engine_of("local", "10.0.0.1:6379")
    with pytest.raises(UserError, match="client server"):
        engine_of("ray", "ray://10.0.0.1:10001")
