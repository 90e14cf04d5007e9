"""Conditions of the model gate, one a file, discovered by name.

A file here has `ORDER`, its place in the report, and `judge(evidence)`, which yields a check for each task or
measurement that it concerns. It reads evidence and never a model, and it passes only on evidence.
"""
