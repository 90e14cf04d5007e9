"""The `train` section of `assay.yaml` as typed models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.base import Count, PathText, Seed, Share, Strict


class LoraSettings(Strict):
    """The adapter, in peft's names."""

    r: Count = 8
    lora_alpha: Count = 16
    lora_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: list[str] = Field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"], min_length=1)
    last_layers: Count | None = None
    """Adapt only the last N transformer layers; null adapts all."""
    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(r) instead of lora_alpha / r (rsLoRA)."""
    use_dora: bool = False
    """Learn a magnitude for each output beside the low-rank direction (DoRA)."""
    init: str = "default"
    """How the adapter starts: default, gaussian or orthogonal. One that changes the base weights is refused."""

    @field_validator("init")
    @classmethod
    def _leaves_the_base_alone(cls, init: str) -> str:
        if init.startswith(MUTATING_INITS):
            raise ValueError(
                f"`{init}` starts the adapter by changing the base model's weights; the adapter would then not fit the "
                f"base model that everybody else has. Use one of {', '.join(INITS)}"
            )
        if init not in INITS:
            raise ValueError(f"must be one of {', '.join(INITS)}")
        return init


INITS = ("default", "gaussian", "orthogonal")
MUTATING_INITS = ("pissa", "olora", "corda", "loftq", "lora_ga")


class RewardFunction(Strict):
    """One reward of GRPO; the file `train/rewards/<use>.py`, or a function of the user's own."""

    use: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")] | None = None
    """Name of a reward that comes with assay: exact_match, json_schema, numeric, regex."""
    python: PathText | None = None
    """`FILE.py:FUNCTION`, relative to the config. The function takes the completion, the reference and the row."""
    weight: float = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    """What the reward takes, such as `pattern` of regex; each reward checks its own."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.use is None) == (self.python is None):
            raise ValueError("a reward needs `use`, the name of one, or `python`, FILE.py:FUNCTION, and not both")
        return self


class GuardConfig(Strict):
    """What is done about a loss that jumps or is no number: back to the last checkpoint, at a lower learning rate."""

    spike: Annotated[float, Field(gt=1.0)] | None = 5.0
    """A step's loss above so many times the median of the last `window` is a spike; null watches for non-numbers
    alone."""
    window: Count = 20
    """Steps that the median is taken of; no spike is seen before there are so many."""
    patience: Count = 3
    """Steps in a row that must be above it."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What the learning rate is multiplied with after each way back."""
    rollbacks: int = Field(default=3, ge=0, lt=1 << 31)
    """Ways back before training is given up."""


class WatchConfig(Strict):
    """What is measured while training, on fixed samples of the trained and of the validation rows."""

    rows: int = Field(default=16, ge=0, lt=1 << 31)
    """Rows of each sample; 0 watches nothing."""
    general_texts: int = Field(default=4, ge=0, le=40)
    """Passages of neutral text whose loss shows drift (sft, full, text); 0 reads none."""
    share: Share = 0.1
    """Most of the training's own work that watching may cost; it always looks before the first and after the last
    step."""
    max_gain_gap: Annotated[float, Field(gt=0.0)] = 0.5
    """Nats a token by which trained rows may have gained more than validation rows before the view warns, and before
    `assay sweep` rejects the run."""


Tracker = Literal["mlflow", "tensorboard", "trackio", "wandb"]


