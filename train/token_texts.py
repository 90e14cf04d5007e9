"""The text of each token, as people read it.

A token may be a part of a character: such tokens are put together until the character is whole. The text comes from the
token ids alone, not from the row, so that it is what the model gets.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
"""How sentencepiece writes a byte that has no token of its own."""
BLANK = "▁"
"""How sentencepiece writes a space."""


class TokenText(NamedTuple):
    """One or more tokens that make whole characters."""

    first: int
    """Index of the first of them."""
    ids: tuple[int, ...]
    text: str
    r"""What they say; bytes that make no character are written as ``\xNN``."""
    special: bool
    """Whether it is a token that stands for no text, such as the end of a turn."""


class TokenReader:
    """Finds the texts of one model's tokens."""

    def __init__(self, tokenizer: Any, eos_token_id: int) -> None:
        added = tokenizer.get_added_tokens_decoder()
        self._name = tokenizer.id_to_token
        self._added: dict[int, str] = {token: entry.content for token, entry in added.items()}
        self._special = {token for token, entry in added.items() if entry.special} | {eos_token_id}
        decoder = tokenizer.decoder
        steps = _step_types(json.loads(decoder.__getstate__())) if decoder is not None else set()
        self._in_bytes = "ByteLevel" in steps
        self._has_byte_tokens = "ByteFallback" in steps
        self._blanks = bool(steps & {"Metaspace", "Replace"})

    def read(self, ids: Sequence[int], breaks: Sequence[int] = ()) -> list[TokenText]:
        """The texts of tokens in order.

        Args:
            ids: tokens of one sequence.
            breaks: indices at which a text must end, because what comes before is another matter.
        """
        ends = {len(ids), *breaks}
        made: list[TokenText] = []
        first = 0
        decode = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        text = ""
        for k, token in enumerate(ids):
            alone = token in self._added or token in self._special
            last = k + 1 in ends or alone or ids[k + 1] in self._added or ids[k + 1] in self._special
            text += decode.decode(self._bytes(token), final=last)
            if last or not decode.getstate()[0]:
                made.append(TokenText(first, tuple(ids[first : k + 1]), text, token in self._special))
                first, text = k + 1, ""
        return made

    def _bytes(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        name: str = self._name(token) or ""
        if self._in_bytes and BYTE_OF.keys() >= set(name):
            return bytes(BYTE_OF[char] for char in name)
        if self._has_byte_tokens and (byte := BYTE_TOKEN.fullmatch(name)):
            return bytes.fromhex(byte[1])
        return (name.replace(BLANK, " ") if self._blanks else name).encode()


def _step_types(decoder: Any) -> set[str]:
    """Types of a decoder and of everything inside it."""

    def types(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("type"), str):
                yield node["type"]
            for value in node.values():
                yield from types(value)
        elif isinstance(node, list):
            for value in node:
                yield from types(value)

    return set(types(decoder))


def _byte_alphabet() -> dict[str, int]:
    """Character -> the byte that it stands for in byte-level vocabularies.

    Source: GPT-2's encoder. Bytes that print in Latin-1 stand for themselves, the others follow from U+0100 on.
    """
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(prints)]
    return {chr(byte): byte for byte in prints} | {chr(0x100 + k): byte for k, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
