"""The tools that the speed benchmark compares: each reads a JSONL file and returns a cluster label per row."""

from __future__ import annotations

import multiprocessing
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tool:
    """One contestant: how to run it, the packages it needs, and how often a run is worth repeating."""

    run: Callable[[Path], list[int]]
    needs: tuple[str, ...] = ()
    most_runs: int = 3


def _texts(path: Path) -> list[str]:
    """The rows of a file, read with the fastest reader at hand."""
    import orjson

    with path.open("rb") as file:
        return [orjson.loads(line)["text"] for line in file]


def _assay(path: Path, setting: str) -> list[int]:
    from curate.dedup import find_duplicates, read_texts

    result = find_duplicates(read_texts(path), setting=setting)
    return [row if kept is None else kept for row, kept in enumerate(result.representative.to_list())]


def _labels(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Union-find over edges."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        left, right = root(a), root(b)
        parent[max(left, right)] = min(left, right)
    return [root(node) for node in range(count)]


def _word_grams(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]


def _parallel(work: Callable[[list[str]], list[object]], texts: list[str]) -> list[object]:
    """Run a per-row function on all cores, in chunks."""
    chunks = [texts[at : at + 2000] for at in range(0, len(texts), 2000)]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        return [item for part in pool.map(work, chunks) for item in part]


def _datasketch_signatures(texts: list[str]) -> list[object]:
    from datasketch import MinHash

    made: list[object] = []
    for text in texts:
        minhash = MinHash(num_perm=128)
        minhash.update_batch([gram.encode() for gram in _word_grams(text)])
        made.append(minhash.digest())
    return made


def _datasketch(path: Path) -> list[int]:
    from datasketch import MinHash, MinHashLSH

    digests = _parallel(_datasketch_signatures, _texts(path))
    index = MinHashLSH(threshold=0.8, num_perm=128)
    edges = []
    permutations = MinHash(num_perm=128).permutations
    for row, digest in enumerate(digests):
        minhash = MinHash(hashvalues=digest, permutations=permutations, scheme="affine32")
        edges += [(int(other), row) for other in index.query(minhash)]
        index.insert(str(row), minhash)
    return _labels(len(digests), edges)


def _gaoya(path: Path) -> list[int]:
    from gaoya.minhash import MinHashStringIndex  # type: ignore[import-untyped, import-not-found, unused-ignore]

    texts = _texts(path)
    index = MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=0.8,
        num_bands=9,
        band_size=13,
        analyzer="word",
        lowercase=True,
        ngram_range=(5, 5),
    )
    index.par_bulk_insert_docs(list(range(len(texts))), texts)
    found = index.par_bulk_query(texts)
    return _labels(len(texts), ((row, other) for row, others in enumerate(found) for other in others))


def _rensa(path: Path) -> list[int]:
    from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped, import-not-found, unused-ignore]

    texts = _texts(path)
    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    sketches = RMinHash.from_token_sets(_parallel(_gram_rows, texts), num_perm=128, seed=42)
    edges = []
    for row, sketch in enumerate(sketches):
        edges += [(other, row) for other in index.query(sketch) if sketches[other].jaccard(sketch) >= 0.8]
        index.insert(row, sketch)
    return _labels(len(texts), edges)


def _gram_rows(texts: list[str]) -> list[object]:
    return [_word_grams(text) for text in texts]


def _datatrove(path: Path) -> list[int]:
    from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found, unused-ignore]
    from datatrove.pipeline.dedup import (  # type: ignore[import-not-found, unused-ignore]
        MinhashDedupBuckets,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found, unused-ignore]
    from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found, unused-ignore]

    config, cores = MinhashConfig(n_grams=5, num_buckets=9, hashes_per_bucket=13), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = path.read_bytes().splitlines(keepends=True)
        share = -(-len(lines) // cores)  # one file a core: its tasks are files
        for core in range(cores):
            part = folder / "rows" / f"{core}.jsonl"
            part.parent.mkdir(exist_ok=True)
            part.write_bytes(b"".join(lines[core * share : (core + 1) * share]))
        signing = MinhashDedupSignature(str(folder / "signatures"), config)
        joining = MinhashDedupBuckets(str(folder / "signatures"), str(folder / "pairs"), config=config)
        stages = (([JsonlReader(str(folder / "rows")), signing], cores), ([joining], config.num_buckets))
        for number, (steps, tasks) in enumerate(stages):
            logs = str(folder / f"logs{number}")
            LocalPipelineExecutor(steps, tasks=tasks, workers=cores, logging_dir=logs, start_method="fork").run()
        pairs = [
            (file * share + row, other_file * share + other)
            for found in (folder / "pairs").glob("*.dups")
            for file, row, other_file, other in struct.iter_unpack("<4I", found.read_bytes())
        ]
    return _labels(len(lines), pairs)


TOOLS = {
    "assay-fast": Tool(lambda path: _assay(path, "fast"), ("numba",)),
    "assay-default": Tool(lambda path: _assay(path, "default"), ("numba",)),
    "gaoya": Tool(_gaoya, ("gaoya",)),
    "rensa": Tool(_rensa, ("rensa",), most_runs=1),
    "datasketch": Tool(_datasketch, ("datasketch",), most_runs=1),
    "datatrove": Tool(_datatrove, ("datatrove", "spacy"), most_runs=1),
}
