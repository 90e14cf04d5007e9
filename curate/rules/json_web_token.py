"""SEC552 json-web-token."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import ClassVar

import orjson

from curate.rules.base import Example
from curate.sensitive import SensitiveRule, Value
from schemas.finding import Severity

TOKEN = re.compile(
    r"(?<![A-Za-z0-9_\-])(eyJ[A-Za-z0-9_\-]{10,2000})\.(eyJ[A-Za-z0-9_\-]{6,20000})(?:\.([A-Za-z0-9_\-]{0,2000}))?"
)
LESSONS = (b'"sub":"1234567890"', b'"John Doe"', b"example")
"""Content of the tokens that tutorials print."""
MADE_UP = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiJraW0ifQ." + "qT3h8Zr0V1mWc5kYp7sLxD2uJ9bNfGa4eHi6oKtRyQw"


class JsonWebToken(SensitiveRule):
    """A JSON web token (JWT): a signed statement that logs its holder in.

    ## What it does
    Reports three parts of base64 with dots between them whose first part is a JSON object that names an algorithm.
    Tokens of tutorials (subject 1234567890, John Doe, example) are not reported.

    ## Why
    Until it expires, a token is as good as a password; its middle part often names a person.

    ## Known problems
    Encrypted tokens (five parts) are not found. Whether a token has expired is not asked.

    ## Source
    RFC 7519, RFC 7515 section 3.1.
    """

    code: ClassVar[str] = "SEC552"
    name: ClassVar[str] = "json-web-token"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "end the session it belongs to, then redact it (step `secret`)"
    candidate: ClassVar[tuple[str, ...]] = (r"eyJ[A-Za-z0-9_\-]{10,2000}\.eyJ",)
    noun: ClassVar[tuple[str, str]] = ("a JSON web token", "JSON web tokens")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat(f"Authorization: Bearer {MADE_UP}", "ok"),
        Example(({"text": "hi", "metadata": {"session": MADE_UP}},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "ok"
        ),
        Example.chat("eyJhbGciOi... is how it begins", "A token is header.payload.signature."),
        Example.chat("data = 'eyJmb28iOiJiYXIifQ'", "base64 of JSON alone is no token"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every token of the text."""
        for match in TOKEN.finditer(text):
            # A token that was cut off has no signature: hidden, not reported.
            if not strict or (match[3] and b'"alg"' in _decoded(match[1]) and not _from_a_lesson(match[2])):
                yield Value(match.start(), match.end(), "jwt", match[0])


def _from_a_lesson(payload: str) -> bool:
    said = _decoded(payload)
    return any(lesson in said for lesson in LESSONS)


def _decoded(part: str) -> bytes:
    """The JSON of a part, written without spaces; empty where it is none."""
    try:
        return orjson.dumps(orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
    except (binascii.Error, orjson.JSONDecodeError):
        return b""
