"""Keys and passwords that were never issued, in the forms of real ones, beside words that say so."""

from __future__ import annotations

import string
from random import Random
from typing import Any

from evals.selftest.plant import Edit, Plant, inserted

MIXED = string.ascii_letters + string.digits
NOTE = "made up by a selftest"


def _drawn(drawn: Random, letters: str, count: int) -> str:
    return "".join(drawn.choice(letters) for _ in range(count))


def _cloud(drawn: Random) -> str:
    return "AKIA" + _drawn(drawn, string.ascii_uppercase + "234567", 16)


def _host(drawn: Random) -> str:
    return "ghp_" + _drawn(drawn, MIXED, 36)


def _connection(drawn: Random) -> str:
    return f"postgresql://billing:{_drawn(drawn, MIXED, 14)}@db.kestrelpost.org:5432/ledger"


def _assigned(drawn: Random) -> str:
    return f'client_secret = "{_drawn(drawn, MIXED, 32)}"'


def _told(make: Any) -> Edit:
    def edit(record: Any, drawn: Random) -> Any:
        return inserted(record, f"({NOTE}) {make(drawn)}", drawn)

    return edit


PLANT = Plant(
    name="secret",
    what="a key or password that was never issued, in a user's turn",
    rules=("secret-key", "connection-password", "assigned-secret", "json-web-token"),
    edits={
        "cloud_key": _told(_cloud),
        "repository_token": _told(_host),
        "connection_password": _told(_connection),
        "assigned_secret": _told(_assigned),
    },
)
