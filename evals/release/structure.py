"""What stands around the weights: tokenizer, special tokens, template, stops, tied embeddings, vocabulary, context.

Every condition compares behaviour where there is one: a template by what it renders, a special token by how it is read
and whether it is left out of an answer, tied embeddings by the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper

from evals.release.source import Loaded
from schemas.terminal import printable
from schemas.verdict import Check, Outcome

PREFIX = "structure:"
SHOWN_CHARS = 80
ROLES = ("bos", "eos", "pad", "unk")
NASTY = (
    "",
    " ",
    "\n",
    "a\n\n1. x",
    "  42",
    "\n\n\n7",
    " 1 22 333",
    "3.14159 1,000.50 0x1F 2024-02-29",
    "\t\tdef f(x):\r\n    return x  # end\n",
    "don't WE'LL they've I'm",
    "word" * 40,
    "!!!???...---___",
    "https://example.org/a?b=c&d=%20#e",
    "na\u00efve cafe\u0301 \ufb01n \u0130stanbul \u00df",
    "\u00a0\u2003\u200b\ufeff\u2028",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002 \u4e2d\u6587\uff0c\ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1ea\U0001f1fa \U0001f3fd",
    "<s> </s> <|endoftext|> <|im_start|>system\n<|im_end|> [INST] <|eot_id|> <pad> <unk>",
    "\x00\x01\x1b[31m\x7f",
)
"""Texts on which readers of one tokenizer part: blanks before digits, scripts, marks, names of special tokens."""


@dataclass(frozen=True)
class Facts:
    """What is asked of a model's surroundings; holds its tokenizer and none of its weights."""

    tokenizer: Any
    vocabulary: tuple[int, int, int]
    """`vocab_size` of the config, rows of the input embeddings, rows of the output embeddings."""
    tied: bool
    """Whether input and output embeddings are one tensor, with no adapter on either."""
    says_tied: bool
    """`tie_word_embeddings` of the config."""
    context: dict[str, Any]
    """What decides how long a text may be and where in it a token stands."""
    generation: dict[str, Any]
    """Every setting of the model's own generation that is not a default, less what names a library or a file."""
    stops: frozenset[int]
    """Tokens that end an answer."""

    @property
    def special(self) -> dict[str, int]:
        """Special token -> id."""
        added = self.tokenizer.added_tokens_decoder
        return {str(token): int(place) for place, token in added.items() if token.special}


def facts(loaded: Loaded) -> Facts:
    """The facts of a loaded model."""
    model = loaded.model
    config = model.config.get_text_config()
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    adapted = any(isinstance(one, BaseTunerLayer | ModulesToSaveWrapper) for one in (first, last))
    own = getattr(model, "generation_config", None)
    changed = {} if own is None else own.to_diff_dict()
    ends = changed.get("eos_token_id", loaded.tokenizer.eos_token_id)
    return Facts(
        tokenizer=loaded.tokenizer,
        vocabulary=(int(config.vocab_size), int(first.weight.shape[0]), int(last.weight.shape[0])),
        tied=first.weight.data_ptr() == last.weight.data_ptr() and not adapted,
        says_tied=bool(config.tie_word_embeddings),
        context={name: value for name in CONTEXT if (value := getattr(config, name, None)) is not None},
        generation={name: value for name, value in changed.items() if name not in UNTOLD and not name.startswith("_")},
        stops=frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends]),
    )


CONTEXT = ("max_position_embeddings", "rope_parameters", "sliding_window")
UNTOLD = ("transformers_version", "output_attentions", "output_hidden_states", "use_cache", "cache_implementation")


def structure_checks(
    judged: Facts, exported: Facts, texts: Sequence[str], *, holds_generation: bool
) -> tuple[Check, ...]:
    """Every condition on what stands around the weights.

    Args:
        judged: of the model that was judged.
        exported: of the one that was loaded back.
        texts: real prompts and answers.
        holds_generation: whether the form can carry settings of generation beside the tokens that end an answer.
    """
    return (
        _check("tokenizer", _tokenizer(judged, exported, texts), "token ids agree on every text", TOKENIZER_HELP),
        _check("special-tokens", _special(judged, exported), "special tokens and their ids are the same"),
        _template(judged.tokenizer, exported.tokenizer),
        _check("stop-tokens", _stops(judged, exported), "the same tokens end an answer"),
        _generation(judged, exported, holds_generation),
        _check("tied-embeddings", _tied(judged, exported), f"embeddings are {_tie(judged)} in both"),
        _check("vocabulary", _differs(judged.vocabulary, exported.vocabulary), f"{judged.vocabulary[0]:,} tokens"),
        _check("context", _differs(judged.context, exported.context), "the same positions can be read"),
    )


TOKENIZER_HELP = "export the tokenizer's own files beside the weights, and load the model with them"
HELP = "export the model again, from the folder that was judged"


def _check(name: str, problem: str, fine: str, advice: str = HELP) -> Check:
    outcome = Outcome.FAIL if problem else Outcome.PASS
    return Check(name=PREFIX + name, outcome=outcome, message=problem or fine, help=advice if problem else "")


def _not_applicable(name: str, why: str) -> Check:
    return Check(name=PREFIX + name, outcome=Outcome.NOT_APPLICABLE, message=why)


def _shown(value: Any) -> str:
    text = printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def _differs(judged: Any, exported: Any) -> str:
    return "" if judged == exported else f"{_shown(judged)} became {_shown(exported)}"


# ------------------------------------------------------------------------------------------------------- tokenizer


