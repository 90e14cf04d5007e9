"""The embedded base model on real mails: our scores are those of plain lm-eval."""

import json

import pytest

from curate.load_supervisor import load_supervisor
from evals.packing import Query
from evals.token_scores import TokenScorer

pytestmark = pytest.mark.slow


def test_packed_scores_are_those_of_plain_lm_eval(pytestconfig):
    from lm_eval.models.huggingface import HFLM

    from evals.harness import quiet
    from train.adapter import load_weights
    from train.base_model import ensure_base_model

    folder = ensure_base_model("smollm2-135m-instruct")
    supervisor = load_supervisor(folder, 256)
    lines = (pytestconfig.rootpath / "examples" / "spam" / "raw.jsonl").read_text("utf-8").split("\n")[:6]
    prompts = [supervisor.prompt(json.loads(line)["messages"][:-1]) for line in lines]
    with quiet():
        theirs = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4)
    requests = [
        ((prompt, label), *theirs._encode_pair(prompt, label)) for prompt in prompts for label in ("ham", "spam")
    ]
    expected = theirs._loglikelihood_tokens(requests, disable_tqdm=True)
    scorer = TokenScorer(load_weights(folder), 4, 2048)
    found = scorer.score([Query(tuple(context), tuple(answer)) for _, context, answer in requests])
    assert [score.is_greedy for score in found] == [greedy for _, greedy in expected]
    for score, (log_likelihood, _) in zip(found, expected, strict=True):
        assert score.log_likelihood == pytest.approx(log_likelihood, abs=1e-4)
    assert scorer.rows_passed == len(prompts)
