"""The texts of many rows on disk, packed in blocks: a search reads those of its candidates and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import zstandard

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 16
"""Text that is packed together: a block is unpacked as a whole, and packs better the larger it is."""
LEVEL = 3
Kept = tuple[str | None, str | None]
"""The text of a row, and its answer; either may be missing."""


class KeptTexts:
    """Texts and answers by row number."""

    def __init__(
        self, data: Any, ends: NDArray[np.int64], blocks: NDArray[np.int64], missing: NDArray[np.uint8]
    ) -> None:
        """Take what `write_texts` wrote.

        Args:
            data: all packed blocks, as bytes or mapped into memory.
            ends: [2 n], where the text and the answer of each row end among the unpacked bytes.
            blocks: [blocks, 2], where each block ends: among the unpacked bytes, and among the packed ones.
            missing: [n], 1 for a row without a text, 2 for one without an answer, 3 for one without both.
        """
        self._data, self._ends, self._blocks, self._missing = data, ends, blocks, missing

    def of(self, rows: NDArray[np.int64]) -> Iterator[Kept]:
        """The texts of some rows in the order given; ascending rows unpack each block once."""
        unpack = zstandard.ZstdDecompressor()
        current, unpacked, start = -1, b"", 0
        for row in rows.tolist():
            middle, end = int(self._ends[2 * row]), int(self._ends[2 * row + 1])
            begin = int(self._ends[2 * row - 1]) if row else 0
            # A row of no text may lie between two blocks: then either of them holds all of it.
            block = min(int(np.searchsorted(self._blocks[:, 0], end, "left")), len(self._blocks) - 1)
            if block != current:
                first = self._blocks[block - 1] if block else (0, 0)
                start, packed = int(first[0]), int(first[1])
                unpacked, current = unpack.decompress(self._data[packed : int(self._blocks[block, 1])]), block
            missing = int(self._missing[row])
            text = None if missing & 1 else unpacked[begin - start : middle - start].decode()
            yield text, None if missing & 2 else unpacked[middle - start : end - start].decode()


def write_texts(kept: Iterable[Kept], stream: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Pack the texts of rows.

    Args:
        kept: in the order of the rows.
        stream: where the packed blocks go.

    Returns:
        `ends`, `blocks` and `missing`, as `KeptTexts` takes them.
    """
    pack = zstandard.ZstdCompressor(level=LEVEL)
    ends: list[int] = []
    blocks: list[tuple[int, int]] = []
    missing = bytearray()
    waiting: list[bytes] = []
    end = packed = 0

    def flush() -> None:
        nonlocal packed
        packed += stream.write(pack.compress(b"".join(waiting)))
        blocks.append((end, packed))
        waiting.clear()

    for text, answer in kept:
        missing.append((text is None) | (answer is None) << 1)
        for value in (text, answer):
            waiting.append((value or "").encode())
            end += len(waiting[-1])
            ends.append(end)
        if end - (blocks[-1][0] if blocks else 0) >= BLOCK_BYTES:
            flush()
    if waiting:
        flush()
    return {
        "ends": np.array(ends, np.int64),
        "blocks": np.array(blocks, np.int64).reshape(-1, 2),
        "missing": np.frombuffer(bytes(missing), np.uint8),
    }
