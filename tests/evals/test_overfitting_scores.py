"""What overfitting measurements read: one pass for each model and row, tokens as the model itself scores them."""

import dataclasses
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch

from curate.load_supervisor import load_supervisor
from evals.dataset_items import asked_rows
from evals.evidence import read_evidence
from evals.general_text import DOCUMENTS, GENERAL_SCHEMA, passages
from evals.models import load_models
from evals.packing import Query
from evals.row_facts import ROW_SCHEMA, ReadRows, comparable, row_facts, row_table
from evals.run import dataset_of, evals_stage, evaluate
from evals.scoring import LOSS_SCHEMA, TOKEN_SCHEMA
from evals.token_scores import TokenScorer, token_details
from schemas.errors import ManifestError, UserError
from schemas.manifest import read_manifest
from schemas.progress import Progress
from tests.evals.made_adapter import made_adapter, made_dataset, made_project
from tests.toy_project import toy_rows
from train.rows import read_split

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def models(done, tiny_model_folder):
    return load_models(tiny_model_folder, done[1].folder)


def table(result, name):
    return pl.read_parquet(result.folder / f"{name}.parquet")


def test_the_tables_have_their_columns(done):
    _, _, result = done
    assert dict(table(result, "tokens").schema) == TOKEN_SCHEMA
    assert dict(table(result, "rows").schema) == ROW_SCHEMA
    assert dict(table(result, "general").schema) == GENERAL_SCHEMA
    assert table(result, "tokens").select(*LOSS_SCHEMA).equals(table(result, "losses"))
    evidence = read_evidence(result.folder, done[0].config.gates.model, 0)
    assert (evidence.tokens.height, evidence.rows.height, evidence.general.height) == (46, 23, DOCUMENTS)


def test_tokens_are_scored_as_the_model_itself_does(done, models):
    """z over the vocabulary, log-probability and greediness, each against a plain pass in double precision."""
    _, adapter, result = done
    supervisor = load_supervisor(Path(done[0].config.train.base_model), 256)
    tuned = table(result, "tokens").filter((pl.col("model") == "tuned") & (pl.col("split") == "test"))
    known = {row["row_id"]: row for row in tuned.iter_rows(named=True)}
    for row in read_split(dataset_of(adapter.path).parent, "test")[:4]:
        encoded, found = supervisor.encode(row.messages), known[row.row_id]
        with torch.inference_mode():
            log_p = models.model(input_ids=torch.tensor([encoded.input_ids])).logits[0].double().log_softmax(-1)
        places = [k for k, counted in enumerate(encoded.supervised) if counted]
        for k, place in enumerate(places):
            here, token = log_p[place - 1], encoded.input_ids[place]
            mean = float((here.exp() * here).sum())
            deviation = math.sqrt(float((here.exp() * (here - mean) ** 2).sum()))
            assert found["ids"][k] == token
            assert found["log_p"][k] == pytest.approx(float(here[token]), abs=1e-4)
            assert found["z"][k] == pytest.approx((float(here[token]) - mean) / deviation, abs=1e-3)
            assert found["greedy"][k] == (int(here.argmax()) == token)
        assert (found["runs"], len(found["z"])) == ([len(places)], len(places))
        assert found["nll"] == pytest.approx(-sum(found["log_p"]), abs=1e-4)


def test_a_token_that_cannot_come_weighs_nothing():
    logits = torch.tensor([[0.0, 1.0, -math.inf], [3.0, 3.0, 3.0]])
    first, second = token_details(logits.log_softmax(-1), torch.tensor([1, 0]))
    p = 1 / (1 + math.e)
    mean = p * math.log(p) + (1 - p) * math.log(1 - p)
    assert first.z == pytest.approx((math.log(1 - p) - mean) / math.sqrt(p * (1 - p)), abs=1e-5)
    assert second.log_p == pytest.approx(-math.log(3), abs=1e-5)
    assert second.z == 0.0


