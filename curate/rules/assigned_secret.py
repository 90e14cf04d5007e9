"""SEC554 assigned-secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.placeholders import entropy, looks_random, stands_for_a_key, stands_for_a_password
from curate.rules.base import Example
from curate.sensitive import SensitiveRule, Value
from schemas.finding import Severity

NAMES = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|account[_-]?key)"
WRITTEN = r"(?:\\{0,8}[_-])?"
"""What stands between the words of a name, with the backslashes that Markdown puts before it."""
ASSIGNED = re.compile(
    rf"(?i){NAMES}((?:[_-]?[a-z0-9]){{0,20}})[\"']?\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}"
    r"(?:\"([^\"\s]{6,200})\"|'([^'\s]{6,200})'|(?:bearer\s)?([A-Za-z0-9!#%+./=@^_~*?$&-]{8,200}))"
)
OTHER = re.compile(
    r"(?i)name|type|id$|ids$|url|uri|path|file|field|length|count|limit|label|hint|hash|policy|reset|expir|endpoint|size"
    r"|format|ref$|regex|pattern|input|match|confirm|column|error|message|index|prefix|arn|version|budget|usage|max|min"
)
"""Names that speak about a secret and do not hold one, such as `token_type`."""
PUBLIC = re.compile(r"(?i)public[_-]?(?:key[_-]?)?$|csrf[_-]?$|next[_-]?$|page[_-]?$")
NO_SECRET = re.compile(
    r"(?i)^(?:https?:|/|\./|[0-9a-f]{8}-[0-9a-f]{4}-|[a-z]+(?:[._-][a-z]+)*[0-9]{0,2}[.,;:!?]?$|[0-9.,_-]+$|arn:|sha\d|data:)"
)
"""Addresses, paths, UUIDs, words and identifiers, numbers."""
HTML_OR_CODE = re.compile(
    r"[A-Za-z_]\w*\.[A-Za-z_]\w*|[a-z][A-Z].*\(|^[A-Za-z_]+$|[+*/]=|\$\{?[A-Za-z_]|&\w{1,8};|=$|//"
)


class AssignedSecret(SensitiveRule):
    """A value given to a name such as password, secret, token or API key.

    ## What it does
    Reports what is assigned to such a name, in code, configuration, JSON or a sentence ("password: ..."). A value of
    sixteen and more mixed characters that looks random is a warning; a shorter one, of at least eight characters
    with letters and digits, is information. Only the value is replaced, so that the code keeps its form.

    Not reported: placeholders (changeme, your_password, <password>, ${VAR}), what code computes (os.environ[...],
    getpass()), plain words, numbers, UUIDs, paths and web addresses, and names about a secret (token_type, password_hash).

    ## Why
    What one programmer typed into an example is often the password of the day.

    ## Known problems
    Passwords of plain words ("correct horse battery staple") and passwords with a word of lessons in them are missed,
    and unquoted ones need a digit. Made-up passwords in lessons that avoid these words are reported: the rule cannot know.

    ## Source
    CWE-798 (hard-coded credentials).
    """

    code: ClassVar[str] = "SEC554"
    name: ClassVar[str] = "assigned-secret"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "if it is real, change it where it is valid, then redact it (step `secret`)"
    coarse: ClassVar[tuple[str, ...]] = (
        r"(?i)(?:passw(?:or)?d|passphrase|pwd|secret|token|[_-]?key)[a-z_0-9\\-]{0,20}[\"'\\]{0,9}\s{0,3}[:=]",
    )
    candidate: ClassVar[tuple[str, ...]] = (
        rf"(?i){NAMES.replace('[_-]?', WRITTEN)}[a-z0-9_\\-]{{0,20}}[\"'\\]{{0,9}}\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}(?:bearer\s)?"
        r"[\"'\\]{0,9}[^\s\"'()<>]{0,60}[0-9]",
    )
    noun: ClassVar[tuple[str, str]] = ("an assigned secret", "assigned secrets")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat('SECRET_KEY = "p9$kd8Wq2!vnZ4xT7rLm0"', "ok"),
        Example.chat("export API_KEY=9fQ2xT7rLm0Vw8Zk4Np1", "ok"),
        Example.chat('{"password": "Kx7!pqRw9z"}', "ok"),
        Example.chat("My password: Tr0ub4dor&3", "Noted."),
        Example.chat(r'sparkpost\_api\_key="8d4d97f4b7c7fdaa63f6"', "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat('password = "changeme"', 'api_key = "your_api_key_12345"'),
        Example.chat('password = os.environ["DB_PASS"]', "password = getpass.getpass()"),
        Example.chat("password: ${DB_PASSWORD}", "token = tokens[i + 1]; max_tokens = 4096"),
        Example.chat('"token_type": "Bearer", "secretName": "my-app-2"', "token: f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        Example.chat('publicKeyToken="31bf3856ad364e35"', "the name of a public key"),
        Example.chat("Password: at least 8 characters", "The secret: patience and practice."),
        Example.chat("const password = document.getElementById('password').value;", "ok"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every value that is given to a secret's name."""
        for match in ASSIGNED.finditer(text):
            group = next(number for number in (2, 3, 4) if match[number])
            value = match[group].rstrip(".,;!?") if group == 4 else match[group]
            if (
                PUBLIC.search(text[max(0, match.start() - 12) : match.start()])
                or OTHER.search(match[1])
                or NO_SECRET.match(value)
                or stands_for_a_password(value)
            ):
                continue
            if group == 4 and HTML_OR_CODE.search(value):
                continue
            if stands_for_a_key(value) and len(value) >= 12:
                continue
            level = None if looks_random(value) else Severity.INFO
            mixed = re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value)
            if level is None or (mixed and len(value) >= 8 and entropy(value) >= 2.5):
                start = match.start(group)
                yield Value(start, start + len(value), "secret", value, level)
