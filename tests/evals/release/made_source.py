"""A judged model of some ten thousand weights: a Llama with a tokenizer that GGUF knows, and a random adapter on it."""

import json
import warnings
from pathlib import Path
from typing import Any

from evals.release.source import Source
from tests.tiny_model import CHATML, SPECIAL

MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("Ġ", "Ġ"),
    ("Ġ", "1"),
    ("1", "2"),
    ("Ċ", "Ċ"),
    ("i", "n"),
    ("Ġ", "in"),
]
PIECES = ["th", "in", "▁t", "he", "the", "▁th", "▁the", "▁in", "▁▁", "ing", "thing", "▁thing", "nn", "inn", "▁inn"]
ZEPHYR = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
TEXTS = [
    "the thin thing in the inn",
    "a\n\n1. x\n\n\n7",
    "  42 and 12 1212, v1.2.3",
    "tab\there   there\r\n",
    "naïve Überraschung — 日本語 🙂 क्षि",
    "<|im_start|>user\nhow's 2024?<|im_end|>\n",
    "it's we'll THEY'RE 'd",
    "",
]


def write_tokenizer(folder: Path, cut: str = "smollm", template: str | None = CHATML, **settings: Any) -> int:
    """A byte-level tokenizer with some merges; gives the number of its tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from evals.release.gguf_tokenizer import LLAMA_3

    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    vocabulary = {token: k for k, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES, ignore_merges=cut == "llama-bpe"))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    steps: dict[str, Any] = {
        "gpt-2": whole,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole]),
        "llama-bpe": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_3), "isolated"), bytes_only]),
        "other": pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), whole]),
    }
    tokenizer.pre_tokenizer = steps[cut]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    stated: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
    }
    stated |= {"pad_token": "<|endoftext|>", "model_max_length": 512, **settings}
    if template is not None:
        stated["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    return len(tokens)


def write_sentencepiece_tokenizer(folder: Path, **model: Any) -> int:
    """A tokenizer as one converted from sentencepiece looks; gives the number of its tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    specials = ["<unk>", "<s>", "</s>"]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz.,'"]
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *PIECES]
    vocabulary = {token: k for k, token in enumerate(tokens)}
    splits = [(whole[:cut], whole[cut:]) for whole in PIECES for cut in range(1, len(whole))]
    merges = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
    settings = {"merges": merges, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, **model}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, **settings))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(specials)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    stated: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>"}
    stated |= {"eos_token": "</s>", "model_max_length": 512, "chat_template": ZEPHYR}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    return len(tokens)


def write_base(folder: Path, cut: str = "smollm", *, mistral: bool = False, seed: int = 0, **settings: Any) -> Path:
    """A base model of 3 layers of width 32; `settings` are of its config."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    tokens = write_sentencepiece_tokenizer(folder) if cut == "sentencepiece" else write_tokenizer(folder, cut)
    shape: dict[str, Any] = {
        "vocab_size": tokens,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,  # large enough that attention, and so the order of its rows, decides answers
        **settings,
    }
    torch.manual_seed(seed)
    model: Any = MistralForCausalLM(MistralConfig(**shape)) if mistral else LlamaForCausalLM(LlamaConfig(**shape))
    model.save_pretrained(folder)
    return folder


def write_adapter(base: Path, trained: Path, *, scale: float = 0.2, **settings: Any) -> Path:
    """A LoRA adapter whose weights are random, as training leaves it; `settings` are of peft's LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from train.adapter import publish_adapter

    modules = settings.pop("target_modules", ["q_proj", "v_proj", "down_proj"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's advice on tied embeddings is what some tests are about
        config = LoraConfig(r=4, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM", **settings)
        model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        torch.manual_seed(1)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += torch.randn_like(weight) * scale
        model.save_pretrained(str(trained / "raw"))
    publish_adapter(trained / "raw", trained / "adapter", base.name)
    return trained / "adapter"


def made_source(root: Path, *, lora: dict[str, Any] | None = None, dtype: str = "float32", **base: Any) -> Source:
    """A base model and an adapter under `root`."""
    folder = write_base(root / "base", **base)
    write_adapter(folder, root / "trained", **(lora or {}))
    return Source("toy", folder, root / "trained", dtype)


def logits_of(model: Any, tokens: int = 60) -> Any:
    """Logits (tokens, vocabulary) of one model on tokens drawn once, in float32."""
    import torch

    rows = int(model.get_input_embeddings().weight.shape[0])
    drawn = torch.randint(0, rows, (1, tokens), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return model(input_ids=drawn.to(model.device)).logits[0].float().cpu()
