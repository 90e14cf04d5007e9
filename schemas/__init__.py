"""What assay writes on disk and what its rooms share: typed records, findings, manifests, results, verdicts.

This room is a leaf: it imports the standard library and pydantic, nothing else.
"""

__distribution__ = "assay"
