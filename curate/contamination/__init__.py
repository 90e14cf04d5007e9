"""Eval items in training rows: matching whole turns, and counting shared word n-grams."""