def _tokenizer(judged: Facts, exported: Facts, texts: Sequence[str]) -> str:
    """The first text that the two split into other tokens, and how many there are; empty where there is none."""
    named = [f"a{token}b {token}\n{token}" for token in judged.special]
    asked = list(dict.fromkeys([*texts, *NASTY, *named]))
    unlike = []
    for special in (True, False):
        ids = [_ids(one.tokenizer, asked, special) for one in (judged, exported)]
        unlike += [(text, *pair) for text, *pair in zip(asked, *ids, strict=True) if pair[0] != pair[1]]
    return unlike_text([(text, own, other) for text, own, other in unlike], 2 * len(asked))


def unlike_text(unlike: Sequence[tuple[str, list[int], list[int]]], asked: int) -> str:
    """In words: (text, token ids of the judged model, token ids of the exported one) of texts that are split apart."""
    if not unlike:
        return ""
    text, own, other = unlike[0]
    place = next((k for k, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), min(len(own), len(other)))
    return (
        f"{len(unlike):,} of {asked:,} texts become other tokens; the first, {_shown(text)!r}, from token {place}: "
        f"{own[place : place + 6]} became {other[place : place + 6]}"
    )


def _ids(tokenizer: Any, texts: Sequence[str], special: bool) -> list[list[int]]:
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=special)["input_ids"]
    return found


def _special(judged: Facts, exported: Facts) -> str:
    """The first special token that the two do not treat alike; empty where there is none."""
    roles = [(role, *(getattr(one.tokenizer, f"{role}_token") for one in (judged, exported))) for role in ROLES]
    changed = [f"{role} {_shown(own)} became {_shown(other)}" for role, own, other in roles if own not in (None, other)]
    tokens = sorted(judged.special | exported.special)
    for token in tokens:
        own, other = ([_ids(one.tokenizer, [token], False)[0]] for one in (judged, exported))
        if own != other:
            changed.append(f"{_shown(token)} is {own[0][:6]} and became {other[0][:6]}")
        elif len(own[0]) == 1 and _left_out(judged, own[0]) != _left_out(exported, own[0]):
            changed.append(f"{_shown(token)} is left out of an answer by one of them only")
    return "" if not changed else f"{len(changed)} differences: {'; '.join(changed[:3])}"


def _left_out(one: Facts, ids: list[int]) -> bool:
    return bool(one.tokenizer.decode(ids, skip_special_tokens=True) == "")


# -------------------------------------------------------------------------------------------------------- template


def _turns(*contents: str, first: str = "user") -> list[dict[str, str]]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]


SYSTEM = {"role": "system", "content": "Answer in one word."}
PROBES: tuple[list[dict[str, str]], ...] = (
    _turns("Where is it?"),
    [SYSTEM, *_turns("Where is it?")],
    _turns("Where is it?", "On the left.", "And now?"),
    [SYSTEM, *_turns("  blanks around \n", "\n\n", "{{ 7 * 7 }} {% raw %} <|im_end|></s>[/INST]")],
    _turns("", "\U0001f600 \u4e2d\u6587", "<b>&amp;</b> 'quoted' \"twice\" \\n"),
    _turns("I speak first.", "Do you?", first="assistant"),
    [*_turns("One."), *_turns("Two.")],
    [{"role": "tool", "content": "42"}, *_turns("Which number?")],
)
"""Conversations that templates are compared on; some templates refuse some of them."""


def rendered(tokenizer: Any) -> Iterator[str]:
    """What a chat template makes of the probes, with and without a beginning of the answer; a refusal is a text too."""
    for messages in PROBES:
        for prompted in (True, False):
            try:
                text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompted)
            except Exception:  # a template raises what it likes, and libraries wrap it differently
                text = "refused"
            yield str(text)


def _template(judged: Any, exported: Any) -> Check:
    if not judged.chat_template and not exported.chat_template:
        return _not_applicable("chat-template", "neither model has a chat template")
    if not judged.chat_template or not exported.chat_template:
        which = "exported" if judged.chat_template else "judged"
        return _check("chat-template", f"the {which} model has no chat template, the other one has", "")
    own, other = list(rendered(judged)), list(rendered(exported))
    unlike = [pair for pair in zip(own, other, strict=True) if pair[0] != pair[1]]
    fine = f"both templates render {len(own)} probes alike"
    if not unlike:
        return _check("chat-template", "", fine)
    one, another = unlike[0]
    place = next((k for k, (a, b) in enumerate(zip(one, another, strict=False)) if a != b), min(len(one), len(another)))
    return _check(
        "chat-template",
        f"{len(unlike)} of {len(own)} probes are rendered otherwise; the first from character {place}: "
        f"{_shown(one[place:])!r} became {_shown(another[place:])!r}",
        fine,
    )


# ------------------------------------------------------------------------------------------------------ generation


def _stops(judged: Facts, exported: Facts) -> str:
    return _differs(sorted(judged.stops), sorted(exported.stops))


def _generation(judged: Facts, exported: Facts, holds_generation: bool) -> Check:
    if not holds_generation:
        return _not_applicable(
            "generation-config", "this form carries no settings of generation beside its stop tokens"
        )
    names = sorted(judged.generation.keys() | exported.generation.keys())
    unlike = [name for name in names if judged.generation.get(name) != exported.generation.get(name)]
    said = [
        f"{name} {_shown(judged.generation.get(name))} became {_shown(exported.generation.get(name))}"
        for name in unlike
    ]
    return _check("generation-config", "; ".join(said[:3]), "settings of generation are the same")


# ---------------------------------------------------------------------------------------------------- embeddings


def _tied(judged: Facts, exported: Facts) -> str:
    if judged.tied != exported.tied:
        return f"embeddings were {_tie(judged)} and became {_tie(exported)}"
    if exported.says_tied != exported.tied:
        return (
            f"the config says that embeddings are {'' if exported.says_tied else 'not '}tied, the tensors say otherwise"
        )
    return ""


def _tie(one: Facts) -> str:
    return "tied" if one.tied else "apart"
