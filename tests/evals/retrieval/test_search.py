"""Searching passages: the same for equal input, in any script, by words or by an embedding model."""

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.retrieval.passages import Passage
from evals.retrieval.search import WordIndex, open_index
from evals.retrieval.words import content_words, search_words, size
from schemas.errors import MissingExtra, UserError

DOCUMENTS = {
    "d1": "The harbour was moved to the north side of the bay in 1913.",
    "d2": "Bread is baked at night. The bakery opens at five.",
    "d3": "\u6e2f\u53e3\u5728\u4e00\u4e5d\u4e00\u4e09\u5e74\u8fc1\u5230\u4e86\u6d77\u6e7e\u5317\u8fb9\u3002",
    "d4": "\u0433\u0430\u0432\u0430\u043d\u044c.",
    "d5": "\u092c\u0902\u0926\u0930\u0917\u093e\u0939 \u0909\u0924\u094d\u0924\u0930",
    "d6": "\u0e17\u0e48\u0e32\u0e40\u0e23\u0e37\u0e2d\u0e2d\u0e22\u0e39\u0e48",
}


def made(texts=DOCUMENTS):
    return [Passage(name, name, text) for name, text in texts.items()]


def names(index, query, k=3):
    (hits,) = index.search([query], k)
    return [hit.passage.passage_id for hit in hits]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("When was the HARBOUR moved?", "d1"),
        ("\u6e2f\u53e3\u4ec0\u4e48\u65f6\u5019\u8fc1\u79fb", "d3"),
        ("\u0433\u0430\u0432\u0430\u043d\u044c", "d4"),
        ("\u092c\u0902\u0926\u0930\u0917\u093e\u0939", "d5"),
        ("\u0e17\u0e48\u0e32\u0e40\u0e23\u0e37\u0e2d", "d6"),
    ],
)
def test_the_right_passage_is_first_in_any_script(query, first):
    assert names(WordIndex(made()), query)[0] == first


def test_what_has_no_word_in_common_is_not_found():
    index = WordIndex(made())
    assert index.search(["xylophone", "", "..."], 3) == [[], [], []]
    assert index.search(["harbour"], 0) == [[]]
    assert WordIndex([]).search(["harbour"], 3) == [[]]
    assert WordIndex([Passage("a", "a", "...")]).search(["..."], 3) == [[]]


def test_the_score_is_bm25():
    texts = {"a": "sand sand sea", "b": "sea wind", "c": "rain"}
    (hits,) = WordIndex(made(texts)).search(["sand sea sea"], 3)

    def part(count, length, holding):
        idf = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
        return idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * length / 2))

    expected = [("a", part(2, 3, 1) + part(1, 3, 2)), ("b", part(1, 2, 2))]
    assert [(hit.passage.passage_id, pytest.approx(hit.score, rel=1e-5)) for hit in hits] == expected


def test_equal_scores_are_ordered_by_id_and_order_does_not_matter():
    same = [Passage(name, name, "one and the same text") for name in ("c", "a", "d", "b")]
    for passages in (same, same[::-1]):
        assert names(WordIndex(passages), "text", 3) == ["a", "b", "c"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(alphabet="ab \u6e2f\u53e3", max_size=12), min_size=1, max_size=12, unique=True),
    st.text(alphabet="ab \u6e2f\u53e3", max_size=8),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_fewer_hits_are_the_first_of_more_and_only_the_passages_decide(texts, query, k, draw):
    passages = [Passage(f"p{number:02}", "p", text) for number, text in enumerate(texts)]
    index = WordIndex(passages)
    (every,) = index.search([query], len(passages))
    assert [hit.score for hit in every] == sorted((hit.score for hit in every), reverse=True)
    assert index.search([query, query], k) == [every[:k]] * 2
    assert WordIndex(draw.sample(passages, len(passages))).search([query], k) == [every[:k]]
    (asked,) = search_words([query])
    held = {one.passage_id for one, words in zip(passages, search_words(texts), strict=True) if set(asked) & set(words)}
    assert {hit.passage.passage_id for hit in every} == held


