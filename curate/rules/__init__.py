"""One rule a file: found by looking into this folder, never registered by hand."""

from curate.rules.catalogue import all_rules, resolve, select_rules

__all__ = ["all_rules", "resolve", "select_rules"]
