"""Full fine-tuning: as `sft`, but every weight of the base model is trained; for comparison with an adapter."""

from train.methods.sft import build

__all__ = ["build"]
