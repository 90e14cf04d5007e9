"""Overfitting measurements, one a file, discovered by name; `gates.model.overfitting` of the config names them.

A file here has `DEFAULTS`, its thresholds by name; `EFFECTS`, which numbers they bound; `WHEN`, whether it is judged
without being named (`evals.measuring.When`); `READS_LOSSES`, whether nothing can be said where a backend gives no
losses; `applies(evidence)`, why it does not apply, decided from the data alone; and `judge(evidence, thresholds)`,
which gives one check. Where the outcome is a failure, `measured["p"]` is a one-sided p-value that the effect is above
its bound.
"""
