"""Sealing bytes with a key, so that a file can be published of which only who has the key can read or check anything.

AES-SIV (RFC 5297) needs no nonce: equal bytes under one key make equal files; a wrong key or a changed byte is told.
"""

from __future__ import annotations

from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


class WrongKeyError(ValueError):
    """The bytes were sealed with another key."""


def seal(data: bytes, key: bytes) -> bytes:
    """The bytes sealed.

    Args:
        data: at least one byte, less than 2 GiB.
        key: 16 secret bytes.
    """
    return _cipher(key).encrypt(data, None)


def unseal(sealed: bytes, key: bytes) -> bytes:
    """The bytes that were sealed.

    Raises:
        WrongKeyError: with another key, or they were changed since.
    """
    try:
        return _cipher(key).decrypt(sealed, None)
    except InvalidTag:
        raise WrongKeyError from None


def _cipher(key: bytes) -> AESSIV:
    return AESSIV(blake2b(key=key, digest_size=64, person=b"assay-index-key").digest())
