"""What a release costs and how far each form of the model is from the judged one, with the bundled model.

    python benchmarks/release_cost.py --out benchmarks/results/release_cost.json

A LoRA adapter of drawn weights, rank 8 on all linear layers, stands for a trained one. How far the base model alone is
from it is measured too, since a form that lost the adapter would be that far away. Every export runs in a process of
its own, and its seconds and its peak memory are that process's, imports included. The floor is measured in the same
run: a process that imports the same libraries, reads the base model's weights and writes them once. The distances are
over the tokens of rows of the spam example, in float32: log-probability of each true token, Kullback-Leibler divergence
from the judged model, and share of positions with the same most likely token. Each form is loaded back as `assay
release` loads it, GGUF files by transformers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RAW = ROOT / "examples" / "spam" / "raw.jsonl"
TARGETS = ("merged", "gguf-f16", "gguf-q8_0", "gguf-q4_0")
PARTS = ("floor", *TARGETS)
MOST_SECONDS, MOST_BYTES, MOST_LOG_P = 30.0, 2_000_000_000, 1e-3
"""Bounds for the merge of the bundled model."""


def base_folder() -> Path:
    """The bundled model."""
    from train.base_model import ensure_base_model

    return ensure_base_model("smollm2-135m-instruct")


def write_adapter(folder: Path) -> None:
    """A LoRA adapter whose weights are drawn, the same for every run."""
    import torch
    from peft import LoraConfig, get_peft_model

    from train.adapter import load_weights, publish_adapter

    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(load_weights(base_folder()), config)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * 0.05
    model.save_pretrained(str(folder / "raw"))
    publish_adapter(folder / "raw", folder / "adapter", "smollm2-135m-instruct")


def source_of(work: Path) -> Any:
    """The judged model: the drawn adapter on the bundled model."""
    from evals.release.source import Source

    return Source("spam", base_folder(), work, "float32")


def target_of(name: str) -> Any:
    """The target of a name."""
    from evals.discovery import modules

    return next(target for target in modules("evals.release.targets") if name == target.NAME)


def floor(work: Path) -> None:
    """Read the base model's weights as transformers does, and write them once."""
    from evals.release import merging  # noqa: F401  what an export imports, it imports too
    from train.adapter import load_weights

    model = load_weights(base_folder())
    with (work / "floor.bin").open("wb") as stream:
        for weight in model.parameters():
            weight.detach().numpy().tofile(stream)


def peak_bytes() -> int:
    """The most memory that this process held; unlike ru_maxrss it knows nothing of the process that started it."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def run_part(part: str, work: Path) -> None:
    """In a process of its own: do it, and print what it took."""
    started = time.perf_counter()
    if part == "floor":
        floor(work)
        written = [work / "floor.bin"]
    else:
        target = target_of(part)
        written = target.export(source_of(work), work / "release" / target.FOLDER, "spam")
    used = os.times()
    print(
        json.dumps(
            {
                "wall_s": round(time.perf_counter() - started, 2),
                "cpu_s": round(used.user + used.system, 2),
                "peak_mb": round(peak_bytes() / 1e6),
                "written_mb": round(sum(path.stat().st_size for path in written) / 1e6, 1),
            }
        )
    )


def measured(part: str, work: Path) -> dict[str, Any]:
    """What a part took in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--work", str(work)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{part}: {found}", flush=True)
    return found


def sequences(tokenizer: Any, count: int, most_tokens: int) -> list[list[int]]:
    """Tokens of the first rows of the spam example, as conversations."""
    rows = [json.loads(line) for line in RAW.read_text("utf-8").splitlines()[:count]]
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows]
    return [tokenizer(text)["input_ids"][:most_tokens] for text in texts]


class Distance:
    """Of one form of the model from the judged one, summed up over sequences."""

    def __init__(self) -> None:
        self.largest = self.total = self.divergence = 0.0
        self.same = self.tokens = 0

    def add(self, judged: Any, other: Any, true: Any) -> None:
        """Log-probabilities (tokens, vocabulary) of both, and the true tokens."""
        gap = (judged.gather(1, true[:, None]) - other.gather(1, true[:, None])).abs()
        self.largest = max(self.largest, float(gap.max()))
        self.total += float(gap.sum())
        self.divergence += float((judged.exp() * (judged - other)).sum())
        self.same += int((judged.argmax(-1) == other.argmax(-1)).sum())
        self.tokens += len(true)

    def figures(self) -> dict[str, float]:
        """What is reported."""
        return {
            "largest_log_p_difference": float(f"{self.largest:.3g}"),
            "mean_log_p_difference": float(f"{self.total / self.tokens:.3g}"),
            "mean_kl_nats": float(f"{self.divergence / self.tokens:.3g}"),
            "same_top_token": round(self.same / self.tokens, 4),
        }


def log_probabilities(model: Any, tokens: Any) -> Any:
    """Of every token that could follow, at each position but the last (tokens - 1, vocabulary)."""
    return model(tokens).logits[0, :-1].float().log_softmax(-1)


def distances(work: Path, count: int, most_tokens: int) -> tuple[int, dict[str, dict[str, float]]]:
    """Tokens compared, and each form's distance; the base model without adapter is there to show what would be lost."""
    import torch

    from evals.release.source import load_judged
    from train.adapter import load_weights

    source = source_of(work)
    judged = load_judged(source)
    forms: dict[str, Any] = {"base model alone": load_weights(source.base).to(judged.model.device)}
    for name in TARGETS:
        target = target_of(name)
        forms[name] = target.load(source, work / "release" / target.FOLDER).model
    found = {name: Distance() for name in forms}
    with torch.inference_mode():
        for row in sequences(judged.tokenizer, count, most_tokens):
            tokens = torch.tensor([row], device=judged.model.device)
            reference = log_probabilities(judged.model, tokens)
            for name, model in forms.items():
                found[name].add(reference, log_probabilities(model, tokens), tokens[0, 1:])
    return found["merged"].tokens, {name: distance.figures() for name, distance in found.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All parts, and what follows from them."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_adapter(work)
        cost = {part: measured(part, work) for part in PARTS}
        tokens, far = distances(work, args.sequences, args.max_tokens)
    merge = cost["merged"]
    return {
        "sequences": args.sequences,
        "tokens": tokens,
        "cost": cost,
        "distance": far,
        "holds": {
            f"merge in under {MOST_SECONDS:g} s": merge["wall_s"] < MOST_SECONDS,
            f"merge in under {MOST_BYTES / 1e6:g} MB": merge["peak_mb"] * 1e6 < MOST_BYTES,
            f"merged within {MOST_LOG_P:g}": far["merged"]["largest_log_p_difference"] <= MOST_LOG_P,
        },
    }


def main() -> None:
    """Measure, print, and write the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args.part, args.work)
        return
    result = measure(args)
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", "utf-8")
    if not all(result["holds"].values()):
        sys.exit("a bound does not hold")


if __name__ == "__main__":
    main()
