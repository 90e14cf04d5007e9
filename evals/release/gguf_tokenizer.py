"""What a GGUF file says of a tokenizer: vocabulary, merges or scores, how text is cut, special tokens, template.

A GGUF names one of the cutting rules that llama.cpp has written down and does not carry the rule itself. A rule is
named only where `tokenizer.json` states exactly that rule; any other is refused, because a near one gives other tokens
for some texts and nobody would be told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.release.gguf_scores import sentencepiece_scores
from schemas.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""GGUF's types of a token (`gguf.TokenType`)."""

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The published expression of Llama 3's tokenizer."""

CUTS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "gpt-2": ([BYTE_LEVEL], False),
    "smollm": ([{"type": "Digits", "individual_digits": True}, BYTE_LEVEL], False),
    "llama-bpe": (
        [
            {"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": False},
            BYTE_LEVEL | {"use_regex": False},
        ],
        True,
    ),
}
"""llama.cpp's name of a rule -> the steps of `pre_tokenizer` that it does, and whether words that are tokens skip the
merges (`ignore_merges`)."""

SENTENCEPIECE = [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
]
"""Steps of the `normalizer` of a tokenizer converted from sentencepiece: a blank before every piece of text."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer in GGUF's terms."""

    model: str
    """`gpt2` (byte-level merges) or `llama` (sentencepiece scores)."""
    pre: str
    """llama.cpp's name of the rule that cuts text before merging."""
    tokens: list[str]
    """One for each row of the embedding; rows without a token have a name that no text gives."""
    types: list[int]
    merges: list[str]
    """Of `gpt2`."""
    scores: list[float]
    """Of `llama`."""
    special: dict[str, int]
    """bos, eos, unk, pad, eot, eom -> id, where there is one."""
    add_bos: bool
    """Whether the first special token goes before every text."""
    add_eos: bool
    template: str
    """Chat template; empty where there is none."""


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The tokenizer of a model's folder.

    Args:
        folder: holds tokenizer.json, and generation_config.json where answers may end in several ways.
        rows: of the model's embedding.

    Raises:
        UserError: the tokenizer has no equal in GGUF, or more tokens than the model.
    """
    from transformers import AutoTokenizer

    from curate.load_supervisor import template_source, tokenizer_settings

    path = folder / "tokenizer.json"
    try:
        written = json.loads(path.read_bytes())
        pieces, vocabulary = written["model"], dict(written["model"]["vocab"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _no_equal(path, f"{type(error).__name__}: {error}"[:200], "a vocabulary in `model.vocab`") from error
    added = [token for token in written.get("added_tokens") or [] if isinstance(token, dict)]
    _check_added(path, added, normalised=written.get("normalizer") is not None)
    tokens, types = _tokens(path, vocabulary, added, rows)
    merges = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in pieces.get("merges") or []]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    add_bos, add_eos = _added_around(path, tokenizer)
    shared: dict[str, Any] = {
        "special": _special_ids(folder, tokenizer),
        "add_bos": add_bos,
        "add_eos": add_eos,
        "template": template_source(folder, tokenizer_settings(folder), needed=False),
    }
    if pieces.get("byte_fallback"):
        _require_sentencepiece(path, written)
        types = [
            _sentencepiece_type(token, kind, pieces.get("unk_token")) for token, kind in zip(tokens, types, strict=True)
        ]
        scores = sentencepiece_scores(path, tokens, types, merges)
        return Vocabulary("llama", "default", tokens, types, [], scores, **shared)
    pre = _cut(path, written)
    if not merges:
        raise _no_equal(path, "a vocabulary without merges", "byte-level BPE with at least one merge")
    return Vocabulary("gpt2", pre, tokens, types, [" ".join(pair) for pair in merges], [], **shared)


def _cut(path: Path, written: dict[str, Any]) -> str:
    """llama.cpp's name of the rule that `tokenizer.json` states."""
    model = written["model"]
    plain = model.get("type", "BPE") == "BPE" and not any(
        model.get(setting) for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    )
    steps = [_step(step) for step in _steps(written.get("pre_tokenizer"), "pretokenizers")]
    for name, (known, skips_merges) in CUTS.items():
        same = steps == known and bool(model.get("ignore_merges")) == skips_merges
        if plain and same and written.get("normalizer") is None:
            return name
    found = {
        "model": {key: value for key, value in model.items() if key not in {"vocab", "merges"} and value},
        "normalizer": written.get("normalizer"),
        "pre_tokenizer": written.get("pre_tokenizer"),
    }
    expected = f"the rule of one of {', '.join(CUTS)}, or a tokenizer converted from sentencepiece"
    raise _no_equal(path, json.dumps(found, ensure_ascii=True)[:400], expected)


