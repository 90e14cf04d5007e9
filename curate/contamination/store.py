"""An index of eval items as one file: a zip of arrays that any numpy reads, the items as Parquet, and a description.

With a key, nothing in the file can be tied to a text without it: runs, questions and answers are keyed hashes, and row
ids are keyed once more. What it does show is how many items there are, how long they are, which of their words hold
digits, and which hashes several items share.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.contamination.index import ITEMS_SCHEMA, UNKEYED, WIDTH, EvalIndex, Key, hash_runs
from schemas.atomic import write_atomic
from schemas.errors import UnopenedError, UserError

SCHEMA = "assay/eval-index/1"
TOKENIZER = "words of letters, marks and digits, NFKC and lower case; unspaced scripts by character; no LaTeX, no HTML"
HEAD, ITEMS = "index.json", "items.parquet"
KEY_VARIABLE = "ASSAY_INDEX_KEY"
KEY = re.compile(r"[0-9a-f]{32}")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Entries carry the zip format's first moment, so that equal indexes are equal files."""
ARRAYS = {
    "seg_item": np.int32, "seg_kind": np.uint8, "seg_hash": np.uint64, "seg_begin": np.int64, "numbers": np.uint8,
    "prints": np.uint32, "grams": np.uint64, "post_begin": np.int32, "post_seg": np.int32, "post_place": np.int32,
    "post_masked": np.uint8,
}  # fmt: skip
AGAIN = "build it again: assay index build --kind contamination"


def save_index(path: Path, index: EvalIndex) -> None:
    """Write the file in one step.

    Raises:
        UserError: the disk is full or refuses.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        _put(archive, HEAD, orjson.dumps(_head(index), option=orjson.OPT_INDENT_2))
        table = io.BytesIO()
        _published_items(index).write_parquet(table, compression="zstd")
        _put(archive, ITEMS, table.getvalue())
        for name in ARRAYS:
            array = io.BytesIO()
            np.save(array, getattr(index, name), allow_pickle=False)
            _put(archive, f"{name}.npy", array.getvalue())
    write_atomic(path, stream.getvalue())


def load_index(path: Path, key: Key | None = None) -> EvalIndex:
    """Read the file.

    Args:
        path: of `save_index`.
        key: the one that it was made with; null where it has none.

    Raises:
        UserError: it cannot be opened, is damaged or of another version, or the key is missing or wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            head = orjson.loads(archive.read(HEAD))
            _check_head(head, path, key)
            items = pl.read_parquet(io.BytesIO(archive.read(ITEMS)))
            arrays = {name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False) for name in ARRAYS}
    except OSError as error:
        raise UnopenedError("the index", path, error, help="`assay index build` makes one") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, pl.exceptions.PolarsError) as error:
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    index = EvalIndex(key=key or UNKEYED, items=items, width=head["width"], **arrays)
    if wrong := _inconsistent(index):
        raise _damaged(path, wrong)
    return index


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
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UnopenedError("a new key file", path, error) from error
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(text + "\n")
    return int(text[:16], 16), int(text[16:], 16)


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _head(index: EvalIndex) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "contamination",
        "tokenizer": TOKENIZER,
        "width": index.width,
        "hash": "siphash-2-4 of fnv1a-64 words",
        "keyed": index.key != UNKEYED,
        "key_check": _key_check(index.key),
        "items": index.items.height,
        "runs": len(index.grams),
    }


def _key_check(key: Key) -> str:
    """A keyed hash of nothing in particular: tells whether a key is the right one."""
    words = np.frombuffer(b"is this the key?", dtype=np.uint64)
    hashed = hash_runs(words, np.zeros(1, np.int64), np.full(1, 2, np.int64), np.array(key, dtype=np.uint64))
    return f"{int(hashed[0]):016x}"


def _check_head(head: Any, path: Path, key: Key | None) -> None:
    if not isinstance(head, dict) or head.get("schema") != SCHEMA or head.get("width") != WIDTH:
        found = (
            f"{head.get('schema')}, runs of {head.get('width')} words" if isinstance(head, dict) else "no description"
        )
        wanted = f"{SCHEMA}, runs of {WIDTH} words"
        raise UserError(
            "this version does not read this index", where=str(path), found=found, expected=wanted, help=AGAIN
        )
    if head.get("tokenizer") != TOKENIZER:
        raise UserError(
            "the index was made with other words",
            where=str(path),
            found=str(head.get("tokenizer"))[:200],
            expected=TOKENIZER,
            help=AGAIN,
        )
    if head["keyed"] and key is None:
        raise UserError(
            "the index is keyed, and no key was given",
            where=str(path),
            help=f"give --key-file, or set the variable {KEY_VARIABLE}",
        )
    if head["key_check"] != _key_check(key if head["keyed"] and key else UNKEYED):
        raise UserError(
            "this is not the key of this index", where=str(path), help="find the key that it was built with"
        )


def _published_items(index: EvalIndex) -> pl.DataFrame:
    """Items without anything that the key does not protect."""
    if index.key == UNKEYED:
        return index.items
    ids = index.items["row_id"].fill_null("")
    words = np.array([int(text[:16] or "0", 16) for text in ids], dtype=np.uint64)
    hashed = hash_runs(words, np.arange(len(words)), np.ones(len(words), np.int64), index.key_array)
    keyed = pl.Series("row_id", [f"{int(value):016x}" for value in hashed], dtype=pl.String)
    return index.items.with_columns(row_id=keyed)


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
