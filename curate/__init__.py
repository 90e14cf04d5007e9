"""Rows in; clean, split, decontaminated examples out: readers, rules, duplicates, splits, the data gate."""

__distribution__ = "assay"