def test_words_of_any_script():
    assert list(search_words(["Caf\u00e9, caf\u0065\u0301!", "\u6e2f\u53e3 \u30ab"])) == [
        ["caf\u00e9", "caf\u00e9"],
        ["\u6e2f", "\u53e3", "\u30ab", "\u6e2f\u53e3", "\u53e3\u30ab"],
    ]
    assert list(content_words(["It is the 5 harbours of a bay", "\u6e2f\u53e3"])) == [
        ["5", "harbours", "bay"],
        ["\u6e2f\u53e3"],
    ]
    assert [size(text) for text in ("two words", "\u6e2f\u53e3\u8fc1", "", " - ")] == [2, 2, 0, 1]
    assert size("x" * 1000) == 16


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtra) as caught:
        open_index(made(), "bm25")
    assert "assay[evals]" in caught.value.problems[0].help


# ------------------------------------------------------------------------------------------------- embedding model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny BERT with random weights and one token a word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("embedder")
    words = ["[PAD]", "[UNK]", *"the harbour was moved bread is baked at night north sand".split()]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=6
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        max_position_embeddings=16,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_an_embedding_model_finds_the_same_words(model_folder):
    texts = {
        "a": "the harbour was moved",
        "b": "bread is baked at night",
        "c": "bread bread north sand the harbour was",
    }
    index = open_index(made(texts), str(model_folder))
    for name in ("a", "b"):
        (hits,) = index.search([texts[name]], 3)
        assert hits[0].passage.passage_id == name
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert index.facts["passages_cut"] == 1
    assert index.facts["dimensions"] == 16


def test_a_vector_is_the_mean_over_the_mask_whatever_stands_beside_it(model_folder):
    import torch
    from transformers import AutoModel

    from evals.retrieval.embedding import EmbeddingIndex

    model = AutoModel.from_pretrained(model_folder).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([[2, 3, 4]])).last_hidden_state[0]
    expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
    texts = {"a": "the harbour was", "b": "bread is baked at night"}
    index = EmbeddingIndex(made(texts), model_folder)
    assert np.allclose(index.vectors[0], expected, atol=1e-6)
    alone = open_index(made({"a": texts["a"]}), str(model_folder))
    (one,), (other,) = alone.search(["sand night"], 1), index.search(["sand night"], 2)
    assert {hit.passage.passage_id: hit.score for hit in other}["a"] == pytest.approx(one[0].score, abs=2e-6)


def test_an_empty_index_and_empty_queries(model_folder):
    assert open_index([], str(model_folder)).search(["sand"], 2) == [[]]
    assert open_index(made({"a": "sand"}), str(model_folder)).search([], 2) == []


@pytest.mark.parametrize("break_it", ["missing", "config", "weights", "cut off", "incomplete", "code", "pooling"])
def test_a_folder_without_a_usable_model_is_refused(model_folder, tmp_path, break_it):
    from safetensors.torch import load_file, save_file

    for path in model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    match break_it:
        case "missing":
            tmp_path = tmp_path / "nowhere"
        case "config":
            (tmp_path / "config.json").write_text("{", encoding="utf-8")
        case "weights":
            (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        case "cut off":
            weights = (tmp_path / "model.safetensors").read_bytes()
            (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        case "incomplete":
            weights = load_file(tmp_path / "model.safetensors")
            name = next(name for name in sorted(weights) if "layer.1" in name)
            save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "model.safetensors")
        case "code":
            config = json.loads((tmp_path / "config.json").read_bytes())
            config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
            (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
            (tmp_path / "own.py").write_text("raise SystemExit('was run')", encoding="utf-8")
        case "pooling":
            (tmp_path / "1_Pooling").mkdir()
            (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    with pytest.raises(UserError, match="the embedding model cannot be used") as caught:
        open_index(made(), str(tmp_path))
    assert caught.value.problems[0].found
