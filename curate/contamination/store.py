"""An index of eval items on disk. Each segment is one file: a zip of arrays that any numpy reads, and the items.

With a key, runs, questions and answers are keyed hashes, row ids are keyed, and the file as a whole is sealed: how long
an item is and which of its words hold digits would already tell it from others. What anybody can see is how many items
there are, and how large the file is.
"""

from __future__ import annotations

import functools
import io
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import polars as pl

from curate.contamination.index import (
    ITEMS_SCHEMA,
    UNKEYED,
    WIDTH,
    EvalIndex,
    Key,
    build_index,
    hash_runs,
    merge,
    word_hashes,
)
from curate.contamination.items import Item
from curate.contamination.seal import WrongKeyError, seal, unseal
from schemas.atomic import write_new
from schemas.errors import ExitCode, UnopenedError, UserError
from schemas.index import (
    AGAIN,
    IndexFormat,
    IndexHeader,
    IndexSegment,
    add_segment,
    create_index,
    read_header,
    read_index,
)

SCHEME = "siphash-2-4 of runs of fnv1a-64 words"
TOKENIZER = "words of letters, marks and digits, NFKC and lower case; unspaced scripts by character; no LaTeX, no HTML"
ITEMS, BARE, SEALED = "items.parquet", "evals.zip", "evals.sealed"
KEY_VARIABLE = "ASSAY_INDEX_KEY"
KEY = re.compile(r"[0-9a-f]{32}")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Entries carry the zip format's first moment, so that equal indexes are equal files."""
ARRAYS = {
    "seg_item": np.int32, "seg_kind": np.uint8, "seg_hash": np.uint64, "seg_begin": np.int64, "numbers": np.uint8,
    "prints": np.uint32, "grams": np.uint64, "post_begin": np.int32, "post_seg": np.int32, "post_place": np.int32,
    "post_masked": np.uint8,
}  # fmt: skip
PROBES = (
    "A farmer has twelve sheep, 4 dogs and 17 hens. How many legs?",
    r"What is $\frac{1}{2}$ + 1/4 of **this** <b>sum</b>?",
    "\u6f22\u5b57 and \u30ab\u30ca, \u0e2d\u0e31\u0e01\u0e29\u0e23, \uff21\uff22\uff23, na\u00efve caf\u00e9, STRASSE",
)
"""Texts whose hashes tell whether an index was made by code that hashes as this does."""


class NoItems(UserError):
    """No item can be looked for: no verdict can rest on such an index."""

    exit_code = ExitCode.INCONCLUSIVE


@functools.cache
def eval_format(keyed: bool) -> IndexFormat:
    """What an index of eval items is made of by this version of assay."""
    words, numbers, begin = word_hashes(pl.Series(PROBES))
    runs = hash_runs(words, begin[:-1], np.diff(begin), np.array(UNKEYED, dtype=np.uint64))
    probe = blake2b(b"".join(array.tobytes() for array in (words, numbers, runs)), digest_size=32).hexdigest()
    parameters = {"width": WIDTH, "tokenizer": TOKENIZER, "row_id": "sha256 of the record", "keyed": keyed}
    return IndexFormat(kind="contamination", scheme=SCHEME, parameters=parameters, probe=probe)


def build_evals(folder: Path, items: Iterable[Item], key: Key | None) -> IndexHeader:
    """Index eval items and write the folder in one step.

    Raises:
        NoItems: there is none with a word in it.
        UserError: the folder exists, or cannot be written.
    """
    secret = key or UNKEYED
    index = build_index(_distinct(items, secret, set()), secret)
    if not (index.items["words"] > 0).any():
        raise NoItems(
            "there is no eval item to look for",
            where=str(folder),
            found=_askless(index.items),
            expected="eval items with a question, a prompt or a text",
            help="nothing was written; check the files, and their fields",
        )
    return save_index(folder, index)