def _require_sentencepiece(path: Path, written: dict[str, Any]) -> None:
    steps = _steps(written.get("normalizer"), "normalizers")
    if written["model"].get("type") != "BPE" or steps != SENTENCEPIECE or written.get("pre_tokenizer") is not None:
        found = {key: written.get(key) for key in ("normalizer", "pre_tokenizer")}
        expected = "a normalizer that puts ▁ before the text and for each blank, and no pre-tokenizer"
        raise _no_equal(path, json.dumps(found, ensure_ascii=True)[:400], expected)


def _steps(stated: Any, key: str) -> list[Any]:
    """The steps of a normalizer or pre-tokenizer, which may be one or a sequence."""
    if isinstance(stated, dict) and stated.get("type") == "Sequence":
        return list(stated.get(key) or [])
    return [] if stated is None else [stated]


def _step(step: Any) -> Any:
    """A step without what concerns offsets only, and with the default that older files leave out."""
    if not isinstance(step, dict) or step.get("type") != "ByteLevel":
        return step
    return {"use_regex": True} | {key: value for key, value in step.items() if key != "trim_offsets"}


def _check_added(path: Path, added: list[dict[str, Any]], normalised: bool) -> None:
    """Refuse added tokens that stand for more or less than their own text wherever it occurs."""
    flags = ("lstrip", "rstrip", "single_word", *(["normalized"] if normalised else []))
    for token in added:
        odd = [flag for flag in flags if token.get(flag)]
        if odd:
            expected = "added tokens that are found wherever their text stands, and take nothing beside it"
            raise _no_equal(path, f"{token.get('content')!r} with {', '.join(odd)}"[:200], expected)


def _tokens(
    path: Path, vocabulary: dict[str, int], added: list[dict[str, Any]], rows: int
) -> tuple[list[str], list[int]]:
    ids = vocabulary | {token["content"]: token["id"] for token in added}
    if max(ids.values(), default=-1) >= rows:
        raise _no_equal(path, f"a token with id {max(ids.values())}", f"ids below {rows}, the rows of the embedding")
    tokens = [f"[PAD{row}]" for row in range(rows)]
    types = [UNUSED] * rows
    for text, row in ids.items():
        tokens[row], types[row] = text, NORMAL
    for token in added:
        types[token["id"]] = CONTROL if token.get("special") else USER_DEFINED
    return tokens, types


def _sentencepiece_type(token: str, kind: int, unknown: str | None) -> int:
    if token == unknown:
        return UNKNOWN
    return BYTE if kind == NORMAL and len(token) == 6 and token.startswith("<0x") and token.endswith(">") else kind


def _added_around(path: Path, tokenizer: Any) -> tuple[bool, bool]:
    """Whether the tokenizer puts its first and its last special token around every text."""
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    for add_bos in (False, True):
        for add_eos in (False, True):
            if whole == [bos] * add_bos + inner + [eos] * add_eos:
                return add_bos, add_eos
    raise _no_equal(path, f"{whole} around {inner}", "at most the bos token before a text and the eos token after it")


def _special_ids(folder: Path, tokenizer: Any) -> dict[str, int]:
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    found = {name: int(number) for name, number in ids.items() if number is not None}
    others = [number for number in answer_ends(folder) if number != found.get("eos")]
    return found | dict(zip(("eot", "eom"), others, strict=False))


def answer_ends(folder: Path) -> list[int]:
    """Ids of tokens that end an answer, as the model's generation config says; none where it has none."""
    try:
        ends = json.loads((folder / "generation_config.json").read_bytes()).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return []
    return [number for number in (ends if isinstance(ends, list) else [ends]) if isinstance(number, int)]


def _no_equal(path: Path, found: str, expected: str) -> UserError:
    return UserError(
        "this tokenizer cannot be written as GGUF: nothing that reads GGUF would split text as it does",
        where=str(path),
        found=found,
        expected=expected,
        help="drop the gguf targets from release.targets; adapter and merged keep the tokenizer as it is",
    )
