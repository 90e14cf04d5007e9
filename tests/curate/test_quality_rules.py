import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers import answers
from curate.language import languages
from curate.rules import all_rules
from curate.rules.base import Example
from curate.rules.control_character import ControlCharacter
from curate.rules.hidden_unicode import HiddenUnicode
from curate.rules.looping_answer import LoopingAnswer
from curate.rules.mojibake import Mojibake
from curate.rules.smuggled_text import SmuggledText
from tests.curate.made_rows import corpus_from, corpus_of

RULES = [rule for rule in all_rules() if rule.code.startswith("QUA")]


def found_by(rule, corpus):
    return list(rule.find(corpus))


def chat(prompt, answer):
    return corpus_of(Example.chat(prompt, answer))


def test_an_answer_stands_beside_the_last_user_turn_of_its_own_row():
    corpus = corpus_from(
        {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}]},
        {"messages": [{"role": "assistant", "content": "alone"}]},
        {
            "messages": [
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "2"},
                {"role": "assistant", "content": "still 2"},
            ]
        },
    )
    assert answers(corpus).select("index", "turn", "content", "prompt").rows() == [
        (0, 1, "1", "one"),
        (1, 0, "alone", None),
        (2, 1, "2", "two"),
        (2, 2, "still 2", "two"),
    ]


def test_rejected_answers_are_left_out():
    corpus = corpus_from({"prompt": "Why?", "chosen": "So it is.", "rejected": "I'm sorry, but I cannot help."})
    assert answers(corpus)["content"].to_list() == ["So it is."]


def test_languages_of_prose_and_none_for_what_is_not():
    texts = {
        "Warum ist der Himmel am Abend rot und am Mittag blau?": "de",
        "Il fait beau aujourd'hui et je vais au marché.": "fr",
        "今天天气很好，我们去公园吧。": "zh",
        "私は昨日東京に行きました。とても楽しかったです。": "ja",
        "Сегодня хорошая погода, и мы идём в парк.": "ru",
        "The sky is blue and it is the air that does this for you.": "en",
        "```python\nfor value in values:\n    print(value)\n```": None,
        "https://example.org/der/himmel/ist/blau": None,
        "ok": None,
        "": None,
        "\x00\ufffe\ufdd0": None,
    }
    found = languages(pl.Series("said", [*texts, None], dtype=pl.String))
    assert found.name == "said"
    assert dict(zip(texts, found.to_list(), strict=False)) == texts
    assert found[-1] is None
    assert languages(pl.Series([], dtype=pl.String)).to_list() == []


@given(st.lists(st.one_of(st.none(), st.text(max_size=300)), max_size=6))
def test_languages_answer_for_every_text(texts):
    found = languages(pl.Series(texts, dtype=pl.String))
    assert len(found) == len(texts)
    assert all(code is None or code.isalpha() for code in found)


@given(st.text(alphabet="abcdefghij ", min_size=24, max_size=60), st.integers(8, 20))
def test_a_piece_that_follows_itself_is_found_whatever_it_is(piece, repeats):
    words = set(piece.split())
    hits = found_by(LoopingAnswer(), chat("Why?", "It is so because " + piece * repeats))
    letters = sum(map(str.isalpha, piece))
    if len(words) > 1 and letters * 10 >= len(piece) * 7:
        assert [hit.turn for hit in hits] == [1]
        assert hits[0].evidence["repeats"] >= repeats - 1


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_a_refrain_is_no_loop(repeats):
    assert found_by(LoopingAnswer(), chat("Why?", "The river ran and the rain fell on the old town. " * repeats)) == []


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", ["crème brûlée à la carte", "Привет, мир", "日本語のテキスト", "“quoted” – it’s"])
def test_utf8_that_was_read_in_a_western_encoding_is_garbled(text, encoding):
    garbled = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    assert found_by(Mojibake(), chat(text, "ok")) == []
    hits = found_by(Mojibake(), chat(garbled, "ok"))
    assert [hit.evidence["read_as"] for hit in hits] == ["Windows-1252"]


def test_utf8_that_was_read_in_a_cyrillic_encoding_is_garbled():
    text = "Сегодня хорошая погода"
    garbled = "".join(bytes([byte]).decode("cp1251", "ignore") or chr(byte) for byte in text.encode())
    assert [hit.evidence["read_as"] for hit in found_by(Mojibake(), chat(garbled, "ok"))] == ["Windows-1251"]
    assert found_by(Mojibake(), chat(text, "«С…» — «Р», ёлка")) == []


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40))
def test_what_tags_hide_is_read_and_removed(said):
    text = "seen" + "".join(chr(0xE0000 + ord(char)) for char in said) + "!"
    (hit,) = found_by(SmuggledText(), chat(text, "ok"))
    assert hit.evidence == {"hidden": said, "chars": len(said)}
    assert SmuggledText().rewrite(text) == "seen!"


@given(st.binary(min_size=2, max_size=40))
def test_what_variation_selectors_hide_is_removed(data):
    text = "a" + "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in data) + "b"
    assert len(found_by(SmuggledText(), chat(text, "ok"))) == 1
    assert SmuggledText().rewrite(text) == "ab"


def test_what_is_hidden_reaches_the_message_escaped():
    text = "a" + "".join(chr(0xE0100 + byte - 16) for byte in b"\x1b[31mred")
    (hit,) = found_by(SmuggledText(), chat(text, "ok"))
    assert "\x1b" not in hit.message
    assert hit.evidence["hidden"] == "\\x1b[31mred"


def test_fixes_leave_what_scripts_need():
    khmer, flag = "មូ\u200bល", "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert HiddenUnicode().rewrite(f"a\u200bb {khmer}") == f"ab {khmer}"
    assert SmuggledText().rewrite(flag) == flag
    assert ControlCharacter().rewrite("a\x1b[31mred\x1b[0m\tb\n") == "ared\tb\n"


HOSTILE = {
    "spaces": " " * 1_000_000,
    "fences": "```\n" * 250_001,
    "backticks": "`a" * 500_000,
    "tags": "<a" * 500_000,
    "brackets": "[INST]" * 150_000,
    "base64": "aB3/" * 250_000,
    "commas": "a," * 500_000,
    "polite": "Sure! " * 150_000 + "Let me know if",
    "human": "Human: a\n" * 100_000,
    "flags": "\U0001f3f4\U000e0067" * 200_000,
    "leads": "\u00e2\u20ac" * 300_000,
    "selectors": "\ufe00\ufe01" * 300_000,
    "periods": ("ab cd " * 50_000 + "x") * 3,
    "one letter": "a" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_hostile_text_of_a_megabyte_is_read_to_its_end(rule, name):
    corpus = chat(HOSTILE[name][:1000], HOSTILE[name])
    hits = found_by(rule(), corpus)  # quadratic work on a megabyte would take hours
    assert len({(hit.index, hit.turn) for hit in hits}) == len(hits)
    assert all(len(hit.message) < 1000 and len(str(hit.evidence)) < 5000 for hit in hits)
