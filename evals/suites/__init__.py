"""Suites that ship with assay, found by name: lm-eval YAML, or Python that makes the items (`evals/makers.py`)."""
