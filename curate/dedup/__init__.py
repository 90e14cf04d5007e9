"""Duplicates that are really duplicates: hashing, MinHash candidates, exact verification, clusters."""

from curate.dedup.exact import exact_hashes, normalise, normalised_hashes
from curate.dedup.kinds import KINDS
from curate.dedup.pairs import sketch_signatures
from curate.dedup.search import DuplicateResult, Policy, find_duplicates, policy_rank, similarity_components
from curate.dedup.texts import read_texts

__all__ = [
    "KINDS",
    "DuplicateResult",
    "Policy",
    "exact_hashes",
    "find_duplicates",
    "normalise",
    "normalised_hashes",
    "policy_rank",
    "read_texts",
    "similarity_components",
    "sketch_signatures",
]