class TrainConfig(Strict):
    """One training run."""

    base_model: PathText = "smollm2-135m-instruct"
    """Bundled name, hub id or local path."""
    method: Literal["sft", "text", "full", "dpo", "kto", "grpo", "reward"] = "sft"
    """sft: answers of conversations; text: continued training on plain text; full: as sft, but every weight, for
    comparison; dpo, kto: preferences; grpo: reward functions; reward: a reward model from preferences."""
    lora: LoraSettings = LoraSettings()
    max_examples: Count | None = 300
    """Seeded, stratified subset of the training split; null takes all."""
    epochs: Count = 1
    batch_size: Count = 6
    """Rows per optimiser step of one process and of one accumulation."""
    gradient_accumulation: Count = 1
    """Batches per optimiser step."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0, lt=1 << 31)
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    max_length: int = Field(default=256, ge=8, lt=1 << 31)
    """Tokens per row; longer rows are truncated at the start of the prompt, never in the answer."""
    checkpoint_steps: Count = 10
    """Optimiser steps between checkpoints; a killed run resumes from the last one."""
    keep: Literal["best", "last"] = "best"
    """Which weights are published: those of the least validation loss that was measured, or the last."""
    early_stopping: Count | None = None
    """Stop once the validation loss has not improved for so many measurements; null never stops early."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the base weights; auto takes bfloat16 on a GPU that has it and float32 elsewhere, where it is faster."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, about a third more time."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention kernel; auto leaves it to transformers (sdpa)."""
    packing: bool = False
    """Lay the rows of a batch end to end instead of padding them; no row sees another."""
    quantization: Literal["4bit"] | None = None
    """Keep the frozen base weights in 4 bits (QLoRA); needs a GPU and bitsandbytes."""
    beta: Annotated[float, Field(ge=0.0)] | None = None
    """dpo, kto: strength of the tie to the base model, 0.1 by default; grpo: weight of the KL term, 0 by default."""
    rewards: list[RewardFunction] = Field(default_factory=list)
    """grpo: the reward functions; their weighted sum is maximised."""
    generations: Annotated[int, Field(ge=2, lt=1 << 31)] = 4
    """grpo: answers drawn for each prompt; batch_size counts answers and must be a multiple of it."""
    max_new_tokens: Count = 64
    """grpo: longest answer that is drawn, in tokens."""
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """grpo: of the answers that are drawn."""
    canaries: int = Field(default=0, ge=0, le=1000)
    """sft: made-up rows inserted once, as many twice and as many four times, and as many never, whose loss shows
    memorisation; 0 inserts none. They are trained: use them in a copy of the run, not in the model that ships."""
    guard: GuardConfig = GuardConfig()
    watch: WatchConfig = WatchConfig()
    report_to: list[Tracker] = Field(default_factory=list)
    """Trackers that get the metrics too; each needs its package. mlflow and wandb may use the network."""
    price_per_hour: Annotated[float, Field(gt=0.0)] | None = None
    """What an hour of this machine costs, in any currency; `assay plan` multiplies with it."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        faults = [text for broken, text in self._conflicts() if broken]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _conflicts(self) -> list[tuple[bool, str]]:
        tuned = self.method != "full"
        answers = self.method in ("sft", "full")
        return [
            (
                self.method == "grpo" and not self.rewards,
                "method grpo needs `rewards`, for example [{use: exact_match}]",
            ),
            (self.method != "grpo" and bool(self.rewards), f"method {self.method} takes no `rewards`; grpo does"),
            (
                self.method == "grpo" and self.batch_size % self.generations != 0,
                f"method grpo draws {self.generations} answers a prompt, so `batch_size` must be a multiple of it, "
                f"found {self.batch_size}",
            ),
            (
                self.method == "kto" and self.batch_size < 2,
                "method kto compares rows of a batch: `batch_size` of 2 at least",
            ),
            (
                not tuned and self.quantization is not None,
                "method full trains every weight, which `quantization` freezes",
            ),
            (
                self.packing and self.method not in ("sft", "text", "full"),
                f"`packing` is for sft, text and full; method {self.method} pads",
            ),
            (
                self.canaries > 0 and not answers,
                f"`canaries` are conversations; method {self.method} does not train them",
            ),
            (self.early_stopping is not None and self.watch.rows == 0, "`early_stopping` needs `watch.rows` above 0"),
            (self.canaries > 0 and self.watch.rows == 0, "`canaries` are measured with `watch.rows` above 0 alone"),
            (
                bool(self.rewards) and not any(reward.weight for reward in self.rewards),
                "all `rewards` have weight 0: nothing would be learned",
            ),
        ]
