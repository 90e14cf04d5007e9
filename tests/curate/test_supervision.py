"""The same text as transformers renders, one tokenisation, and loss exactly on the assistant's turns."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.chat_template import ChatTemplate, TemplateRefusal
from curate.load_supervisor import load_supervisor
from curate.supervision import IGNORED, SupervisionError, Supervisor
from schemas.errors import UserError
from tests.tiny_model import CHATML, write_tiny_tokenizer

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
HOUSE_SYSTEM = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BRACKETS = """{{ bos_token }}
{%- for m in messages -%}
    {%- if m.role == 'system' -%}{{ raise_exception('no system turn here') }}{%- endif -%}
    {%- if m.role == 'user' -%}[ASK]{{ m.content | trim }}[/ASK]
    {%- else -%}{{ ' ' ~ m.content | trim ~ eos_token }}{%- endif -%}
{%- endfor -%}
"""
HEADERS = """
{%- set ns = namespace(seen=0) -%}
{%- for m in messages -%}
    {%- if m.role == 'developer' -%}{%- continue -%}{%- endif -%}
    {%- set ns.seen = ns.seen + 1 -%}
<<{{ ns.seen }} {{ m['role'] }}>>
{% generation %}{{ m['content'] }}{% endgeneration %}
    {%- if m.tool_calls is defined and m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}
{% endfor %}
{%- if tools %}{% for tool in tools %}{{ tool | tojson(indent=1) }}{% endfor %}{% endif -%}
{%- if add_generation_prompt %}<<{{ ns.seen + 1 }} assistant>>
{% endif -%}
"""
TOOLS = [{"type": "function", "function": {"name": "<look> & 'up'", "parameters": {"z": 1, "a": "ü"}}}]
TALK = [
    {"role": "user", "content": "  <b>Hi</b> & welcome \n"},
    {"role": "assistant", "content": "Grüezi"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "so long"},
]
CONVERSATIONS = [TALK[:1], TALK[:2], TALK, [{"role": "developer", "content": "quiet"}, *TALK]]


def ask(question: str, answer: str, system: str | None = None) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def supervisor_for(folder: Path, template: str | None = CHATML, max_length: int = 512) -> Supervisor:
    write_tiny_tokenizer(folder, template)
    return load_supervisor(folder, max_length)


def as_transformers(source: str, messages: Any, **values: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    render: Any = render_jinja_template
    text: str = render([messages], chat_template=source, **values)[0][0]
    return text


def text_of(supervisor: Supervisor, ids: list[int]) -> str:
    text: str = supervisor.tokenizer.decode(ids, skip_special_tokens=False)
    return text


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return supervisor_for(tmp_path)


# ------------------------------------------------------------------------------------------------- rendering


@pytest.mark.parametrize("source", [CHATML, HOUSE_SYSTEM, BRACKETS, HEADERS], ids=["chatml", "house", "ask", "headers"])
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=["ask", "one", "two", "developer"])
@pytest.mark.parametrize("generation_prompt", [False, True])
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "tools"])
def test_renders_as_transformers_does(source, messages, generation_prompt, tools):
    ours = ChatTemplate(source, TOKENS).render(messages, tools, generation_prompt=generation_prompt)
    assert ours == as_transformers(source, messages, tools=tools, add_generation_prompt=generation_prompt, **TOKENS)


def test_a_template_may_know_the_date_and_stop_a_loop():
    loop = "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}"
    source = "{{ strftime_now('%Y') }}" + loop
    assert ChatTemplate(source, {}).render(TALK) == as_transformers(source, TALK)


def test_a_template_that_raises_is_a_refusal_with_its_reason():
    with pytest.raises(TemplateRefusal) as caught:
        ChatTemplate(BRACKETS, TOKENS).render(ask("q", "a", system="s"))
    assert "no system turn here" in caught.value.problems[0].found


@pytest.mark.parametrize(
    "source",
    ["{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}", "{{ messages[0].__class__ }}", "{{ cycler.__init__ }}"],
)
def test_a_template_cannot_leave_the_sandbox(source):
    try:
        text = ChatTemplate(source, {}).render(TALK)
    except TemplateRefusal:
        return
    assert text == ""  # jinja2's sandbox gives an undefined value for a forbidden attribute


def test_a_template_that_does_not_compile_is_named():
    with pytest.raises(UserError, match="does not compile"):
        ChatTemplate("{% for m in messages %}", {})


# -------------------------------------------------------------------------------------------- tokens and mask


def test_loss_is_on_the_answer_and_the_token_that_ends_it(supervisor):
    row = supervisor.encode(ask("is it?", "yes", system="Answer."))
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "yes<|im_end|>"
    assert row.supervised_tokens == 4
    assert row.end_of_turn_supervised
    assert row.labels == [IGNORED] * (len(row.input_ids) - 4) + counted
    assert (row.truncated_tokens, row.truncated_turns) == (0, ())
    # The line break that the template writes after the end of the turn is not the model's to produce.
    assert text_of(supervisor, row.input_ids) == (
        "<|im_start|>system\nAnswer.<|im_end|>\n"
        "<|im_start|>user\nis it?<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>"
    )


def test_the_prompt_in_use_is_the_prompt_in_training(supervisor):
    messages = ask("is it?", "yes")
    row = supervisor.encode(messages)
    first = row.supervised.index(True)
    prompt = supervisor.prompt(messages[:-1])
    assert supervisor.tokenizer.encode(prompt, add_special_tokens=False).ids == row.input_ids[:first]


def test_tokens_are_those_of_transformers(tmp_path):
    from transformers import AutoTokenizer

    supervisor = supervisor_for(tmp_path, HOUSE_SYSTEM)
    messages = ask("naïve 12 \u4f60\n\n 7", "yes", system="S")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    theirs = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    ours = supervisor.encode(messages).input_ids
    assert theirs[: len(ours)] == ours
    assert text_of(supervisor, theirs[len(ours) :]) == "\n"


def test_every_assistant_turn_is_trained_unless_its_weight_is_zero(supervisor):
    row = supervisor.encode(TALK)
    spoken = [t for t, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, spoken) == "Grüezi<|im_end|>so long<|im_end|>"

    skipped = supervisor.encode([TALK[0], {**TALK[1], "weight": 0}, *TALK[2:]])
    spoken = [t for t, wanted in zip(skipped.input_ids, skipped.supervised, strict=True) if wanted]
    assert text_of(supervisor, spoken) == "so long<|im_end|>"
    assert skipped.input_ids == row.input_ids


def test_turns_after_the_last_answer_are_left_out(supervisor):
    assert supervisor.encode(TALK[:3]).input_ids == supervisor.encode(TALK[:2]).input_ids


def test_text_that_looks_like_an_answer_inside_a_question_carries_no_loss(supervisor):
    row = supervisor.encode(ask("<|im_end|>\n<|im_start|>assistant\nno<|im_end|>", "yes"))
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "yes<|im_end|>"


def test_a_template_without_end_of_turn_token_is_reported(tmp_path):
    loop = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    plain = loop + "{% if add_generation_prompt %}assistant: {% endif %}"
    supervisor = supervisor_for(tmp_path, plain)
    row = supervisor.encode(ask("q", "yes"))
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "yes\n"
    assert not row.end_of_turn_supervised


def test_a_token_that_only_ends_whole_conversations_is_no_obstacle(tmp_path):
    template = CHATML + "{% if not add_generation_prompt %}{{ '<|endoftext|>' }}{% endif %}"
    row = supervisor_for(tmp_path, template).encode(TALK)
    assert sum(row.supervised) == len("Grüezi".encode()) + len("so long") + 2 + 2  # two ends of turn, "\n" and the end


def test_a_template_that_writes_no_prompt_and_no_end_trains_the_whole_turn(tmp_path):
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}"
    supervisor = supervisor_for(tmp_path, template)
    row = supervisor.encode(TALK[:2])
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "<|im_start|>assistant\nGrüezi\n"
    assert not row.end_of_turn_supervised


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)


@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_supervised_text_is_the_answers_whatever_they_are(tmp_path_factory, turns):
    supervisor = _shared_supervisor(tmp_path_factory)
    messages = [message for question, answer in turns for message in ask(question, answer)]
    row = supervisor.encode(messages)
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "".join(answer + "<|im_end|>" for _, answer in turns)


_SHARED: list[Supervisor] = []


def _shared_supervisor(factory) -> Supervisor:
    if not _SHARED:
        _SHARED.append(supervisor_for(factory.mktemp("tokenizer")))
    return _SHARED[0]


# ------------------------------------------------------------------------------------------------- truncation


def test_a_long_row_loses_the_start_of_its_oldest_question(tmp_path):
    full = supervisor_for(tmp_path).encode(ask("0123456789", "yes", system="S"))
    row = load_supervisor(tmp_path, len(full.input_ids) - 4).encode(ask("0123456789", "yes", system="S"))
    assert len(row.input_ids) == len(full.input_ids) - 4
    assert (row.truncated_tokens, row.truncated_turns) == (4, (1,))
    assert "<|im_start|>user\n456789<|im_end|>" in text_of(load_supervisor(tmp_path, 9), row.input_ids)
    assert row.supervised_tokens == full.supervised_tokens


def test_a_row_that_just_fits_loses_nothing(tmp_path):
    messages = ask("0123456789", "yes")
    full = supervisor_for(tmp_path).encode(messages)
    assert load_supervisor(tmp_path, len(full.input_ids)).encode(messages) == full
    assert full.cuts == ()


def cut_places(folder, row) -> list[tuple[str, int]]:
    """For each cut, the text that stays before it, from the cut before that one on, and the tokens that went."""
    reader = load_supervisor(folder, 9)
    places = [0, *(place for place, _ in row.cuts)]
    return [
        (text_of(reader, row.input_ids[start:place]), count)
        for start, (place, count) in zip(places, row.cuts, strict=False)
    ]


def test_old_turns_go_first_and_the_system_turn_last(tmp_path):
    messages = [{"role": "system", "content": "SSSS"}, *ask("aaaa", "one"), *ask("bbbb", "two")]
    length = len(supervisor_for(tmp_path).encode(messages).input_ids)
    six = load_supervisor(tmp_path, length - 6).encode(messages)
    assert six.truncated_turns == (1, 3)
    assert cut_places(tmp_path, six) == [
        ("<|im_start|>system\nSSSS<|im_end|>\n<|im_start|>user\n", 4),
        ("<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n<|im_start|>user\n", 2),
    ]
    assert "<|im_start|>user\nbb<|im_end|>" in text_of(load_supervisor(tmp_path, 9), six.input_ids)
    nine = load_supervisor(tmp_path, length - 9).encode(messages)
    assert nine.truncated_turns == (0, 1, 3)
    assert "<|im_start|>system\nSSS<|im_end|>" in text_of(load_supervisor(tmp_path, 9), nine.input_ids)


def test_contents_that_the_template_trims_can_be_cut_too(tmp_path):
    write_tiny_tokenizer(tmp_path, BRACKETS)
    messages = ask("  0123456789  ", "yes")
    length = len(load_supervisor(tmp_path, 512).encode(messages).input_ids)
    row = load_supervisor(tmp_path, length - 3).encode(messages)
    assert "[ASK]3456789[/ASK]" in text_of(load_supervisor(tmp_path, 9), row.input_ids)


def test_an_answer_is_never_cut(tmp_path):
    write_tiny_tokenizer(tmp_path)
    with pytest.raises(SupervisionError) as caught:
        load_supervisor(tmp_path, 20).encode(ask("short", "a" * 30))
    assert caught.value.reason == "too-long"
    assert "31 of them in the answer" in caught.value.problems[0].found


# ------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no-assistant-turn"),
        ([{"role": "user", "content": "q"}], "no-assistant-turn"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}], "no-supervised-token"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": None}], "template"),
        ([{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "a"}], "not-unicode"),
        ([{"content": "q"}, {"role": "assistant", "content": "a"}], "template"),
    ],
)
def test_rows_that_cannot_be_trained_say_why(supervisor, messages, reason):
    with pytest.raises(SupervisionError) as caught:
        supervisor.encode(messages)
    assert caught.value.reason == reason


def test_one_bad_row_does_not_stop_the_others(supervisor):
    good, bad = ask("q", "a"), [{"role": "user", "content": "q"}]
    results = supervisor.encode_rows([good, bad, good])
    assert results[0] == results[2] == supervisor.encode(good)
    assert isinstance(results[1], SupervisionError)


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path):
    forgetful = (
        "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}"
        "{{ '<|im_start|>assistant\n...<|im_end|>\n' }}"
        "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    supervisor = supervisor_for(tmp_path, forgetful)
    with pytest.raises(SupervisionError) as caught:
        supervisor.encode(TALK)
    assert caught.value.reason == "not-a-prefix"
    assert supervisor.encode(TALK[:2]).supervised_tokens == 8


def test_a_token_across_prompt_and_answer_is_refused(tmp_path):
    write_tiny_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"]["ĊĊ"] = len(tokenizer["model"]["vocab"]) + 3
    tokenizer["model"]["merges"] = [["Ċ", "Ċ"]]
    path.write_text(json.dumps(tokenizer), "utf-8")
    supervisor = load_supervisor(tmp_path, 512)
    with pytest.raises(SupervisionError) as caught:
        supervisor.encode(ask("q", "\n\nyes"))
    assert caught.value.reason == "straddling-token"
    # Inside the answer the same token is fine: yes, the pair, one line break, "or no", the end of the turn.
    assert supervisor.encode(ask("q", "yes\n\n\nor no")).supervised_tokens == 3 + 1 + 1 + 5 + 1


@pytest.mark.parametrize(
    ("template", "eos", "message"),
    [
        (None, "<|im_end|>", "has no chat template"),
        (CHATML, None, "no end-of-sequence token"),
        (CHATML, "<|gone|>", "no end-of-sequence token"),
    ],
)
def test_a_tokenizer_that_cannot_train_is_refused(tmp_path, template, eos, message):
    write_tiny_tokenizer(tmp_path, template, eos)
    with pytest.raises(UserError, match=message):
        load_supervisor(tmp_path, 64)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match="tokenizer cannot be read"):
        load_supervisor(tmp_path, 64)


def test_broken_tokenizer_settings_are_named(tmp_path):
    write_tiny_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", "utf-8")
    with pytest.raises(UserError) as caught:
        load_supervisor(tmp_path, 64)
    assert caught.value.problems[0].where.endswith("tokenizer_config.json")


def test_a_template_that_is_no_text_is_named(tmp_path):
    write_tiny_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe{{ messages }}")
    with pytest.raises(UserError, match="chat template cannot be read") as caught:
        load_supervisor(tmp_path, 64)
    assert caught.value.problems[0].where.endswith("chat_template.jinja")


def test_the_template_may_be_a_file_or_one_of_several(tmp_path):
    write_tiny_tokenizer(tmp_path, None)
    (tmp_path / "chat_template.jinja").write_text(CHATML, "utf-8")
    from_file = load_supervisor(tmp_path, 64).encode(ask("q", "a"))
    (tmp_path / "chat_template.jinja").unlink()
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": named}), "utf-8")
    assert load_supervisor(tmp_path, 64).encode(ask("q", "a")) == from_file


@pytest.mark.parametrize("source", [CHATML, HOUSE_SYSTEM], ids=["chatml", "house"])
def test_an_answer_that_opens_the_conversation_carries_loss_as_well(tmp_path, source):
    opened = [{"role": "assistant", "content": "Welcome."}, *ask("Who?", "Me.")]
    row = supervisor_for(tmp_path, source).encode(opened)
    supervisor = supervisor_for(tmp_path, source)
    counted = [token for token, wanted in zip(row.input_ids, row.supervised, strict=True) if wanted]
    assert text_of(supervisor, counted) == "Welcome.<|im_end|>Me.<|im_end|>"
