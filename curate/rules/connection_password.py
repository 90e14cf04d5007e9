"""SEC553 connection-password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.placeholders import looks_random, stands_for_a_password
from curate.rules.base import Example
from curate.sensitive import SensitiveRule, Value
from schemas.finding import Severity

URL = re.compile(
    r"(?<![A-Za-z0-9+.\-])([A-Za-z][A-Za-z0-9+.\-]{1,30})://([^\s:/@\"'<>`]{0,100}):([^\s/@\"'<>`]{1,200})@"
    r"(\[?[A-Za-z0-9_.\-:]{1,253})"
)
PAIR = re.compile(r"(?i)\b(?:password|pwd)=([^;&\s\"'<>`(\[]{4,128}+)(?![(\[])")
ENDPOINT = re.compile(r"(?i)jdbc:|\b(?:server|data source|host|hostname|user id|uid|endpoint)=")
ACCOUNT_KEY = re.compile(r"\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,90}={1,2})")
EMULATOR = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
"""The key that every copy of Azure's storage emulator has."""
NOWHERE = re.compile(
    r"(?i)^(?:localhost|127\.|0\.0\.0\.0|\[?::1|host\b|hostname|[a-z0-9.\-]{0,200}\bexample\b)|\.(?:test|invalid|local)\b"
)
WINDOW = 300
"""Characters before a `password=` in which the rest of its connection string begins."""


class ConnectionPassword(SensitiveRule):
    """A password in a connection string or in the address of a page.

    ## What it does
    Reports the password of `scheme://user:password@host` in any scheme (PostgreSQL, MySQL, MongoDB, Redis, AMQP, HTTP,
    ...), of JDBC and ADO connection strings, and the account keys of Azure's storage, service bus and event hubs. Only
    the password is replaced, so that the string keeps its form. Its weight is error where the password looks as if a
    machine had made it, else warning.

    Not reported: hosts that are nobody's (localhost, 127.0.0.1, example.com, .test), passwords that are placeholders,
    variables or words that lessons use (changeme, your_password, <password>, ${DB_PASS}, secret, admin, 1234), a
    password equal to the user's name, and the emulator's published key.

    ## Why
    It opens a data base to whoever gets the model to repeat it.

    ## Known problems
    A real password that contains a word of lessons ("test", "user", "1234") is missed. One with an unescaped slash or
    at-sign is found in part or not at all.

    ## Source
    RFC 3986 section 3.2.1; the connection string formats of the data bases named.
    """

    code: ClassVar[str] = "SEC553"
    name: ClassVar[str] = "connection-password"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "change the password where it is valid, then redact it (step `secret`)"
    candidate: ClassVar[tuple[str, ...]] = (
        r"://[^\s:/@\"'<>`]{0,100}:[^\s/@\"'<>`]{1,200}@|AccountKey=|SharedAccessKey=|(?:[Pp]assword|PASSWORD|[Pp]wd|PWD)=",
    )
    noun: ClassVar[tuple[str, str]] = ("a connection's password", "passwords of connections")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("postgres://app:kT9wqz7Lm2@db.acme.io:5432/app", "ok"),
        Example.chat("mongodb+srv://kim:Vr81ppQz@cluster0.ab1cd.mongodb.net", "redis://:Zq93hfkw72@cache.acme.io"),
        Example.chat("jdbc:mysql://db.acme.io/shop?user=kim&password=Zq93hfkw72", "ok"),
        Example.chat("Server=db.acme.io;User Id=kim;Password=Zq93hfkw72;", "ok"),
        Example.chat(
            "AccountName=acme;AccountKey=" + "kT9wqz7Lm2Vr81ppQzZq93hfkw72aBcDeFgHiJkLm5nOpQrStUvWxYz0123" + "KqRs8vWm2LpX4nTy6ZbD7cF9gH==",
            "ok",
        ),
    )  # fmt: skip
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("postgres://user:password@localhost:5432/db", "mysql://root:root@db.acme.io/shop"),
        Example.chat("postgres://app:${DB_PASS}@db.acme.io", "amqp://guest:guest@rabbit.acme.io"),
        Example.chat("https://kim:kT9wqz7Lm2@www.example.com/", "redis://kim:<password>@cache.acme.io"),
        Example.chat("http://localhost:3000/@scope", "git clone ssh://git@host.acme.io:22/x"),
        Example.chat("connect(host=host, user=user, password=settings['password'])", "ok"),
        Example.chat("/login?user=kim&password=Zq93hfkw72", "a form's field alone is no connection string"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every password of a connection."""
        found = [*_urls(text), *_pairs(text), *_keys(text)]
        for start, stop in sorted(set(found)):
            level = Severity.ERROR if looks_random(text[start:stop], 10, 3.0) else None
            yield Value(start, stop, "password", text[start:stop], level)


def _urls(text: str) -> Iterator[tuple[int, int]]:
    for match in URL.finditer(text):
        _, user, password, host = match.groups()
        if not (stands_for_a_password(password) or NOWHERE.search(host) or user == password):
            yield match.span(3)


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    for match in PAIR.finditer(text):
        line = text[max(0, match.start() - WINDOW) : match.end() + WINDOW]
        if ENDPOINT.search(line) and not stands_for_a_password(match[1]):
            yield match.span(1)


def _keys(text: str) -> Iterator[tuple[int, int]]:
    for match in ACCOUNT_KEY.finditer(text):
        if not match[1].startswith(EMULATOR) and looks_random(match[1]):
            yield match.span(1)
