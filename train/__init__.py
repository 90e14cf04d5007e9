"""A curated dataset in; an adapter out."""

__distribution__ = "assay"
