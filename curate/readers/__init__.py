"""Files in, rows out: JSONL, JSON arrays, CSV, TSV, Parquet, Arrow and plain text, packed or not; no line is lost."""

from curate.readers.read import read_corpus, source_from_bytes

__all__ = ["read_corpus", "source_from_bytes"]
