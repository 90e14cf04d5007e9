"""The texts of tokens: whole characters, nothing lost, nothing invisible."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.load_supervisor import load_supervisor
from curate.supervision import Supervisor
from tests.tiny_model import write_tiny_tokenizer
from train.preview_text import visible_texts
from train.token_texts import TokenReader


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Supervisor:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return load_supervisor(folder, 1 << 20)


@pytest.fixture(scope="module")
def reader(supervisor: Supervisor) -> TokenReader:
    return TokenReader(supervisor.tokenizer, supervisor.eos_token_id)


characters = st.text(st.characters(codec="utf-8"), max_size=40)


@given(question=characters, answer=characters)
def test_the_texts_of_a_row_are_the_rendered_row(question, answer, supervisor, reader):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    row = supervisor.encode(messages)
    texts = reader.read(row.input_ids)
    assert "".join(text.text for text in texts) == supervisor.render(messages).removesuffix("\n")
    assert [token for text in texts for token in text.ids] == row.input_ids
    assert [text.first for text in texts] == [sum(len(t.ids) for t in texts[:k]) for k in range(len(texts))]
    shown = "".join(visible_texts(texts))
    assert all(line.isprintable() for line in shown.split("\n"))


def test_bytes_that_make_no_character_are_shown_as_bytes_and_no_neighbour_is_drawn_in(supervisor, reader):
    ids = supervisor.tokenizer.encode("é\ufffda🎉", add_special_tokens=False).ids
    whole = [(text.text, len(text.ids)) for text in reader.read(ids)]
    assert whole == [("é", 2), ("\ufffd", 3), ("a", 1), ("🎉", 4)]
    assert [text.text for text in reader.read(ids[1:-1])] == ["\\xa9", "\ufffd", "a", "\\xf0\\x9f\\x8e"]
    assert [text.text for text in reader.read(ids[:2], breaks=[1])] == ["\\xc3", "\\xa9"]


def test_sentencepiece_tokens_are_read_too():
    from tokenizers import Tokenizer, decoders, models

    names = ["<unk>", "▁Hi", "▁", "<0xC3>", "<0xA9>", "x"]
    tokenizer = Tokenizer(models.BPE({name: k for k, name in enumerate(names)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    reader = TokenReader(tokenizer, 0)
    texts = [(text.text, text.ids, text.special) for text in reader.read([1, 2, 3, 4, 5, 0])]
    assert texts == [
        (" Hi", (1,), False), (" ", (2,), False), ("é", (3, 4), False), ("x", (5,), False), ("<unk>", (0,), True),
    ]  # fmt: skip


def test_spaces_are_marked_where_they_are_overlooked(supervisor, reader):
    ids = supervisor.tokenizer.encode(" a b  c \n d<|im_end|> e ✂", add_special_tokens=False).ids
    assert "".join(visible_texts(reader.read(ids))) == "␣a b␣␣c␣⏎\n␣d<|im_end|>␣e \\u2702"
