"""An honest export passes, and each way to export another model is named by the checks that are about it."""

import json
from pathlib import Path

import pytest
import torch

from evals.release import reading
from evals.release.equivalence import prove
from evals.release.source import Loaded
from schemas.progress import SILENT
from schemas.release_config import ReleaseConfig
from schemas.verdict import Outcome
from tests.evals.release.made_exports import export, plain_load, target
from tests.tiny_model import CHATML, write_tiny_tokenizer

SETTINGS = ReleaseConfig(sequences=20)


def proven(judged, folder, one=None, **settings):
    source, results = judged
    return prove(source, one or target(), folder, results, SETTINGS.model_copy(update=settings), SILENT)


def outcomes(found, outcome=Outcome.FAIL):
    return {check.name for check in found.checks if check.outcome is outcome}


def said(found, name):
    return next(check.message for check in found.checks if check.name == name)


def edit(path: Path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


# ----------------------------------------------------------------------------------------------------------- passes


def test_an_honest_merge_passes_and_is_exact(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path))
    assert outcomes(found, Outcome.PASS) == {check.name for check in found.checks}
    assert (found.outcome, found.exact) == (Outcome.PASS, True)
    assert found.sequences == 20
    assert 0 <= found.max_log_p < 1e-4
    assert found.kl.estimate < 1e-5
    assert found.top_1.estimate == found.greedy.estimate == 1.0
    assert [(task.task, task.items, task.same, task.ties, task.items_needed) for task in found.tasks] == [
        (name, 12, 12, 0, None) for name in ("toy_bits", "toy_say", "toy_test")
    ]


def test_all_sequences_are_read_where_there_are_fewer_than_asked_for(judged, tmp_path):
    assert proven(judged, export(judged[0], tmp_path), sequences=1000).sequences == 36


def test_places_are_spread_where_distributions_are_many(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "HELD", 20 * 6 * 259)  # six places a sequence
    found = proven(judged, export(judged[0], tmp_path))
    assert found.outcome is Outcome.PASS
    assert 100 <= found.positions <= 20 * 6 < found.tokens


def test_no_sequence_goes_without_a_place(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "HELD", 1)
    found = proven(judged, export(judged[0], tmp_path, scale=0.0), target("gguf-f16", lossless=False), max_kl=1e-3)
    assert found.positions == 2 * found.sequences
    assert "divergence" in outcomes(found)


def test_a_long_sequence_is_read_in_pieces(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LOGITS", 16 * 259)
    found = proven(judged, export(judged[0], tmp_path))
    assert found.outcome is Outcome.PASS
    assert found.max_log_p < 1e-4


# ------------------------------------------------------------------------------------------------------- the weights


def test_a_scaled_adapter_fails(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path, scale=0.9))
    assert found.outcome is Outcome.FAIL
    assert "log-probabilities" in outcomes(found)
    assert not any(name.startswith("structure:") for name in outcomes(found))
    assert found.max_log_p > 1e-2


def test_a_merge_that_ignores_alpha_fails(judged, tmp_path):
    settings = json.loads((judged[0].adapter / "adapter_config.json").read_text("utf-8"))
    found = proven(judged, export(judged[0], tmp_path, scale=settings["r"] / settings["lora_alpha"]))
    assert settings["r"] != settings["lora_alpha"]
    assert {"log-probabilities", "task:toy_bits"} <= outcomes(found)


def test_a_base_model_without_its_adapter_fails(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path, scale=0.0))
    assert {"log-probabilities", "task:toy_bits"} <= outcomes(found)
    assert found.greedy.estimate < 1


def test_rounding_to_bfloat16_is_not_lossless(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path, lambda model: model.to(torch.bfloat16)))
    assert "log-probabilities" in outcomes(found)
    assert 1e-3 < found.max_log_p < 0.5


def test_weights_that_are_no_numbers_fail(judged, tmp_path):
    def spoil(model):
        model.model.norm.weight.data[0] = float("nan")
        return model

    found = proven(judged, export(judged[0], tmp_path, spoil))
    assert "log-probabilities" in outcomes(found)
    assert found.max_log_p is None


def test_files_that_cannot_be_loaded_back_fail(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    (folder / "model.safetensors").write_bytes(b"broken")
    found = proven(judged, folder)
    assert found.outcome is Outcome.FAIL
    assert outcomes(found) == {"load"}
    assert "cannot be loaded back" in said(found, "load")


def test_a_model_that_knows_fewer_tokens_cannot_read_what_was_read(judged, tmp_path):
    def narrow(model):
        model.resize_token_embeddings(100)
        return model

    found = proven(judged, export(judged[0], tmp_path, narrow))
    assert {"reading", "structure:vocabulary"} <= outcomes(found)
    assert found.sequences == 0
    assert found.max_log_p is None


# ------------------------------------------------------------------------------------------- what stands around them


def test_another_vocabulary_fails_and_nothing_is_compared_token_by_token(judged, tmp_path):
    def widen(model):
        model.resize_token_embeddings(300)
        return model

    found = proven(judged, export(judged[0], tmp_path, widen))
    assert "structure:vocabulary" in outcomes(found)
    assert "259" in said(found, "structure:vocabulary")
    assert found.max_log_p is None
    assert "log-probabilities" in outcomes(found, Outcome.INCONCLUSIVE)


def test_an_untied_head_fails_though_it_computes_the_same(judged, tmp_path):
    def untie(model):
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.data.clone())
        return model

    found = proven(judged, export(judged[0], tmp_path, untie))
    assert outcomes(found) == {"structure:tied-embeddings"}
    assert said(found, "structure:tied-embeddings") == "embeddings were tied and became apart"
    assert found.max_log_p < 1e-4


