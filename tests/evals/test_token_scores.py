import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from evals import token_scores
from evals.packing import Query
from evals.token_scores import TokenScorer


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()


def queries_of(prompts=5, seed=0):
    """Prompts of several lengths, each with two choices that differ after their first token, and a longer answer."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for k in range(prompts):
        prompt = tuple(torch.randint(3, 259, (20 + 7 * k,), generator=generator).tolist())
        found += [Query(prompt, (9, 30, 31)), Query(prompt, (9, 40, 41)), Query(prompt, (9, 40, 41, 42, 2))]
    return found


@torch.inference_mode()
def plain(model, query):
    """Log-likelihood and greediness by one pass over one sequence."""
    ids = torch.tensor([[*query.context, *query.continuation]])
    logits = model(input_ids=ids).logits[0].double().log_softmax(-1)
    places = range(len(query.context) - 1, ids.shape[1] - 1)
    chosen = [logits[place, ids[0, place + 1]] for place in places]
    return float(sum(chosen)), all(int(logits[place].argmax()) == int(ids[0, place + 1]) for place in places)


@pytest.mark.parametrize("branches", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_scores_are_those_of_plain_passes(model, branches, batch_size):
    queries = queries_of()
    scorer = TokenScorer(model, batch_size, 512)
    scorer._branches = branches
    for query, score in zip(queries, scorer.score(queries), strict=True):
        expected, greedy = plain(model, query)
        assert score.log_likelihood == pytest.approx(expected, abs=1e-4)
        assert score.is_greedy == greedy
        assert score.tokens == len(query.continuation)


def test_greedy_continuations_are_recognised(model):
    prompt = queries_of(1)[0].context
    with torch.inference_mode():
        best = int(model(input_ids=torch.tensor([prompt])).logits[0, -1].argmax())
    found = TokenScorer(model, 4, 512).score([Query(prompt, (best,)), Query(prompt, ((best + 1) % 259,))])
    assert [score.is_greedy for score in found] == [True, False]


def test_a_prompt_passes_once_for_all_that_is_asked_of_it(model):
    queries = queries_of(prompts=4)
    scorer = TokenScorer(model, 16, 512)
    scorer._branches = True
    scorer.expect(queries[2::3])
    scorer.score([query for k, query in enumerate(queries) if k % 3 < 2])
    assert scorer.rows_passed == 4
    scorer.score(queries)
    assert scorer.rows_passed == 4
    scorer.forget()
    scorer.score(queries)
    assert scorer.rows_passed == 8


def test_a_model_that_ignores_the_mask_gets_plain_rows(model):
    class Deaf(torch.nn.Module):
        """Drops the mask, as an architecture without attention masks would."""

        def __init__(self):
            super().__init__()
            self.inner, self.device, self.dtype, self.config = model, model.device, model.dtype, model.config

        def forward(self, input_ids, use_cache=False, attention_mask=None, position_ids=None, logits_to_keep=0):
            return self.inner(input_ids=input_ids, logits_to_keep=logits_to_keep)

    queries = queries_of()
    scorer = TokenScorer(Deaf(), 4, 512)
    found = scorer.score(queries)
    assert scorer._branches is False
    for query, score in zip(queries, found, strict=True):
        assert score.log_likelihood == pytest.approx(plain(model, query)[0], abs=1e-4)


def test_a_model_without_logits_to_keep_is_read_whole(model):
    class Whole(torch.nn.Module):
        """Always gives all logits."""

        def __init__(self):
            super().__init__()
            self.inner, self.device, self.dtype, self.config = model, model.device, model.dtype, model.config

        def forward(self, input_ids, use_cache=False, attention_mask=None, position_ids=None):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)

    queries = queries_of()
    for query, score in zip(queries, TokenScorer(Whole(), 4, 512).score(queries), strict=True):
        assert score.log_likelihood == pytest.approx(plain(model, query)[0], abs=1e-4)


def test_memory_for_logits_bounds_the_batch(model, monkeypatch):
    sizes = []
    scorer = TokenScorer(model, 16, 512)
    forward = scorer._forward

    def measured(batch):
        sizes.append(len(batch))
        return forward(batch)

    monkeypatch.setattr(scorer, "_forward", measured)
    monkeypatch.setattr(token_scores, "MAX_LOGITS", 259 * 12)
    scorer._branches = True
    scorer.score(queries_of(prompts=6))
    assert sum(sizes) == 6
    assert max(sizes) < 6


def test_a_row_that_fails_has_no_score_and_the_others_have_theirs(model):
    queries = queries_of()
    bad = Query((5, 7), (100_000,))  # a token that the model does not have
    scorer = TokenScorer(model, 16, 512)
    found = scorer.score([*queries, bad])
    assert math.isnan(found[-1].log_likelihood)
    assert scorer.errors != []
    assert all(math.isfinite(score.log_likelihood) for score in found[:-1])


def test_progress_counts_rows(model):
    seen = []
    scorer = TokenScorer(model, 2, 512, progress=lambda done, total: seen.append((done, total)))
    scorer._branches = True
    scorer.score(queries_of(prompts=5))
    assert seen == [(2, 5), (4, 5), (5, 5)]
