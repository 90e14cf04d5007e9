"""The compare stage on a tiny model: every arm on the same items, failures reported, a stopped run that goes on."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from curate.load_supervisor import load_supervisor
from evals.comparing import run, tables
from evals.comparing.asking import LocalModels
from evals.comparing.run import compare
from evals.decoding import GreedyDecoder
from evals.proofs import recheck
from schemas.errors import ManifestError, UserError
from schemas.progress import Progress
from schemas.stage import run_stage
from tests.evals.made_compare import asking, compared_project, rows
from train.run import data_verdict_of, train_stage

QUIET = Progress(quiet=True)
LOCAL = ["classical", "zero_shot", "few_shot", "few_shot_retrieved", "rag", "tuned", "tuned_rag"]


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_model_folder):
    """Project and adapter; only to be read."""
    return compared_project(tmp_path_factory.mktemp("compare"), tiny_model_folder)


@pytest.fixture(scope="session")
def done(made, tmp_path_factory):
    """All arms that apply, asked once."""
    project, adapter = made
    return compare(asking(project), adapter.path, QUIET)


def record(folder):
    return json.loads((folder / "arms.json").read_bytes())


def statuses(folder):
    return {arm["name"]: arm["status"] for arm in record(folder)["arms"]}


def test_every_arm_that_applies_answers_every_item(done):
    found = record(done.folder)
    assert found["schema"] == "assay/compare-arms/1"
    assert (found["metric"], found["items"]) == ("label", 9)
    assert statuses(done.folder) == {
        **dict.fromkeys(LOCAL, "ran"),
        "full": "not_applicable",
        "endpoint": "not_applicable",
    }
    answers = pl.read_parquet(done.folder / "answers.parquet")
    assert dict(answers.schema) == dict(tables.ANSWERS)
    asked = {name: part["item_id"].to_list() for (name,), part in answers.group_by(["arm"], maintain_order=True)}
    assert list(asked) == LOCAL
    assert {tuple(ids) for ids in asked.values()} == {tuple(f"t{k}" for k in range(9))}
    assert answers["score"].is_in([0.0, 1.0]).all()
    assert answers["formatted"].null_count() == 0
    assert done.manifest.counts == {"items": 9, "arms": 7, "failed_arms": 0}
    classical = answers.filter(pl.col("arm") == "classical")
    assert classical["score"].mean() == 1.0
    assert classical["tokens_out"].to_list() == [0] * 9
    retrieving = answers.filter(pl.col("arm").is_in(["rag", "tuned_rag"]))
    assert set(answers.filter(pl.col("grounded").is_not_null())["arm"]) <= {"rag", "tuned_rag"}
    plain = answers.filter(pl.col("arm") == "tuned")["tokens_in"]
    assert all(a > b for a, b in zip(retrieving.filter(pl.col("arm") == "tuned_rag")["tokens_in"], plain, strict=True))


def test_some_items_are_asked_in_other_words_and_some_are_timed(done):
    same = pl.read_parquet(done.folder / "agreement.parquet")
    assert dict(same.schema) == dict(tables.AGREEMENT)
    assert same.filter(pl.col("arm") == "tuned").group_by("item_id").len()["len"].to_list() == [3, 3]
    assert set(same["variant"]) == {"case", "space", "frame"}
    timed = pl.read_parquet(done.folder / "latency.parquet")
    assert dict(timed.schema) == dict(tables.LATENCY)
    assert timed.group_by("arm", maintain_order=True).len().rows() == [(name, 2) for name in LOCAL]
    assert (timed["seconds"] > 0).all()


def test_the_floor_is_the_most_frequent_trained_label(done):
    floor = record(done.folder)["floor"]
    assert "'yes'" in floor["title"]
    assert floor["scores"] == {f"t{k}": float(k % 3 != 0) for k in range(9)}


def test_an_equal_comparison_is_not_made_again(done, made, monkeypatch):
    project, adapter = made
    monkeypatch.setattr(LocalModels, "ask", None)
    again = compare(asking(project), adapter.path, QUIET)
    assert (again.reused, again.folder) == (True, done.folder)
    assert compare_fingerprint(project, adapter, seed=1) != again.manifest.fingerprint


def compare_fingerprint(project, adapter, **given):
    return run.compare_stage(asking(project, **given), adapter.path, None).fingerprint


def test_the_tuned_model_sees_the_prompt_of_training(made, tmp_path, tiny_model_folder, monkeypatch):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    seen: list[tuple[int, ...]] = []
    whole = GreedyDecoder.decode

    def noted(decoder, asks, ends):
        seen.extend(ask.prompt for ask in asks.values())
        yield from whole(decoder, asks, ends)

    monkeypatch.setattr(GreedyDecoder, "decode", noted)
    compare(asking(project, "tuned", paraphrases=0), adapter.path, QUIET)
    supervisor = load_supervisor(tiny_model_folder, project.config.train.max_length)
    expected = set()
    for row in rows(9, "t"):
        trained = supervisor.encode(row["messages"])
        expected.add(tuple(trained.input_ids[: trained.supervised.index(True)]))
    assert set(seen) == expected


def test_answers_are_those_of_plain_greedy_generation(made, done, tiny_model_folder):
    import torch
    from peft import PeftModel

    from train.adapter import load_weights

    project, adapter = made
    model = PeftModel.from_pretrained(load_weights(tiny_model_folder), adapter.folder / "adapter").eval()
    supervisor = load_supervisor(tiny_model_folder, project.config.train.max_length)
    answers = pl.read_parquet(done.folder / "answers.parquet")
    for row in rows(4, "t"):
        trained = supervisor.encode(row["messages"])
        prompt = torch.tensor([trained.input_ids[: trained.supervised.index(True)]])
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=19, do_sample=False)
        said = supervisor.tokenizer.decode(out[0, prompt.shape[1] :].tolist(), skip_special_tokens=True).strip()
        here = answers.filter(pl.col("arm") == "tuned", pl.col("item_id") == row["row_id"])
        assert here["answer"].to_list() == [said]


def test_what_prompts_begin_with_is_computed_once(done):
    facts = {arm["name"]: arm["facts"] for arm in record(done.folder)["arms"]}
    few, plain = facts["few_shot"], facts["zero_shot"]
    assert few["shared_prompt_tokens"] > 0.6 * few["prompt_tokens"]
    assert plain["shared_prompt_tokens"] < few["shared_prompt_tokens"]


def test_one_item_is_timed_with_its_prompt_read_anew(made, tmp_path, tiny_model_folder, monkeypatch):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    passes = []
    whole = GreedyDecoder._forward

    def noted(decoder, tokens, cache, mask, positions, read):
        passes.append((tokens.shape[1], cache.get_seq_length()))
        return whole(decoder, tokens, cache, mask, positions, read)

    timed = LocalModels.timed

    def alone(models, model, asked):
        passes.clear()
        found = timed(models, model, asked)
        prompt = len(models._prompt(asked))
        assert passes[0] == (prompt, 0), "the whole prompt, on an empty cache, without a draft"
        assert len(passes) == found[0].tokens_out
        return found

    monkeypatch.setattr(GreedyDecoder, "_forward", noted)
    monkeypatch.setattr(LocalModels, "timed", alone)
    made = compare(asking(project, "few_shot", "tuned"), adapter.path, QUIET)
    assert pl.read_parquet(made.folder / "latency.parquet").height == 4


def test_an_arm_that_fails_is_reported_and_the_others_finish(made, monkeypatch):
    project, adapter = made
    whole = LocalModels.ask

    def out_of_memory(models, model, asked):
        if model == "tuned":
            raise RuntimeError("CUDA out of memory\x1b[31m")
        return whole(models, model, asked)

    monkeypatch.setattr(LocalModels, "ask", out_of_memory)
    found = compare(asking(project, "zero_shot", "tuned", "classical", seed=7), adapter.path, QUIET)
    assert statuses(found.folder) == {"classical": "ran", "zero_shot": "ran", "tuned": "failed"}
    failed = record(found.folder)["arms"][2]
    assert failed["reason"].startswith("RuntimeError: CUDA out of memory")
    assert failed["model"] == "tuned"
    assert found.manifest.counts["failed_arms"] == 1
    assert set(pl.read_parquet(found.folder / "answers.parquet")["arm"]) == {"classical", "zero_shot"}


def test_a_prompt_on_which_the_model_fails_has_no_score(tmp_path, tiny_model_folder, monkeypatch):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    whole = GreedyDecoder._decode

    def fails(decoder, batch, *rest, **more):
        if decoder._checked:  # after the first batch
            raise RuntimeError("out of memory")
        return whole(decoder, batch, *rest, **more)

    monkeypatch.setattr(GreedyDecoder, "_decode", fails)
    found = compare(asking(project, "zero_shot", paraphrases=0), adapter.path, QUIET)
    scores = pl.read_parquet(found.folder / "answers.parquet")["score"]
    assert scores.null_count() == 9 - project.config.evals.batch_size
    facts = record(found.folder)["arms"][0]["facts"]
    assert facts["unanswered"] == scores.null_count()
    assert "out of memory" in facts["errors"][0]


def test_no_arm_that_can_be_asked_is_an_error(made, monkeypatch):
    project, adapter = made

    def never(models, model, asked):
        raise RuntimeError("no memory")

    monkeypatch.setattr(LocalModels, "ask", never)
    wanted = asking(project, "zero_shot", "tuned", seed=3)
    with pytest.raises(UserError, match="no arm could be asked") as error:
        compare(wanted, adapter.path, QUIET)
    assert "no memory" in error.value.problems[0].found
    assert not run.compare_stage(wanted, adapter.path, None).folder.exists()


@pytest.mark.parametrize("when", ["between arms", "inside an arm"])
def test_a_stopped_comparison_asks_nothing_again(when, tmp_path, tiny_model_folder, monkeypatch):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    wanted = asking(project, "zero_shot", "few_shot", "tuned", paraphrases=0)
    asked: list[tuple[int, ...]] = []
    whole, stop = GreedyDecoder._decode, [True]

    def noted(decoder, batch, *rest, **more):
        if stop[0] and len(asked) >= (9 if when == "between arms" else 4):
            raise KeyboardInterrupt
        asked.extend(answer.ask.prompt for answer in batch if answer.ask.draft)
        return whole(decoder, batch, *rest, **more)

    monkeypatch.setattr(GreedyDecoder, "_decode", noted)
    with pytest.raises(KeyboardInterrupt):
        compare(wanted, adapter.path, QUIET)
    before = list(asked)
    stop[0] = False
    left = run.compare_stage(wanted, adapter.path, None).folder.with_suffix(".partial")
    left.mkdir()
    (left / "answers.parquet").write_bytes(b"half")  # as a process leaves it that was killed
    made = compare(wanted, adapter.path, QUIET)
    assert set(statuses(made.folder).values()) == {"ran"}
    assert len(before) >= 4
    later = asked[len(before) :]
    repeated = [prompt for prompt in later if prompt in before]
    tuned = set(asked[-9:])
    assert all(prompt in tuned for prompt in repeated), "the tuned model is another, asked the same prompts"
    assert len(asked) == 27


def test_test_rows_never_stand_in_an_index(tmp_path, tiny_model_folder):
    leaked = [{**row, "row_id": f"x{k}"} for k, row in enumerate(rows(3, "t"))]
    project, adapter = compared_project(tmp_path, tiny_model_folder, train=[*rows(14, "r"), *leaked])
    made = compare(asking(project, "few_shot_retrieved", "rag", paraphrases=0), adapter.path, QUIET)
    found = record(made.folder)
    kept_out = found["retrieval"]["kept_out_rows"]
    assert {one["passage"] for one in kept_out} == {"x0", "x1", "x2"}
    assert {one["item"] for one in kept_out} == {"t0", "t1", "t2"}
    assert found["retrieval"]["passages"] == 14


def test_documents_are_retrieved_from_and_gold_passages_are_counted(tmp_path, tiny_model_folder):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("The apple bridge candle story.\n", "utf-8")
    (folder / "b.txt").write_text("Nothing of interest \x00\x01.\n", "utf-8")
    (folder / "c.bin").write_bytes(bytes(range(256)))
    test = rows(9, "t", place="a.txt")
    project, adapter = compared_project(tmp_path, tiny_model_folder, test=test)
    wanted = asking(project, "rag", "tuned_rag", documents="docs", gold="place", paraphrases=0)
    found = record(compare(wanted, adapter.path, QUIET).folder)["retrieval"]
    assert found["over"] == "docs"
    assert found["unreadable"] == 1
    assert found["recall_at_k"]
    assert found["mrr"] is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"arms": ["tuned", "magic"]}, "no such arm"),
        ({"documents": "nowhere"}, "documents"),
        ({"retriever": "nowhere"}, "embedding model"),
        ({"full": "nowhere"}, "manifest"),
        ({"fresh": "kind"}, "no item has the field 'kind'"),
        ({"metric": "f1", "gold": "place"}, "no item has the field 'place'"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused_before_anything_is_asked(given, message, made, monkeypatch):
    project, adapter = made
    monkeypatch.setattr(LocalModels, "ask", None)
    with pytest.raises(UserError, match=message):
        compare(asking(project, **{"arms": None, **given}), adapter.path, QUIET)


def test_no_held_out_split_is_refused(tmp_path, tiny_model_folder):
    project, adapter = compared_project(tmp_path, tiny_model_folder, test=[])
    with pytest.raises(UserError, match="nothing to ask"):
        compare(asking(project), adapter.path, QUIET)


def test_an_adapter_whose_dataset_is_gone_is_refused(tmp_path, tiny_model_folder):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    (place,) = tmp_path.glob("runs/curate/*")
    place.rename(place.with_name("elsewhere"))
    with pytest.raises(ManifestError, match="the manifest cannot be opened"):
        compare(asking(project), adapter.path, QUIET)


def test_an_empty_folder_of_documents_is_refused(made):
    project, adapter = made
    (project.root / "empty").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="no document to retrieve from"):
        compare(asking(project, documents="empty"), adapter.path, QUIET)


def test_passages_that_are_longer_than_the_context_are_cut_and_counted(tmp_path, tiny_model_folder):
    (tmp_path / "long.md").write_text(" ".join(f"apple bridge candle{k}" for k in range(2000)), "utf-8")
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    wanted = asking(project, "rag", documents="long.md", passage_words=300, paraphrases=0)
    made = compare(wanted, adapter.path, QUIET)
    found = record(made.folder)["arms"][0]
    cut = pl.read_parquet(made.folder / "answers.parquet").filter(pl.col("cut"))
    assert found["status"] == "ran"
    assert found["facts"]["cut"] == cut.height > 0
    assert (cut["tokens_in"] <= 512 - 19).all()
    assert (cut["tokens_in"] > 400).all()


def test_fresh_items_are_marked_by_word_or_by_date(tmp_path, tiny_model_folder):
    old, new = (rows(4, prefix, known=day) for prefix, day in (("t", "2024-05-01"), ("n", "2026-01-02T10:00")))
    word = rows(1, "w", known="Fresh")
    project, adapter = compared_project(tmp_path, tiny_model_folder, test=[*old, *new, *word])
    given = {"fresh": "known", "paraphrases": 0}
    for since, expected in ((None, {"w0"}), ("2026-01-01", {"n0", "n1", "n2", "n3", "w0"})):
        made = compare(asking(project, "classical", **given, fresh_since=since), adapter.path, QUIET)
        answers = pl.read_parquet(made.folder / "answers.parquet")
        assert set(answers.filter(pl.col("fresh"))["item_id"]) == expected


def test_a_fully_fine_tuned_run_is_an_arm_of_its_own(tmp_path, tiny_model_folder):
    project, adapter = compared_project(tmp_path, tiny_model_folder)
    (place,) = tmp_path.glob("runs/curate/*")
    full = made_full(project, place)
    relative = full.folder.relative_to(project.root)
    found = compare(asking(project, "zero_shot", "tuned", "full", full=str(relative)), adapter.path, QUIET)
    assert set(statuses(found.folder).values()) == {"ran"}
    answers = pl.read_parquet(found.folder / "answers.parquet")
    said = {name: part["answer"].to_list() for (name,), part in answers.group_by(["arm"])}
    assert said["full"] != said["zero_shot"]
    assert said["full"] != said["tuned"]
    alone = compare(asking(project, "tuned"), full.path, QUIET)
    assert pl.read_parquet(alone.folder / "answers.parquet")["answer"].to_list() == said["full"]


def made_full(project, dataset):
    """A run whose whole model was changed."""
    import torch

    from train.adapter import load_weights

    config = project.config.train.model_copy(update={"method": "full"})
    other = replace(project, config=project.config.model_copy(update={"train": config}))

    def fill(folder):
        model = load_weights(Path(project.config.train.base_model))
        torch.manual_seed(1)
        for weight in model.parameters():
            weight.data += 0.3 * torch.randn_like(weight)
        model.save_pretrained(folder / "model")
        return {}

    return run_stage(train_stage(other, dataset, data_verdict_of(other, dataset)), fill)


def test_a_full_run_of_other_rows_is_refused(tmp_path, tiny_model_folder):
    project, adapter = compared_project(tmp_path / "one", tiny_model_folder)
    other, _ = compared_project(tmp_path / "two", tiny_model_folder, train=rows(13, "r"))
    (place,) = (tmp_path / "two").glob("runs/curate/*")
    full = made_full(other, place)
    with pytest.raises(UserError, match="made of another dataset"):
        compare(asking(project, "full", full=str(full.folder)), adapter.path, QUIET)


def test_what_a_comparison_concludes_can_be_judged_again(done):
    assert recheck(done.manifest, done.folder) == []
    config = done.manifest.config | {"compare": done.manifest.config["compare"] | {"margin": 0.5}}
    (problem,) = recheck(done.manifest.model_copy(update={"config": config}), done.folder)
    assert problem.startswith("compare.json does not follow from the answers: ")
    assert "margin" in problem
