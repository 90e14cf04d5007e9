"""Overfitting measurements, one a file, discovered by name; `gates.model.overfitting` of the config switches them on.

A file here has `DEFAULTS`, its thresholds by name, and `judge(evidence, thresholds)`, which gives one check.
"""
