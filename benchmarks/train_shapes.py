"""LoRA SFT of randomly initialised Llamas: tokens a second and model-FLOPs utilisation, beside plain TRL.

    python benchmarks/train_shapes.py --shape 1b --out benchmarks/results/train_1b.json
    python benchmarks/train_shapes.py --shape tiny    # tries the script anywhere

Rows are random tokens whose lengths are drawn from a log-normal distribution cut at `--max-length`; the last part of
each carries loss. Both train the same rows with the same adapter and the same rows a step in bfloat16 (float32 where
there is no GPU), one after the other in one process, with weights drawn anew. The peer has TRL's own defaults, gradient
checkpointing included; `--peer-plain` switches that off. Utilisation counts 4 x parameters x tokens without padding: 2
for the forward pass, 2 for the gradients of activations; the base is frozen, so that there are none of weights. What is
computed twice is not counted. Peaks are those of the makers' data sheets for dense bfloat16.
"""

import argparse
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from curate.supervision import Supervised
from schemas.train_config import LoraSettings, TrainConfig
from train.adapter import lora_config
from train.base_model import ensure_base_model
from train.examples import Example
from train.methods.sft import SupervisedTrainer
from train.monitor import MetricsLog, SilentView
from train.rows import SplitRow
from train.trainer import Job
from train.watch import Rollbacks, Watch

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 4, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}
KEY_VALUE_HEADS = {"tiny": 2, "1b": 8, "8b": 8}
VOCABULARY = {"tiny": 49152, "1b": 128256, "8b": 128256}
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "T4": 65e12}


class Quiet(SFTTrainer):
    """TRL's trainer as it is, but for the report of each run to its hub."""

    def _send_telemetry(self) -> None:
        """Report to nobody."""


def draw_rows(count: int, max_length: int, vocabulary: int, seed: int) -> list[Supervised]:
    """Random rows: half of each carries loss."""
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(np.log(max_length / 4), 0.8, count).astype(int), 16, max_length)
    rows = []
    for length in lengths.tolist():
        ids = draw.integers(0, vocabulary, length).tolist()
        mask = [k >= length // 2 for k in range(length)]
        rows.append(Supervised(ids, mask, 0, (), True))
    return rows


def build(shape: str, on_gpu: bool) -> LlamaForCausalLM:
    """A model with random weights, on the device where it will train."""
    set_seed(0)
    config = LlamaConfig(
        **SHAPES[shape],
        num_key_value_heads=KEY_VALUE_HEADS[shape],
        vocab_size=VOCABULARY[shape],
        max_position_embeddings=8192,
        tie_word_embeddings=shape != "8b",
    )
    with torch.device("cuda" if on_gpu else "cpu"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16 if on_gpu else torch.float32)
    assert isinstance(model, LlamaForCausalLM)
    return model


def ours(config: TrainConfig, model: Any, rows: list[Supervised], scratch: Path, folder: Path) -> float:
    """Seconds of one epoch with assay's trainer."""
    places = [SplitRow(str(k), None, k, "drawn", k, {}) for k in range(len(rows))]
    examples = [Example(k, (row,)) for k, row in enumerate(rows)]
    job = Job(config, scratch, folder, 0, places, examples, [], {}, frozenset())
    watch = Watch(job, MetricsLog(scratch / "metrics.jsonl"), SilentView(), Rollbacks(scratch / "rollbacks.json"))
    trainer = SupervisedTrainer(job, watch, scratch, model)
    trainer.args.save_strategy = "no"
    return timed(trainer)


def plain(
    config: TrainConfig, model: Any, rows: list[Supervised], scratch: Path, folder: Path, checkpointing: bool
) -> float:
    """Seconds of one epoch with TRL's own trainer and defaults."""
    settings = SFTConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        num_train_epochs=1,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=checkpointing,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    dataset = Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    adapter = lora_config(config.lora, model)
    trainer = Quiet(model=model, args=settings, train_dataset=dataset, processing_class=tokenizer, peft_config=adapter)
    trainer.remove_callback(PrinterCallback)
    return timed(trainer)


def timed(trainer: Any) -> float:
    """Seconds of `train()`, the device idle before and after."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    trainer.train()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both trainers on the same rows, and what follows."""
    on_gpu = torch.cuda.is_available()
    folder = ensure_base_model("smollm2-135m-instruct")
    config = TrainConfig(
        batch_size=args.batch,
        max_length=args.max_length,
        lora=LoraSettings(r=16, lora_alpha=32),
        packing=args.packing,
        gradient_checkpointing=args.checkpointing,
        checkpoint_steps=1 << 20,
    )
    rows = draw_rows(args.rows, args.max_length, VOCABULARY[args.shape], seed=0)
    tokens = sum(len(row.input_ids) for row in rows)
    seconds, memory = {}, {}
    parameters = 0
    for name in ("plain", "assay"):
        for part, some in (("warm", rows[: 2 * args.batch]), ("timed", rows)):
            model = build(args.shape, on_gpu)
            parameters = sum(weight.numel() for weight in model.parameters())
            with tempfile.TemporaryDirectory() as scratch:
                given = config, model, some, Path(scratch), folder
                took = ours(*given) if name == "assay" else plain(*given, not args.peer_plain)
            if part == "timed":
                seconds[name] = took
                memory[name] = torch.cuda.max_memory_allocated() if on_gpu else None
            del model
            if on_gpu:
                torch.cuda.empty_cache()
    device = torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine()
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in device), None)
    rate = {name: tokens / took for name, took in seconds.items()}
    return {
        "device": device,
        "torch": torch.__version__,
        "settings": {key: value for key, value in vars(args).items() if key != "out"},
        "parameters": parameters,
        "rows": len(rows),
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": rate,
        "speedup": rate["assay"] / rate["plain"],
        "utilisation": {name: 4 * parameters * found / peak for name, found in rate.items()} if peak else None,
        "peak_bytes": memory,
    }


def main() -> None:
    """Measure, print, and write the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--packing", action="store_true", help="ours lays rows end to end")
    parser.add_argument("--checkpointing", action="store_true", help="ours computes activations twice, too")
    parser.add_argument("--peer-plain", action="store_true", help="the peer keeps its activations")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    text = json.dumps(measure(args), indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