def test_swapped_special_tokens_fail(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    path = folder / "tokenizer.json"
    swapped = json.loads(path.read_text("utf-8"))
    names = ("<|im_start|>", "<|im_end|>")
    for token in swapped["added_tokens"]:
        if token["content"] in names:
            token["content"] = names[1 - names.index(token["content"])]
    vocabulary = swapped["model"]["vocab"]
    vocabulary[names[0]], vocabulary[names[1]] = vocabulary[names[1]], vocabulary[names[0]]
    path.write_text(json.dumps(swapped), "utf-8")
    assert {"structure:special-tokens", "structure:tokenizer"} <= outcomes(proven(judged, folder))


def test_another_template_fails(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    edit(folder / "tokenizer_config.json", chat_template=CHATML.replace("'\n' + message", "' ' + message"))
    found = proven(judged, folder)
    assert {"structure:chat-template", "prompts"} <= outcomes(found)
    assert "16 probes" in said(found, "structure:chat-template")


def test_a_template_that_is_only_written_otherwise_passes(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    edit(folder / "tokenizer_config.json", chat_template="{# the same #}" + CHATML)
    assert proven(judged, folder).outcome is Outcome.PASS


def test_no_template_fails(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    write_tiny_tokenizer(folder, template=None)
    found = proven(judged, folder)
    assert {"structure:chat-template", "task:toy_say"} <= outcomes(found)


def test_another_end_of_answers_fails(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    edit(folder / "generation_config.json", eos_token_id=7)
    edit(folder / "config.json", eos_token_id=7)
    found = proven(judged, folder)
    assert "structure:stop-tokens" in outcomes(found)
    assert said(found, "structure:stop-tokens") == "[2] became [7]"


def test_other_settings_of_generation_fail(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    edit(folder / "generation_config.json", do_sample=True, temperature=0.3)
    found = proven(judged, folder)
    assert outcomes(found) >= {"structure:generation-config"}
    assert "temperature None became 0.3" in said(found, "structure:generation-config")


def test_another_tokenizer_fails(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    path = folder / "tokenizer.json"
    other = json.loads(path.read_text("utf-8"))
    other["pre_tokenizer"]["add_prefix_space"] = True
    path.write_text(json.dumps(other), "utf-8")
    found = proven(judged, folder)
    assert "structure:tokenizer" in outcomes(found)
    assert "become other tokens" in said(found, "structure:tokenizer")


def test_another_context_fails(judged, tmp_path):
    folder = export(judged[0], tmp_path)
    edit(folder / "config.json", max_position_embeddings=1024)
    assert outcomes(proven(judged, folder)) == {"structure:context"}


# -------------------------------------------------------------------------------------------------- forms that lose


def rounded_load(source, folder):
    """What a form of few bits gives back."""
    loaded = plain_load(source, folder)
    for weight in loaded.model.parameters():
        weight.data = weight.data.to(torch.bfloat16).float()
    return Loaded(loaded.model, loaded.tokenizer)


LOSSY = target("gguf-q8_0", lossless=False, load=rounded_load)


def test_a_lossy_form_with_few_items_is_inconclusive_and_says_how_many_would_decide(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path), LOSSY)
    assert "log-probabilities" not in {check.name for check in found.checks}
    assert found.outcome is Outcome.INCONCLUSIVE
    unsure = outcomes(found, Outcome.INCONCLUSIVE)
    assert unsure
    assert all(name.startswith("task:") for name in unsure)
    assert "divergence" in outcomes(found, Outcome.PASS)
    needed = [task.items_needed for task in found.tasks if f"task:{task.task}" in unsure and task.same == task.items]
    assert set(needed) == {238}


def test_a_lossy_form_passes_with_a_margin_that_its_items_can_show(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path), LOSSY, margin=0.6)
    assert found.outcome is Outcome.PASS
    assert not found.exact


def test_a_lossy_form_that_lost_nothing_needs_no_interval(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path), target("gguf-f16", lossless=False))
    assert (found.outcome, found.exact) == (Outcome.PASS, True)


def test_a_lossy_form_that_is_another_model_fails(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path, scale=0.0), target("gguf-q4_0", lossless=False), max_kl=1e-3)
    assert "divergence" in outcomes(found)


def test_too_few_sequences_are_no_evidence_of_a_small_divergence(judged, tmp_path):
    found = proven(judged, export(judged[0], tmp_path), LOSSY, sequences=5, margin=0.9)
    assert outcomes(found, Outcome.INCONCLUSIVE) == {"divergence"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_was_judged_in_fewer_bits_is_judged_by_divergence(judged, tmp_path, dtype):
    from dataclasses import replace

    source, results = judged
    found = prove(replace(source, dtype=dtype), target(), export(source, tmp_path), results, SETTINGS, SILENT)
    names = {check.name for check in found.checks}
    assert "divergence" in names
    assert not names & {"log-probabilities", "record"}
