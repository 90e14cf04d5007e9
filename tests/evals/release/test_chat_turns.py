"""Chat templates taken apart, and not taken apart where they are more than turn after turn."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from curate.chat_template import ChatTemplate
from evals.release.chat_turns import Turns, find_turns
from schemas.errors import UserError
from tests.evals.release.made_source import ZEPHYR
from tests.tiny_model import CHATML

LLAMA_3 = (
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
STARTED = "{{ bos_token }}" + CHATML
LAST_ONLY = MISTRAL.replace("system if loop.first", "system if loop.last")
REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def turns_of(source: str) -> Turns | None:
    template = ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})

    def render(messages: Sequence[Mapping[str, Any]], generation_prompt: bool) -> str:
        try:
            return template.render(messages, generation_prompt=generation_prompt)
        except UserError as error:
            raise ValueError from error

    return find_turns(render)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            CHATML,
            Turns(
                "",
                ("<|im_start|>system\n", "<|im_end|>\n"),
                ("<|im_start|>user\n", "<|im_end|>\n"),
                ("<|im_start|>assistant\n", "<|im_end|>\n"),
                "<|im_start|>assistant\n",
            ),
        ),
        (
            LLAMA_3,
            Turns(
                "",
                ("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
                ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
                ("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
                "<|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
        ),
        (
            ZEPHYR,
            Turns(
                "",
                ("<|system|>\n", "</s>\n"),
                ("<|user|>\n", "</s>\n"),
                ("<|assistant|>\n", "</s>\n"),
                "<|assistant|>\n",
            ),
        ),
        (
            MISTRAL,
            Turns("", ("[INST] ", "\n\n"), ("[INST] ", " [/INST]"), (" ", "</s>"), "", folded=True),
        ),
    ],
    ids=["chatml", "llama 3", "zephyr", "mistral"],
)
def test_known_styles_are_taken_apart(source, expected):
    assert turns_of(source) == expected


def test_what_stands_before_everything_is_kept_apart():
    turns = turns_of(STARTED)
    assert turns is not None
    assert (turns.start, turns.system[0]) == ("<s>", "<|im_start|>system\n")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{% for m in messages %}{{ m['content'] }}{{ loop.index }}{% endfor %}",
        "{{ messages[-1]['content'] }}",
        LAST_ONLY,
        REFUSES,
        "{% for m in messages %}{{ m['role'] + m['content'] + m['content'] }}{% endfor %}",
    ],
    ids=["empty", "numbered", "last turn only", "system last", "refuses", "twice"],
)
def test_templates_that_are_more_than_turns_are_not_guessed_at(source):
    assert turns_of(source) is None


def test_folded_system_in_ollamas_language():
    turns = turns_of(MISTRAL)
    assert turns is not None
    assert turns.go_template() == (
        "{{ $opened := false }}{{ range .Messages }}"
        '{{ if eq .Role "system" }}[INST] {{ .Content }}\n\n{{ $opened = true }}'
        '{{ else if eq .Role "user" }}{{ if not $opened }}[INST] {{ end }}{{ $opened = false }}{{ .Content }} [/INST]'
        '{{ else if eq .Role "assistant" }} {{ .Content }}</s>'
        "{{ end }}{{ end }}"
    )
