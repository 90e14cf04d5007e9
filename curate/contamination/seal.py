"""Sealing bytes with a key, so that a file can be published of which only who has the key can read or check anything.

A keyed digest of the bytes is the beginning of the file and the nonce of the key stream that the rest is combined with
(the SIV construction, Rogaway and Shrimpton 2006): equal bytes under one key make equal files, and a wrong key is told
from the digest. BLAKE2b and SHAKE-256 are of Python's own library, which has no cipher.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b, shake_256

import numpy as np

TAG_BYTES = 32
PART_BYTES = 1 << 26


class WrongKeyError(ValueError):
    """The bytes were sealed with another key."""


def seal(data: bytes, key: bytes) -> bytes:
    """The bytes sealed.

    Args:
        data: at most a few GiB.
        key: 16 secret bytes.
    """
    tag = _tag(data, key)
    return tag + _combined(data, key, tag)


def unseal(sealed: bytes, key: bytes) -> bytes:
    """The bytes that were sealed.

    Raises:
        WrongKeyError: with another key, or they were changed since.
    """
    tag = sealed[:TAG_BYTES]
    data = _combined(sealed[TAG_BYTES:], key, tag)
    if not hmac.compare_digest(_tag(data, key), tag):
        raise WrongKeyError
    return data


def _tag(data: bytes, key: bytes) -> bytes:
    return blake2b(data, digest_size=TAG_BYTES, key=key, person=b"assay-index-tag").digest()


def _combined(data: bytes, key: bytes, tag: bytes) -> bytes:
    """The bytes with the key stream added to each bit, which takes itself back."""
    secret = blake2b(tag, digest_size=32, key=key, person=b"assay-index-key").digest()
    parts = []
    for number, start in enumerate(range(0, len(data), PART_BYTES)):
        part = np.frombuffer(data[start : start + PART_BYTES], np.uint8)
        stream = shake_256(secret + number.to_bytes(8, "little")).digest(len(part))
        parts.append((part ^ np.frombuffer(stream, np.uint8)).tobytes())
    return b"".join(parts)
