"""One way to compare new rows with a dataset's in each file.

A measurement has NAME, TITLE, `applies(sample) -> str` (why it says nothing; empty where it applies) and
`measure(sample, bound, draw) -> Found`.
"""
