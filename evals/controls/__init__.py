"""Controls of the overfitting measurements, one a file, discovered by name; each says whether a comparison is fair.

A file here has `judge(evidence)`, which gives the check `control:<name>`. Its `measured["undermines"]` names the
measurements that cannot be relied on where it does not pass. A control is inconclusive where it found a fault, and
fails only where the fault is one by itself: a held-out row that was trained.
"""
