"""Signing a release with a local key, and checking the signature; nothing here asks a server.

The format is OpenSSF Model Signing's, by its own library: a Sigstore bundle over the sha256 of every file but the
signature and the manifest, which is written after it. That the manifest fits what was signed is checked by `proof`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from evals.release.written import SIGNATURE
from schemas.atomic import readable_disk_errors
from schemas.errors import MissingExtra, UnopenedError, UserError
from schemas.manifest import MANIFEST_NAME, list_files
from schemas.terminal import printable

PASSWORD = "ASSAY_SIGN_PASSWORD"
"""Variable of the environment with the password of an encrypted key."""
SHOWN_CHARS = 300
"""Of what the library says."""
MISMATCH = "Signature mismatch"
"""How the library begins to say that files differ; it then quotes digests as Python writes bytes."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_KEY = "`openssl ecparam -genkey -name prime256v1 -noout -out key.pem` makes one"


@dataclass(frozen=True)
class Key:
    """A private key that was opened and fits."""

    path: Path
    password: bytes | None
    digest: str
    """sha256 of its public half (DER, SubjectPublicKeyInfo)."""


def read_key(path: Path) -> Key:
    """Open a private key, before anything is exported.

    Args:
        path: PEM file of an elliptic curve key; an encrypted one takes its password from the variable PASSWORD.

    Raises:
        UserError: the file cannot be opened, is no such key, or the password is missing or wrong.
        MissingExtra: the package that signs is not installed.
    """
    _require_installed()
    password = os.environ.get(PASSWORD)
    secret = password.encode() if password else None
    try:
        key = load_pem_private_key(_read(path, "the signing key"), secret)
    except TypeError as error:  # encrypted without a password, or the other way round
        raise UserError(
            "the signing key cannot be opened",
            where=str(path),
            found="a password for a key that is not encrypted" if secret else "an encrypted key without a password",
            help=f"unset {PASSWORD}" if secret else f"set the variable {PASSWORD} to its password",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        found = f"no private key in PEM, or not the password in {PASSWORD}" if secret else "no private key in PEM"
        raise UserError("the signing key cannot be read", where=str(path), found=found, help=MAKE_KEY) from error
    public = key.public_key()
    _require_curve(public, path)
    return Key(path, secret, digest_of(public))


def read_public_key(path: Path) -> str:
    """The digest of a public key.

    Args:
        path: PEM file.

    Raises:
        UserError: the file cannot be opened, or is no public key of an elliptic curve.
        MissingExtra: the package that checks signatures is not installed.
    """
    _require_installed()
    try:
        key = load_pem_public_key(_read(path, "the public key"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError(
            "the public key cannot be read",
            where=str(path),
            found="no public key in PEM",
            help="`openssl ec -in key.pem -pubout -out public.pem` writes it",
        ) from error
    _require_curve(key, path)
    return digest_of(key)


def digest_of(public: Any) -> str:
    """sha256 of a public key, however its file is written."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _require_installed() -> None:
    if importlib.util.find_spec("model_signing") is None:
        raise MissingExtra("release", "model_signing")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnopenedError(what, path, error) from error


def _require_curve(key: Any, path: Path) -> None:
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.strip("_")
    if curve not in CURVES:
        raise UserError(
            "this kind of key does not sign releases",
            where=str(path),
            found=curve,
            expected=f"an elliptic curve key: {', '.join(CURVES)}",
            help=MAKE_KEY,
        )


def sign(folder: Path, key: Key) -> None:
    """Sign every file of a release that has no manifest yet.

    Args:
        folder: of the release.
        key: signs.
    """
    from model_signing import signing

    signer: Any = signing.Config().use_elliptic_key_signer(
        private_key=key.path,
        password=key.password,  # type: ignore[arg-type]  # it says text, and hands it to a function that takes bytes
    )
    with readable_disk_errors(folder / SIGNATURE):
        signer.set_hashing_config(_hashing()).sign(folder, folder / SIGNATURE)


def _hashing() -> Any:
    """Every file counts, those of git too."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE, MANIFEST_NAME], ignore_git_paths=False)


def signature_problem(folder: Path, public_key: Path) -> str:
    """What is wrong with the signature of a release; empty where it holds.

    Args:
        folder: of the release.
        public_key: PEM file of the key that should have signed it.

    Raises:
        UserError: the public key cannot be read.
        MissingExtra: the package that checks signatures is not installed.
    """
    read_public_key(public_key)
    if not (folder / SIGNATURE).is_file():
        return "the release is not signed"
    from model_signing import verifying

    checker = verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(_hashing())
    try:
        checker.verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        return "the signature was changed, or another key made it"
    except Exception as error:  # the library lets everything through that a broken bundle leads to
        if str(error).startswith(MISMATCH):  # the signature is genuine, the files are not those that were signed
            return f"these files are not those that were signed: {', '.join(_unlike(folder))}"
        found = printable(str(error).strip())[:SHOWN_CHARS]
        return f"the signature does not hold: {found or type(error).__name__}"
    return ""


def _unlike(folder: Path) -> list[str]:
    """Files that differ from those of a genuine signature, with what became of them."""
    envelope = json.loads((folder / SIGNATURE).read_bytes())["dsseEnvelope"]
    resources = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    signed = {one["name"]: one["digest"] for one in resources}
    there = {entry.path: entry.sha256 for entry in list_files(folder) if entry.path != SIGNATURE}
    names = sorted(name for name in signed | there if signed.get(name) != there.get(name))
    words = {(True, True): "changed", (True, False): "missing", (False, True): "put in"}
    return [f"{name} {words[name in signed, name in there]}" for name in names]
