"""The model card: what the hub reads of it, what people read, and that no text can break out."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from schemas.release import Release
from tests.evals.release.made_release import Made, made_target

GOLDEN = Path(__file__).with_name("golden") / "card.md"
HOSTILE = 'a\n---\nb: *x <script>alert(1)</script> | `rm` [x](http://x) \x1b[31m {{ 7*7 }} "q" \u202e end'


def cards(made: Made) -> dict[str, str]:
    folder = made.release().folder
    return {path.parent.name: path.read_text("utf-8") for path in folder.rglob("README.md")}


def block_of(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def settled(text: str) -> str:
    """Without what changes with the code: digests, names made of them, times."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", text)
    return re.sub(r"-[0-9a-f]{12}\b", "-<hex>", text)


def test_the_card_is_as_it_should_read(made):
    assert settled(cards(made)["merged"]) == GOLDEN.read_text("utf-8")


def test_the_hub_reads_the_metadata(made):
    made.targets.append(made_target("gguf-q8_0", "gguf", lossless=False))
    read: dict[str, Any] = {name: ModelCard(card).data for name, card in cards(made).items()}
    assert {name: (data.library_name, data.base_model_relation) for name, data in read.items()} == {
        "adapter": ("peft", "adapter"),
        "merged": ("transformers", "finetune"),
        "gguf": ("gguf", "quantized"),
    }
    data = read["merged"]
    assert (data.license, data.language, data.base_model) == ("apache-2.0", ["en"], "some-org/some-model")
    assert (data.pipeline_tag, data.datasets, data.tags) == (
        "text-generation",
        ["some-org/mails"],
        ["made", "assay", "merged"],
    )
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("spam_test", "acc", 0.91)
    assert result.metric_args == {"items": 300, "failed": 0, "confidence_interval": [0.87, 0.94]}


def test_what_nobody_said_is_unknown(made):
    made.card = {}
    card = cards(made)["merged"]
    assert block_of(card)["license"] == "unknown"
    assert sorted(set(block_of(card)) & {"base_model", "language", "datasets"}) == []
    assert "| this model | unknown | tuned here |" in card
    assert "| base model | unknown | unknown |" in card
    assert "| data | unknown | unknown |" in card
    assert "**Intended use.** Unknown: nobody said." in card
    assert vars(ModelCard(card).data)["license"] == "unknown"


def test_no_folder_of_this_machine_is_named(made):
    """The base model of this test is a local folder."""
    made.card = {}
    for card in cards(made).values():
        assert str(made.root) not in card


def test_hostile_texts_stay_texts(made):
    made.card = {"data_source": HOSTILE, "intended_use": HOSTILE, "limits": [HOSTILE], "data_license": HOSTILE}
    card = cards(made)["merged"]
    head, page = card.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---\n"))["model-index"][0]["name"] == "made"
    assert "<script>" not in page
    assert "\x1b" not in card
    assert "\u202e" not in card
    assert "\n---\n" not in page
    assert "{{ 7\\*7 }}" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| data |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4


@pytest.mark.parametrize("value", [HOSTILE, "../x", "a b", ""])
def test_identifiers_are_checked_before_anything_runs(made, value):
    from schemas.errors import ConfigError

    for name in ("license", "base_model"):
        made.card = {name: value}
        with pytest.raises(ConfigError):
            made.project()


def test_every_target_stands_in_the_card_of_its_folder(made):
    made.targets = [made_target("gguf-f16", "gguf", files=("f16",)), made_target("gguf-q8_0", "gguf", files=("q8",))]
    found = cards(made)
    assert list(found) == ["gguf"]
    assert "`gguf/f16`" in found["gguf"]
    assert "`gguf/q8`" in found["gguf"]


def test_release_json_names_each_card_by_digest(made):
    from schemas.base import file_digest

    folder = made.release().folder
    said = Release.model_validate_json((folder / "release.json").read_bytes())
    for name in ("adapter/README.md", "merged/README.md", "bom.cdx.json"):
        assert said.evidence[name] == file_digest(folder / name)
