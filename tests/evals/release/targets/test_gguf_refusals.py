"""What has no equal in GGUF is refused before anything is written, and said in words."""

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from evals.release.source import Source
from evals.release.targets import gguf_f16, gguf_q8_0, merged
from schemas.errors import UserError
from tests.evals.release.made_source import made_source, write_sentencepiece_tokenizer, write_tokenizer
from tests.tiny_model import write_tiny_tokenizer


def refused(source: Source, out: Path) -> tuple[str, str]:
    """What is said, and what was found; no file is written."""
    with pytest.raises(UserError) as error:
        gguf_f16.export(source, out, "toy")
    assert not out.exists()
    return error.value.problems[0].what, error.value.problems[0].found


def with_config(source: Source, **settings: Any) -> Source:
    path = source.base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")
    return source


def test_other_architecture_is_refused_by_name(tmp_path):
    source = with_config(made_source(tmp_path), model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    assert refused(source, tmp_path / "gguf") == ("this architecture is not written as GGUF", "Qwen2ForCausalLM")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "hidden_act gelu"),
        ({"model_type": "mistral", "sliding_window": 128}, "sliding_window 128"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "rope_type yarn"),
    ],
)
def test_parts_that_would_be_lost_are_refused(settings, found, tmp_path):
    source = with_config(made_source(tmp_path), **settings)
    what, named = refused(source, tmp_path / "gguf")
    assert what == "this model has parts that GGUF's `llama` would lose when it is read back"
    assert named == found


def changed_tokenizer(change: Callable[[dict[str, Any]], None], source: Source) -> Source:
    path = source.base / "tokenizer.json"
    written = json.loads(path.read_text("utf-8"))
    change(written)
    path.write_text(json.dumps(written), "utf-8")
    return source


NO_EQUAL = "this tokenizer cannot be written as GGUF: nothing that reads GGUF would split text as it does"
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "normalizer": (lambda t: t.update(normalizer={"type": "NFC"}), "NFC"),
    "no pre-tokenizer": (lambda t: t.update(pre_tokenizer=None), '"pre_tokenizer": null'),
    "prefix space": (
        lambda t: t["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
        "add_prefix_space",
    ),
    "ignored merges": (lambda t: t["model"].update(ignore_merges=True), "ignore_merges"),
    "dropout": (lambda t: t["model"].update(dropout=0.1), "dropout"),
    "stripping token": (lambda t: t["added_tokens"][2].update(lstrip=True), "'<|im_end|>' with lstrip"),
    "no vocabulary": (lambda t: t["model"].pop("vocab"), "KeyError"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_tokenizer_that_is_not_exactly_known_is_refused(kind, tmp_path):
    change, found = CHANGES[kind]
    what, named = refused(changed_tokenizer(change, made_source(tmp_path)), tmp_path / "gguf")
    assert what == NO_EQUAL
    assert found in named


def test_unknown_pre_tokenizer_is_refused_never_guessed(tmp_path):
    source = made_source(tmp_path)
    write_tokenizer(source.base, "other")
    what, named = refused(source, tmp_path / "gguf")
    assert what == NO_EQUAL
    assert "Punctuation" in named


def test_vocabulary_without_merges_is_refused(tmp_path):
    source = made_source(tmp_path, cut="gpt-2")
    write_tiny_tokenizer(source.base)
    assert refused(source, tmp_path / "gguf") == (NO_EQUAL, "a vocabulary without merges")


def test_more_tokens_than_rows_are_refused(tmp_path):
    source = with_config(made_source(tmp_path), vocab_size=200)
    assert refused(source, tmp_path / "gguf") == (NO_EQUAL, "a token with id 267")


def test_token_that_is_put_elsewhere_than_before_or_after_is_refused(tmp_path):
    source = made_source(tmp_path)
    write_tiny_tokenizer(source.base, start="<|endoftext|>")
    what, named = refused(source, tmp_path / "gguf")
    assert what == NO_EQUAL
    assert named.startswith("[0, ")


def drop_a_split(written: dict[str, Any]) -> None:
    written["model"]["merges"].remove(["th", "e"])


def repeat_later(written: dict[str, Any]) -> None:
    written["model"]["merges"].sort(key=lambda pair: len(pair[0]))


def metaspace(written: dict[str, Any]) -> None:
    written["normalizer"] = None
    written["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (drop_a_split, "no merge of 'th' and 'e', whose text is a token"),
        (repeat_later, "at several places of the list"),
        (metaspace, "Metaspace"),
        (lambda written: written["added_tokens"][1].update(normalized=True), "'<s>' with normalized"),
    ],
)
def test_merges_that_scores_cannot_say_are_refused(change, found, tmp_path):
    source = changed_tokenizer(change, made_source(tmp_path, cut="sentencepiece"))
    what, named = refused(source, tmp_path / "gguf")
    assert what.startswith("this tokenizer cannot be written as GGUF: ")
    assert found in named


def test_sentencepiece_without_a_byte_is_refused(tmp_path):
    source = made_source(tmp_path, cut="sentencepiece")

    def lose_a_byte(written: dict[str, Any]) -> None:
        written["model"]["vocab"]["odd"] = written["model"]["vocab"].pop("<0x0A>")

    _, named = refused(changed_tokenizer(lose_a_byte, source), tmp_path / "gguf")
    assert named == "no token <0x0A>"
    assert write_sentencepiece_tokenizer(source.base) == 304


def test_weight_beyond_half_precision_is_refused(tmp_path):
    source = made_source(tmp_path)
    path = source.base / "model.safetensors"
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"][5, 5] = 1e5
    save_file(tensors, path, metadata={"format": "pt"})
    for target in (gguf_f16, gguf_q8_0):
        with pytest.raises(UserError, match="too large for GGUF's half-precision"):
            target.export(source, tmp_path / "gguf", "toy")
    assert not (tmp_path / "gguf").exists()


@pytest.fixture
def short_files() -> Iterator[None]:
    """Files may not grow past 30 kB, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("target", [gguf_f16, merged], ids=["gguf", "merged"])
@pytest.mark.usefixtures("short_files")
def test_disk_that_ends_in_the_middle_of_the_weights_is_said_in_words(target, tmp_path_factory, request):
    source = request.getfixturevalue("small_source")
    with pytest.raises(UserError) as error:
        target.export(source, tmp_path_factory.mktemp("out"), "toy")
    assert (
        error.value.problems[0].what == "a file would be larger than this disk or account allows; nothing was published"
    )


@pytest.fixture(scope="module", autouse=True)
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Made before files are kept short."""
    return made_source(tmp_path_factory.mktemp("small"))