def _askless(items: pl.DataFrame) -> str:
    """Why there is nothing to look for, in words."""
    unread = items["row_id"].null_count()
    if unread:
        place = items.filter(pl.col("row_id").is_null()).row(0, named=True)
        return f"{unread:,} records that cannot be read, the first one at {place['path']}:{place['line'] or ''}"
    return f"{items.height:,} items, none of them with a question" if items.height else "no item"


def add_evals(folder: Path, items: Iterable[Item], key: Key | None) -> IndexHeader:
    """Add eval items to an index; those that it holds already (of the same set) are left out.

    Raises:
        UserError: as `load_index`, or the folder cannot be written.
    """

    def fill(header: IndexHeader, path: Path) -> dict[str, int]:
        index = load_index(folder, key)
        known = set(index.items.select("eval_set", "row_id").iter_rows())
        return _write(path, build_index(_distinct(items, index.key, known), index.key))

    return add_segment(folder, fill)


def save_index(folder: Path, index: EvalIndex) -> IndexHeader:
    """Write an index as a folder with one segment, in one step.

    Raises:
        UserError: the folder exists, the disk is full or refuses.
    """
    return create_index(folder, eval_format(index.key != UNKEYED), lambda path: _write(path, index))


def load_index(path: Path, key: Key | None = None) -> EvalIndex:
    """Read an index.

    Args:
        path: its folder, or one of its headers.
        key: the one that it was made with; null where it has none.

    Raises:
        UserError: it cannot be opened, is damaged, of another kind or version, or the key is missing or wrong.
    """
    keyed = read_header(path).format.parameters.get("keyed") is True
    header, folder = read_index(path, eval_format(keyed))
    if keyed and key is None:
        raise UserError(
            "the index is keyed, and no key was given",
            where=str(folder),
            help=f"give --key-file, or set the variable {KEY_VARIABLE}",
        )
    secret = key if keyed and key else UNKEYED
    return functools.reduce(merge, (_read(folder, segment, secret) for segment in header.segments))


def read_key(path: Path | None) -> Key | None:
    """The key of a file, or of the variable KEY_VARIABLE; null where there is neither.

    Raises:
        UserError: what is there is no key.
    """
    where = str(path) if path else f"the variable {KEY_VARIABLE}"
    if path is not None:
        try:
            text = path.read_text("ascii", "replace").strip()
        except OSError as error:
            raise UnopenedError("the key file", path, error, help="`assay index build --keyed` makes one") from error
    else:
        text = os.environ.get(KEY_VARIABLE, "").strip()
        if not text:
            return None
    if not KEY.fullmatch(text) or text == "0" * 32:
        raise UserError(
            "this is no key of an index", where=where, found=f"{len(text)} characters", expected="32 hexadecimal digits"
        )
    return int(text[:16], 16), int(text[16:], 16)


def make_key(path: Path) -> Key:
    """Draw a key and write it to a file that only its owner can read.

    Raises:
        UserError: the file exists, or cannot be written.
    """
    text = secrets.token_hex(16)
    write_new(path, f"{text}\n".encode("ascii"), 0o600)
    return int(text[:16], 16), int(text[16:], 16)


def _distinct(items: Iterable[Item], key: Key, known: set[tuple[str, str | None]]) -> list[Item]:
    """The items that are not known yet, each once in its set."""
    kept, given = [], list(items)
    ids = keyed_ids([item.row_id for item in given], key)
    for item, row_id in zip(given, ids, strict=True):
        if row_id is None or (item.eval_set, row_id) not in known:
            known.add((item.eval_set, row_id))
            kept.append(item)
    return kept


def keyed_ids(ids: Sequence[str | None], key: Key) -> list[str | None]:
    """Row ids as an index holds them: under a key, a keyed hash of the first 64 bits of each."""
    if key == UNKEYED:
        return list(ids)
    words = np.array([int((text or "0")[:16], 16) for text in ids], dtype=np.uint64)
    ones, secret = np.ones(len(words), np.int64), np.array(key, dtype=np.uint64)
    hashed = hash_runs(words, np.arange(len(words)), ones, secret).tolist()
    return [None if text is None else f"{value:016x}" for text, value in zip(ids, hashed, strict=True)]


