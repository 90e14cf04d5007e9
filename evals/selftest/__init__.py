"""The gates tested: faults planted in rows (`plants/`) and in models (`cases/`), one a file, and how many are caught.

A planted fault is written down with what the gates must say about it before anything runs. Detection and false-alarm
rates come with Clopper-Pearson intervals; too few trials are inconclusive and never a pass.
"""
