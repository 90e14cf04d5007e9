"""A few-shot arm of a comparison, beside plain generation item by item, in the same process with the same model.

    python benchmarks/compare_prefix.py --items 40 --shots 8 --out benchmarks/results/compare_prefix.json

Mail of the spam example, asked of the embedded base model after the same examples of other mail. Plain generation is
transformers' own `generate`, greedy, batch 1, each prompt read whole. Ours is the arm's own way of asking: what prompts
begin with is computed once, items are decoded in batches, and the expected answer is tried as a draft; then without
drafts, so that one sees what each is worth. The model is loaded before the clock starts. Answers must be equal item by
item. Seconds are of the wall clock and of this process on its processors.
"""

import argparse
import json
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model

from curate.load_supervisor import load_supervisor
from evals.comparing.asking import LocalModels, Weights
from evals.comparing.prompting import Conversation, Item, Speaker, with_examples
from schemas.progress import SILENT
from schemas.train_config import LoraSettings
from train.adapter import load_weights, lora_config, publish_adapter
from train.base_model import ensure_base_model

RAW = Path(__file__).parents[1] / "examples" / "spam" / "raw.jsonl"
BASE = "smollm2-135m-instruct"
CONTEXT, MOST = 8192, 18


def mail(count: int, shots: int) -> tuple[list[Item], list[Item]]:
    """Items and examples, no text in both."""
    records = [json.loads(line) for line in RAW.read_text("utf-8").splitlines()]
    distinct = list({record["messages"][-2]["content"][:400]: record for record in records}.values())
    random.Random(0).shuffle(distinct)
    made = [
        Item(f"mail{k}", k, tuple(record["messages"][:-1]), record["messages"][-1]["content"])
        for k, record in enumerate(distinct[: count + shots])
    ]
    return made[shots:], made[:shots]


def untrained_adapter(base: Path, folder: Path) -> None:
    """An adapter that changes nothing: the base model is what is asked."""
    model = get_peft_model(load_weights(base), lora_config(LoraSettings(r=4), load_weights(base)))
    model.save_pretrained(str(folder / "raw"))
    publish_adapter(folder / "raw", folder / "adapter", BASE)


def timed(work: Any) -> tuple[Any, dict[str, float]]:
    """What it gives, and its seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}


def plain(models: LocalModels, speaker: Speaker, asked: list[Conversation]) -> list[str]:
    """Each prompt by `generate`, by itself."""
    found = []
    with models._loaded_as("base") as model, torch.inference_mode():
        for one in asked:
            prompt = torch.tensor([speaker.prompt(one)[0]])
            out = model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=MOST,
                do_sample=False,
                eos_token_id=models._ends(model),
                pad_token_id=speaker.end,
            )
            found.append(speaker.text(out[0, prompt.shape[1] :].tolist()))
    return found


def main() -> None:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    base = ensure_base_model(BASE)
    speaker = Speaker(load_supervisor(base, CONTEXT), CONTEXT, MOST)
    items, examples = mail(given.items, given.shots)
    asked = [with_examples(item, examples, speaker)[0] for item in items]
    with tempfile.TemporaryDirectory() as folder:
        untrained_adapter(base, Path(folder))

        def fresh(name: str) -> LocalModels:
            """With an empty store of answers, and warm."""
            weights = Weights(base, Path(folder), None, {"base": {"run": name}, "tuned": {}}, "float32", 16)
            models = LocalModels(weights, speaker, Path(folder) / name, SILENT)
            models.timed("base", asked[0])
            return models

        models = fresh("plain")
        answers, spent = timed(lambda: plain(models, speaker, asked))
        seconds = {"plain generation": spent}
        for name, questions in (
            ("the arm", asked),
            ("the arm without drafts", [one._replace(expected="") for one in asked]),
        ):
            models = fresh(name.replace(" ", "-"))
            said, seconds[name] = timed(lambda questions=questions, models=models: models.ask("base", questions))
            unlike = [item.item_id for item, a, b in zip(items, said, answers, strict=True) if a.text != b]
            if unlike or any(one.failed for one in said):
                raise SystemExit(f"{name}: other answers to {len(unlike)} items, {unlike[:3]} among them")
        shared = models.shared_tokens(asked)
    whole = sum(len(speaker.prompt(one)[0]) for one in asked)
    ratios = {
        name: {kind: round(seconds["plain generation"][kind] / spent[kind], 2) for kind in spent}
        for name, spent in seconds.items()
        if name != "plain generation"
    }
    result = {
        "items": given.items,
        "shots": given.shots,
        "prompt_tokens": whole,
        "shared_tokens": shared,
        "equal_answers": given.items,
        "seconds": seconds,
        "times_faster": ratios,
        "machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
