"""What each method makes of a row, and the refusals that name rows."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.load_supervisor import load_supervisor
from curate.supervision import SupervisionError
from schemas.errors import UserError
from schemas.train_config import TrainConfig
from tests.toy_project import toy_kind
from train.examples import METHODS, TokenLedger, encode_rows, supervise
from train.rows import SplitRow

SFT = TrainConfig()


def row(row_id: str, answer: str = "a") -> SplitRow:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
    return SplitRow(row_id, None, 0, "rows.jsonl", 7, {"messages": messages})


def config(method: str, **given) -> TrainConfig:
    rewards = {"rewards": [{"use": "exact_match"}], "batch_size": 4} if method == "grpo" else {}
    return TrainConfig(method=method, **rewards, **given)


def rows_for(method: str, count: int = 6) -> list[SplitRow]:
    made = toy_kind(method, count)
    return [SplitRow(r["row_id"], None, k, "rows.jsonl", k + 1, r["record"]) for k, r in enumerate(made)]


def test_the_ledger_counts_what_is_trained(tiny_model_folder):
    rows = [row("a", answer="yes"), row("b", answer="no")]
    supervisor = load_supervisor(tiny_model_folder, 512)
    full = TokenLedger.of(supervise(supervisor, rows, SFT, "train split"))
    assert (full.rows, full.supervised_tokens, full.truncated_rows, full.rows_with_end_of_turn) == (2, 4 + 3, 0, 2)
    longest = max(example.tokens for example in supervise(supervisor, rows, SFT, "train split"))
    cut = TokenLedger.of(supervise(load_supervisor(tiny_model_folder, longest - 1), rows, SFT, "train split"))
    assert (cut.truncated_rows, cut.truncated_tokens, cut.tokens) == (1, 1, full.tokens - 1)


def test_rows_that_cannot_be_trained_are_counted_and_shown(tiny_model_folder):
    bad = [row(f"b{k}")._replace(record={"messages": []}, line=k) for k in range(7)]
    with pytest.raises(UserError, match="7 of 10 rows of the train split cannot be trained") as caught:
        supervise(load_supervisor(tiny_model_folder, 512), [row(f"g{k}") for k in range(3)] + bad, SFT, "train split")
    summary, *details = caught.value.problems
    assert summary.found == "no-assistant-turn 7"
    assert [problem.where for problem in details] == [f"rows.jsonl:{k}" for k in range(5)]


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_names_the_rows_that_it_does_not_train(tiny_model_folder, method):
    supervisor = load_supervisor(tiny_model_folder, 512)
    kinds = {"messages": "sft", "text": "text", "chosen": "dpo", "label": "kto", "reference": "grpo"}
    wanted = set(METHODS[method][0])
    for field, other in kinds.items():
        rows = rows_for(other)
        if wanted <= set(rows[0].record):
            assert len(supervise(supervisor, rows, config(method), "train split")) >= len(rows)
            continue
        with pytest.raises(UserError, match=f"method `{method}` trains") as caught:
            encode_rows(supervisor, rows, config(method))
        assert caught.value.problems[0].where == "rows.jsonl:1"
        assert field in caught.value.problems[0].found


def test_pairs_share_their_prompt_and_only_answers_carry_loss(tiny_model_folder):
    supervisor = load_supervisor(tiny_model_folder, 512)
    prompt = [
        {"role": "user", "content": "q " * 9},
        {"role": "assistant", "content": "earlier"},
        {"role": "user", "content": "and?"},
    ]
    answers = [{"role": "assistant", "content": "good answer"}], [{"role": "assistant", "content": "no"}]
    record = {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    pair = SplitRow("p", None, 0, "rows.jsonl", 1, record)
    (example,) = supervise(supervisor, [pair], config("dpo"), "train split")
    chosen, rejected = example.sequences
    assert chosen.supervised_tokens == len("good answer") + 1
    assert rejected.supervised_tokens == len("no") + 1
    tight = supervisor.limited(len(chosen.input_ids) - 5)
    (cut,) = supervise(tight, [pair], config("dpo"), "train split")
    prompts = [sequence.input_ids[: sequence.supervised.index(True)] for sequence in cut.sequences]
    assert prompts[0] == prompts[1]
    assert [sequence.truncated_tokens for sequence in cut.sequences] == [5, 5]
    assert [sequence.supervised_tokens for sequence in cut.sequences] == [12, 3]


def test_a_reward_model_reads_the_whole_rendering(tiny_model_folder):
    supervisor = load_supervisor(tiny_model_folder, 512)
    rows = rows_for("reward", 2)
    for row, example in zip(rows, supervise(supervisor, rows, config("reward"), "train split"), strict=True):
        for name, sequence in zip(("chosen", "rejected"), example.sequences, strict=True):
            text = supervisor.render(row.answered(name), None)
            assert sequence.input_ids == supervisor.tokenizer.encode(text, add_special_tokens=False).ids
    whole = supervise(supervisor, rows, config("reward"), "train split")
    longest = max(len(sequence.input_ids) for example in whole for sequence in example.sequences)
    for example in supervise(supervisor.limited(longest - 3), rows, config("reward"), "train split"):
        assert max(len(sequence.input_ids) for sequence in example.sequences) <= longest - 3
        assert all(sequence.input_ids[-1] == 201 for sequence in example.sequences)  # the line break after the turn


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused(tiny_model_folder):
    supervisor = load_supervisor(tiny_model_folder, 60)
    with pytest.raises(UserError, match="cannot be trained") as caught:
        supervise(supervisor, rows_for("grpo"), config("grpo", max_new_tokens=20, max_length=60), "train split")
    assert "too-long" in caught.value.problems[0].found


TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: text.isascii() and text.isprintable())


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, max_length=st.integers(8, 20))
def test_text_in_pieces_predicts_every_token_once(tiny_tokenizer_folder, text, max_length):
    supervisor = load_supervisor(tiny_tokenizer_folder, max_length, needs_template=False)
    pieces = supervisor.encode_text(text)
    whole = supervisor.limited(1 << 20).encode_text(text)[0].input_ids
    predicted = [
        token for piece in pieces for token, loss in zip(piece.input_ids, piece.supervised, strict=True) if loss
    ]
    assert predicted == whole[1:]
    assert max(len(piece.input_ids) for piece in pieces) <= max_length
    assert [piece.end_of_turn_supervised for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_text_needs_no_template_and_refuses_half_a_character(tiny_tokenizer_folder):
    path = tiny_tokenizer_folder / "tokenizer_config.json"
    written = json.loads(path.read_text("utf-8"))
    assert "chat_template" not in written
    supervisor = load_supervisor(tiny_tokenizer_folder, 16, needs_template=False)
    for text, reason in (("\ud800", "not-unicode"), ("", "no-supervised-token")):
        with pytest.raises(SupervisionError) as caught:
            supervisor.encode_text(text)
        assert caught.value.reason == reason


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory):
    """A tokenizer without chat template."""
    from tests.tiny_model import write_tiny_tokenizer

    folder = tmp_path_factory.mktemp("bare")
    write_tiny_tokenizer(folder, template=None)
    return folder
