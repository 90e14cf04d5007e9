"""Continued training on plain text: every token carries loss, and documents end in the end-of-sequence token."""

from train.methods.sft import build

__all__ = ["build"]