def _write(folder: Path, index: EvalIndex) -> dict[str, int]:
    """Write the file of a segment; gives its counts."""
    items = index.items
    if index.key != UNKEYED:
        items = items.with_columns(
            row_id=pl.Series(keyed_ids(items["row_id"].to_list(), index.key), dtype=pl.String),
            path=pl.Series([PurePath(path).name for path in items["path"]], dtype=pl.String),
        )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        table = io.BytesIO()
        items.write_parquet(table, compression="zstd")
        _put(archive, ITEMS, table.getvalue())
        for name in ARRAYS:
            array = io.BytesIO()
            np.save(array, getattr(index, name), allow_pickle=False)
            _put(archive, f"{name}.npy", array.getvalue())
    if index.key == UNKEYED:
        (folder / BARE).write_bytes(stream.getvalue())
    else:
        (folder / SEALED).write_bytes(seal(stream.getvalue(), _key_bytes(index.key)))
    unread, wordless = items["row_id"].null_count(), int((items["words"] == 0).sum())
    return {
        "items": items.height,
        "items_unread": unread,
        "items_without_words": wordless - unread,
        "runs": len(index.grams),
    }


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _read(folder: Path, segment: IndexSegment, key: Key) -> EvalIndex:
    path = folder / segment.name / (BARE if key == UNKEYED else SEALED)
    try:
        data = path.read_bytes()
        if key != UNKEYED:
            data = unseal(data, _key_bytes(key))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            items = pl.read_parquet(io.BytesIO(archive.read(ITEMS)))
            arrays: dict[str, Any] = {
                name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False) for name in ARRAYS
            }
    except OSError as error:
        raise UnopenedError("the index", path, error, help="`assay index build` makes one") from error
    except WrongKeyError as error:
        raise UserError(
            "this is not the key of this index", where=str(folder), help="find the key that it was built with"
        ) from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, pl.exceptions.PolarsError) as error:
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    index = EvalIndex(key=key, items=items, width=WIDTH, **arrays)
    if wrong := _inconsistent(index):
        raise _damaged(path, wrong)
    return index


def _key_bytes(key: Key) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in key)


def _inconsistent(index: EvalIndex) -> str:
    """What does not fit together; empty where everything does."""
    for name, dtype in ARRAYS.items():
        array = getattr(index, name)
        if array.dtype != dtype or array.ndim != 1:
            return f"{name} is {array.dtype} of {array.ndim} dimensions"
    ends = {
        "seg_begin": (len(index.seg_item) + 1, len(index.numbers)),
        "post_begin": (len(index.grams) + 1, len(index.post_seg)),
    }
    for name, (length, last) in ends.items():
        array = getattr(index, name)
        if len(array) != length or array[0] != 0 or array[-1] != last or (np.diff(array) < 0).any():
            return f"{name} does not fit what it divides"
    if dict(index.items.schema) != ITEMS_SCHEMA:
        return "the items have other columns"
    if len(index.seg_hash) != len(index.seg_item) or len(index.prints) != len(index.numbers):
        return "segments and their hashes are not as many"
    bounds = ((index.seg_item, index.items.height), (index.post_seg, len(index.seg_item)))
    if any(len(array) and (array.min() < 0 or array.max() >= most) for array, most in bounds):
        return "a number points beyond what there is"
    sizes = np.diff(index.seg_begin)[index.post_seg]
    if len(sizes) and ((index.post_place < 0) | (index.post_place + index.width > sizes)).any():
        return "a run lies outside of its segment"
    return "" if (index.grams[1:] > index.grams[:-1]).all() else "the runs are not sorted"


def _damaged(path: Path, found: str) -> UserError:
    return UserError(
        "the index is damaged or was cut off", where=str(path), found=found, expected="a file of assay", help=AGAIN
    )