def test_the_gate_adds_one_pass_for_each_model_row_and_text(fresh, monkeypatch):
    """Rows that a task asks share their pass with the losses; trained rows and neutral texts pass once a model."""
    project, adapter = fresh
    counted = []
    whole = TokenScorer.__init__

    def kept(scorer, *arguments):
        whole(scorer, *arguments)
        counted.append(scorer)

    monkeypatch.setattr(TokenScorer, "__init__", kept)
    monkeypatch.setattr(TokenScorer, "_may_branch", lambda scorer, row: True)
    evaluate(project, adapter, QUIET)
    (scorer,) = counted
    supervisor = load_supervisor(Path(project.config.train.base_model), 256)
    dataset = dataset_of(adapter).parent
    asked = [
        *asked_rows(supervisor, read_split(dataset, "train"))[:11],
        *asked_rows(supervisor, read_split(dataset, "test")),
    ]
    assert len(asked) == 23
    assert scorer.rows_passed <= 2 * (23 + DOCUMENTS)


def test_what_was_scored_once_is_not_scored_again(fresh, monkeypatch, tiny_model_folder):
    project, adapter = fresh
    first = evaluate(project, adapter, QUIET)
    monkeypatch.setattr(TokenScorer, "_run", None)
    project = made_project(project.root, tiny_model_folder, slice_by=["answer"])  # another evaluation of the same rows
    assert evals_stage(project, adapter).folder != first.folder
    again = evaluate(project, adapter, QUIET)
    for name in ("tokens", "general", "rows"):
        assert table(again, name).equals(table(first, name))


def test_both_sorts_of_a_query_share_a_pass(models):
    scorer = TokenScorer(models.model, 4, 512)
    plain, each = Query((5, 6, 7), (8, 9)), Query((5, 6, 7), (8, 9), each=True)
    found = scorer.score([plain, each])
    assert scorer.rows_passed == 1
    assert found[0].log_likelihood == found[1].log_likelihood
    assert (found[0].each, len(found[1].each)) == ((), 2)
    assert dataclasses.replace(found[1], each=()) == found[0]


def test_neutral_text_is_compared_as_the_models_themselves_do(done, models):
    _, _, result = done
    texts = {one.name: one for one in passages(load_supervisor(Path(done[0].config.train.base_model), 256), [])}
    for row in table(result, "general").head(3).iter_rows(named=True):
        passage = texts[row["document"]]
        ids = torch.tensor([passage.ids])
        log_p = {}
        with torch.inference_mode():
            for name in ("base", "tuned"):
                with models.acting_as(name):
                    log_p[name] = models.model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
        for name in ("base", "tuned"):
            expected = -float(log_p[name].gather(1, ids[0, 1:, None]).sum())
            assert row[name] == pytest.approx(expected, abs=1e-3)
        kl = float((log_p["base"].exp() * (log_p["base"] - log_p["tuned"])).sum())
        assert row["kl"] == pytest.approx(kl, abs=1e-3)
        assert row["kl"] > 0
        assert (row["tokens"], row["bytes"]) == (len(passage.ids) - 1, len(passage.ids) - 1)  # a byte a token


def test_an_adapter_that_does_nothing_does_not_drift(fresh, tiny_model_folder):
    project, _ = fresh
    shutil.rmtree(project.runs)
    adapter = made_adapter(project, made_dataset(project.root, tiny_model_folder), scale=0.0, rows=13)
    general = table(evaluate(project, adapter.path, QUIET), "general")
    assert general["kl"].abs().max() < 1e-6
    assert general["base"].equals(general["tuned"])


def test_text_of_ones_own(fresh, tiny_model_folder, tmp_path):
    project, adapter = fresh
    own = project.root / "prose.txt"
    own.write_text("\n\n".join(["a short line", *[f"{k} " + "word " * 45 for k in range(3)]]), "utf-8")
    project = made_project(project.root, tiny_model_folder, general_text=["prose.txt"])
    result = evaluate(project, adapter, QUIET)
    assert table(result, "general")["document"].to_list() == ["prose.txt:1", "prose.txt:2", "prose.txt:3"]
    assert "general_text" in [ref.role for ref in result.manifest.inputs]
    own.write_text("nothing to see", "utf-8")
    with pytest.raises(UserError, match="no text to measure drift on"):
        evaluate(project, adapter, QUIET)
    own.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        evaluate(project, adapter, QUIET)


# ---------------------------------------------------------------------------------------------------------- rows


