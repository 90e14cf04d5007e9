"""What models answered before, kept between evaluations: an answer is found again only for the very same model.

One file for each model, named by a digest of everything that decides its answers: the bytes of the base weights, of the
adapter and of the tokenizer, the engine with its versions, dtype and device. (lm-eval's own cache is not keyed by the
model.) An answer is found by the digest of its request: the token ids, and for generated text the decoding arguments.
SQLite keeps the file whole when a process is killed; each answer carries a digest of its own, and one that does not fit
it is asked anew.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from schemas.base import canonical_json, fingerprint
from schemas.errors import UserError

FOLDER = "responses"
CHECK_BYTES = 8
BUSY_S = 30.0


class Responses:
    """Answers of one model.

    Args:
        folder: the `runs` folder.
        identity: what decides the model's answers, as plain data.

    Raises:
        UserError: the file cannot be opened, or is no database.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.path = folder / FOLDER / f"{fingerprint(dict(identity))[:32]}.sqlite"
        self.found = 0
        """Answers that did not have to be asked again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (request BLOB PRIMARY KEY, value BLOB, digest BLOB)")
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def get(self, requests: Iterable[Any]) -> dict[bytes, Any]:
        """The answers that are known, by the key of their request.

        Args:
            requests: keys, as `key` gives them.
        """
        known: dict[bytes, Any] = {}
        try:
            for request in requests:
                row = self._file.execute("SELECT value, digest FROM answers WHERE request = ?", (request,)).fetchone()
                if row is not None and isinstance(row[0], bytes) and _digest(request, row[0]) == row[1]:
                    known[request] = json.loads(row[0])
        except (sqlite3.Error, ValueError) as error:
            raise self._broken(error) from error
        self.found += len(known)
        return known

    def put(self, answers: Mapping[bytes, Any]) -> None:
        """Keep answers, all of them or none.

        Args:
            answers: key of each request -> a value that JSON can carry.
        """
        rows = [(request, canonical_json(value)) for request, value in answers.items()]
        try:
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                [(request, value, _digest(request, value)) for request, value in rows],
            )
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _broken(self, error: Exception) -> UserError:
        return UserError(
            "the store of earlier answers cannot be used",
            where=str(self.path),
            found=str(error)[:200],
            expected="a database that assay wrote, on a disk with room",
            help="delete the file; the answers in it are asked again",
        )


def key(*parts: Any) -> bytes:
    """The digest of a request.

    Args:
        parts: plain data: token ids, decoding arguments.
    """
    return hashlib.sha256(canonical_json(parts)).digest()


def _digest(request: bytes, value: bytes) -> bytes:
    return hashlib.sha256(request + value).digest()[:CHECK_BYTES]
