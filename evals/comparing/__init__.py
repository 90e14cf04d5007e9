"""Comparing ways to do the task: the same held-out items, the same decoding, quality with intervals beside cost."""