def test_rows_are_named_with_their_place(done):
    rows = table(done[2], "rows")
    assert rows.group_by("split").len().sort("split").rows() == [("test", 12), ("train", 11)]
    first = rows.filter(pl.col("row_id") == "r0").row(0, named=True)
    assert (first["path"], first["line"], first["cluster"]) == ("rows.jsonl", 1, 0)
    assert rows["blind"].is_between(0, 1).all()


def test_a_held_out_row_that_was_trained_is_found_whatever_its_case(fresh, tiny_model_folder):
    project, _ = fresh
    leaked = toy_rows(3, "t")
    for row in leaked:
        row["messages"][0]["content"] = row["messages"][0]["content"].upper().replace(" ", "  ")
    shutil.rmtree(project.runs)
    dataset = made_dataset(project.root, tiny_model_folder, train=[*toy_rows(1, "only"), *leaked])
    adapter = made_adapter(project, dataset)
    facts = row_facts(ReadRows(dataset.folder, adapter.folder))
    assert facts["held_out_rows_trained"]["rows"] >= 3
    assert facts["held_out_rows_trained"]["shown"][0] == {"test": "rows.jsonl:1", "train": "rows.jsonl:1"}
    assert facts["trained_rows"] == {"rows": 4, "comparable": 4, "listed": False}
    assert row_table(
        ReadRows(dataset.folder, adapter.folder), [], 0
    ).is_empty()  # too few rows for the blind classifier


def test_what_is_unknown_of_a_run_is_said_to_be(done):
    _, adapter, result = done
    facts = json.loads((result.folder / "results.json").read_bytes())["overfitting"]
    assert facts["trained_rows"] == {"rows": 11, "comparable": 11, "listed": True}
    assert (facts["split_proof"], facts["validation_curve"], facts["canaries"]) == (None, None, None)
    assert facts["artifact"] == {"whole": False, "quantization": None}
    assert facts["unverified"] == list(read_manifest(adapter.path).provenance.notes)


def test_rows_of_large_components_are_left_out_where_no_held_out_row_has_one(fresh, tiny_model_folder):
    project, _ = fresh
    shutil.rmtree(project.runs)
    similar = [{**row, "component": 500} for row in toy_rows(6, "copy")]
    train, test = [*toy_rows(14), *similar], [{**row, "component": 900 + k} for k, row in enumerate(toy_rows(12, "t"))]
    dataset = made_dataset(project.root, tiny_model_folder, train=train, test=test, validation=[])
    rows = read_split(dataset.folder, "train")
    assert [row.row_id for row in comparable(dataset.folder, rows)] == [f"r{k}" for k in range(14)]
    few = [row for row in rows if row.row_id in {"r1", "r2", "copy1"}]
    assert comparable(dataset.folder, few) == few  # too few would be left


def test_the_share_of_lone_rows_is_that_of_held_out_ones(fresh, tiny_model_folder):
    project, _ = fresh
    shutil.rmtree(project.runs)
    test = [{**row, "component": 900 + k // 2 if k < 6 else 950 + k} for k, row in enumerate(toy_rows(12, "t"))]
    similar = [{**row, "component": 500} for row in toy_rows(8, "copy")]
    train = [*({**row, "component": k} for k, row in enumerate(toy_rows(40))), *similar]
    dataset = made_dataset(project.root, tiny_model_folder, train=train, test=test, validation=[])
    found = Counter(row.component == 500 for row in comparable(dataset.folder, read_split(dataset.folder, "train")))
    assert found == {True: 8, False: 8}


# ------------------------------------------------------------------------------------------- earlier evaluations


def test_an_evaluation_without_the_new_tables_is_read(done, tmp_path):
    folder = tmp_path / "earlier"
    shutil.copytree(done[2].folder, folder)
    for name in ("tokens", "rows", "general"):
        (folder / f"{name}.parquet").unlink()
    results = json.loads((folder / "results.json").read_bytes())
    del results["tables"]
    (folder / "results.json").write_text(json.dumps(results), "utf-8")
    evidence = read_evidence(folder, done[0].config.gates.model, 0)
    assert evidence.tokens.is_empty()
    assert evidence.losses.height == 46
    pl.DataFrame({"model": ["base"]}).write_parquet(folder / "tokens.parquet")
    with pytest.raises(ManifestError, match="do not have the columns"):
        read_evidence(folder, done[0].config.gates.model, 0)
