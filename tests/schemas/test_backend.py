"""`evals.backend`: two models are named, nothing secret is, and each refusal says what to do."""

import pytest
from pydantic import ValidationError

from schemas.backend import BackendConfig, is_secret

URL = "http://127.0.0.1:8000/v1/completions"
HERE = {"model": "local-completions", "args": {"base_url": URL}, "base": {"model": "a"}, "tuned": {"model": "b"}}


def test_both_models_are_named_at_one_address():
    backend = BackendConfig.model_validate(HERE)
    assert backend.arguments("base") == {"base_url": URL, "model": "a"}
    assert backend.arguments("tuned") == {"base_url": URL, "model": "b"}
    assert backend.shared == {"base_url": URL}
    assert backend.own_arguments("tuned") == {"model": "b"}
    assert not backend.chat


def test_weights_are_named_by_assay():
    assert BackendConfig.model_validate({"model": "vllm", "args": {"tensor_parallel_size": 2}}).shared == {
        "tensor_parallel_size": 2
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"args": {"base_url": URL, "auth_token": "x"}}, "`auth_token` would be written into results"),
        ({"args": {"base_url": URL, "header": {"X": "y"}}}, "`header` would be written"),
        ({"tuned": {"model": "b", "api_key": "x"}}, "`api_key` would be written"),
        ({"args": {"base_url": URL, "extra": {"Authorization": "x"}}}, "`Authorization` would be written"),
        ({"args": {"base_url": "http://me:pass@host/v1/completions"}}, "holds a password or key"),
        ({"args": {"base_url": "http://host/v1/completions?api-key=1"}}, "holds a password or key"),
        ({"args": {"base_url": "http://host/v1"}}, "ends in /completions"),
        ({"args": {"base_url": "http://host/v1/chat/completions"}}, "ends in /completions"),
        ({"args": {"base_url": "file:///etc/passwd"}}, "must be an address"),
        ({"args": {"base_url": "http://host:99999/v1/completions"}}, "must be an address"),
        ({"args": {}}, "must be an address"),
        ({"args": {"base_url": URL, "x": float("nan")}}, "should be a finite number"),
        ({"base": {"model": "b"}}, "needs `base` and `tuned`"),
        ({"tuned": {}}, "needs `base` and `tuned`"),
        ({"tuned": {"mode": "b"}}, "`tuned` needs `model`"),
        ({"model": "vllm"}, "`base` or `tuned` cannot be given for vllm"),
        ({"model": "hf", "args": {"peft": "x"}, "base": {}, "tuned": {}}, "`peft` cannot be given for hf"),
        ({"model": "vllm", "args": {"dtype": "auto"}, "base": {}, "tuned": {}}, "`evals.dtype` the dtype"),
        ({"model": "a b"}, "String should match pattern"),
        ({"args": {"--x": 1}}, "String should match pattern"),
        ({"arguments": {}}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_refused(change, said):
    with pytest.raises(ValidationError) as caught:
        BackendConfig.model_validate(HERE | change)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("api_key", True), ("apikey", True), ("X-Api-Key", True), ("hf_token", True), ("password", True),
        ("tokenizer", False), ("max_gen_toks", False), ("add_bos_token", False), ("custom_prefix_token_id", False),
        ("tokenized_requests", False), ("think_end_token", False), ("eos_string", False), ("monkey", False),
    ],
)  # fmt: skip
def test_secrets_are_known_by_name(name, secret):
    assert is_secret(name) is secret
