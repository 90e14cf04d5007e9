"""Passages by a local embedding model: the mean of the last layer over a text's tokens, compared by cosine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer

from evals.retrieval.passages import Passage
from evals.retrieval.search import Index
from schemas.errors import UserError
from train.machine import device_class

BATCH = 32
MOST_TOKENS = 512
POOLING = Path("1_Pooling") / "config.json"
PROMPTS = "config_sentence_transformers.json"
DECIMALS = 6
"""Of a score: what lies behind depends on which texts were computed together."""


class EmbeddingIndex(Index):
    """Passages and their vectors.

    Args:
        passages: with distinct ids.
        folder: of a transformers model with its tokenizer; weights as safetensors, no code of its own.

    Raises:
        UserError: there is no such model, or one that is not pooled by the mean.
    """

    def __init__(self, passages: Sequence[Passage], folder: Path) -> None:
        super().__init__(passages)
        self._folder = folder
        self._tokenizer, self._model = _loaded(folder)
        prompts = _json(folder / PROMPTS).get("prompts")
        prompts = prompts if isinstance(prompts, dict) else {}
        self._asking = str(prompts.get("query") or "")
        telling = str(prompts.get("document") or prompts.get("passage") or "")
        self._most = _most_tokens(self._tokenizer, self._model.config)
        told = [telling + passage.text for passage in self.passages]
        self._cut = sum(len(tokens) > self._most for tokens in self._tokens(told))
        self.vectors = self._embedded(told)
        """Of unit length, float32 [passages, dimensions]."""

    def scores(self, queries: Sequence[str]) -> list[NDArray[np.float32]]:
        """Cosine of each passage with each query."""
        vectors = self._embedded([self._asking + query for query in queries])
        return [np.round(self.vectors @ vector, DECIMALS) for vector in vectors]

    @property
    def facts(self) -> dict[str, Any]:
        """The model, how large the index is, and how many passages it read only in part."""
        return {
            "retriever": self._folder.name,
            "passages": len(self.passages),
            "dimensions": int(self.vectors.shape[1]),
            "most_tokens": self._most,
            "passages_cut": self._cut,
        }

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 [texts, dimensions]."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # those of one batch are about as long
        found = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            batch = self._tokenizer(
                [texts[at] for at in chosen], padding=True, truncation=True, max_length=self._most, return_tensors="pt"
            ).to(self._model.device)
            found[chosen] = self._pooled(batch)
        return found

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return list(self._tokenizer(list(texts))["input_ids"]) if texts else []

    @torch.inference_mode()
    def _pooled(self, batch: Any) -> NDArray[np.float32]:
        states = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(mean.float(), dim=1).cpu().numpy()
        return vectors


def _loaded(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder, in evaluation mode."""
    if not (folder / "config.json").is_file():
        raise _unusable(folder, "no config.json")
    pooling = _json(folder / POOLING)
    if pooling and not pooling.get("pooling_mode_mean_tokens", pooling.get("pooling_mode") == "mean"):
        raise _unusable(folder, f"{POOLING} asks for another pooling than the mean")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        model, info = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise _unusable(folder, str(error).strip().splitlines()[0][:300] if str(error) else "") from error
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:  # transformers would make them up
        raise _unusable(folder, f"weights without {missing[0]}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise _unusable(folder, "a tokenizer without a token to fill up with")
    return tokenizer, model.to(device_class()).eval()


def _most_tokens(tokenizer: Any, config: Any) -> int:
    """What the model reads of a text."""
    places = getattr(config, "max_position_embeddings", None) or MOST_TOKENS
    # Models of RoBERTa's kind begin to count behind the number of their padding token.
    places -= (config.pad_token_id or 0) + 1 if getattr(config, "model_type", "") in ("roberta", "xlm-roberta") else 0
    return max(1, min(int(tokenizer.model_max_length), int(places), MOST_TOKENS))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(path.parent, f"{path.name} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _unusable(folder: Path, found: str) -> UserError:
    return UserError(
        "the embedding model cannot be used",
        where=str(folder),
        found=found,
        expected="a folder with config.json, tokenizer and *.safetensors of a transformers model, pooled by the mean",
        help="set compare.retriever to bm25, or to the folder of such a model",
    )
