"""PII501 mail-address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Example
from curate.sensitive import SensitiveRule, Value
from schemas.finding import Severity

ADDRESS = re.compile(
    r"(?<![A-Za-z0-9À-ɏ._%+\-@/])"
    r"([A-Za-z0-9_À-ɏ][A-Za-z0-9À-ɏ._%+'\-]{0,63})@"
    r"((?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9\-_@(\[]|\.[A-Za-z]\b)"  # what goes on like code, as in q@k.transpose(0) or x@self.weight.T, is code
)
LONGEST_USER = 200
PASSWORD_BEFORE = re.compile(r"://[^\s/@:]{0,100}:[^\s/@]{0,100}@$")
"""In `scheme://user:password@host`, what ends in the host's name is no address."""
RESERVED = ("example", "test", "invalid", "localhost")
"""Top-level names that no mail is ever delivered to; `example` is also reserved one level below."""
SECOND_LEVEL = ("co", "com", "org", "ac", "net")
STAND_INS = {
    "domain.com", "yourdomain.com", "mydomain.com", "company.com", "yourcompany.com", "email.com", "host.com",
    "acme.com", "bar.com", "foo.com", "domain.tld", "yourdomain.tld", "mycompany.com", "yoursite.com", "website.com",
}  # fmt: skip
STAND_IN_NAMES = {
    "user", "username", "you", "your", "yourname", "your.name", "your_name", "name", "someone", "somebody", "email",
    "your_email", "youremail", "john", "jane", "john.doe", "jane.doe", "johndoe", "janedoe", "foo", "bar", "test",
    "admin", "info",
}  # fmt: skip
FILE_SUFFIXES = {
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "js",
    "ts",
    "css",
    "py",
    "html",
    "json",
    "xml",
    "md",
}


class MailAddress(SensitiveRule):
    """A mail address of a person or an organisation.

    ## What it does
    Reports rows with a mail address in a turn, in a tool call or in the metadata. The address is shown nowhere:
    messages, excerpts and evidence carry a pseudonym made from its digest, the same for the same address. With the
    action `redact`, `assay curate` writes that pseudonym into the row in place of the address.

    Not reported: names reserved for documentation (example.com and its like, .test, .invalid, .localhost), common
    stand-ins such as user@domain.com, remotes such as git@host, image names such as logo@2x.png, and what `allow`
    names.

    ## Why
    A model repeats what it was trained on, addresses included; they are personal data under most privacy laws.

    ## Known problems
    Message identifiers of mail and news look like addresses and are reported. Addresses spelt out ("jane at host dot
    org") and addresses with a letter outside ASCII in the domain or right before it are not found. Two pseudonyms of 4
    hexadecimal digits meet by chance in one of 65,536 pairs.

    ## Source
    RFC 5322 section 3.4.1 (the common part of its grammar), RFC 2606 and RFC 6761 (reserved names).
    """

    code: ClassVar[str] = "PII501"
    name: ClassVar[str] = "mail-address"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "let `assay curate` redact it (step `pii`), or list harmless addresses under `allow`"
    candidate: ClassVar[tuple[str, ...]] = (r"[A-Za-z0-9_.%+'\-]@[A-Za-z0-9\-.]+\.[A-Za-z]{2}",)
    noun: ClassVar[tuple[str, str]] = ("a mail address", "mail addresses")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Write to jane.miller@posteo.net", "Done."),
        Example.chat("Who?", "Ask <bob+lists@mail.uni-bonn.de>."),
        Example(({"text": "hello", "metadata": {"author": "kim@kde.org"}},)),
        Example.chat("http://host.org/off?em=KIM@KDE.ORG&l=1", "Done."),
        Example.chat("ok", '{"to": "a\\nkim\\u0040kde.org"}'),
        Example.chat("razor@example.sourceforge.net", "a subdomain called example is no example"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Write to jane@example.com or ops@mail.example.org", "Done."),
        Example.chat("git clone git@github.com:org/repo.git", "npm i left-pad@1.3.0 and logo@2x.png"),
        Example.chat("postgres://app:secret@db.corp.net/app", "ok"),
        Example.chat("foo@bar.com", "name@domain.tld"),
        Example.chat("user@domain.com", "me@server.test, <mail-3f2a>, 3 apples @ 2.50"),
        Example.chat("scores = q@k.transpose(-2, -1)", "y = x@self.weight.T; kim@example.co.uk"),
    )

    allow: tuple[str, ...] = ()
    """Addresses or domains that are never reported, such as a company's public support address."""

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every address of the text."""
        for match in ADDRESS.finditer(text):
            before = text[max(0, match.start() - LONGEST_USER) : match.start(2)]
            in_url = "://" in before and PASSWORD_BEFORE.search(before)
            if not in_url and self._is_personal(match):
                yield Value(match.start(), match.end(), "mail", match[0].lower())

    def _is_personal(self, match: re.Match[str]) -> bool:
        name, domain = match[1].lower(), match[2].lower()
        labels = domain.split(".")
        owner = labels[-3] if labels[-2] in SECOND_LEVEL and len(labels) > 2 else labels[-2]
        if labels[-1] in RESERVED or owner == "example" or labels[-1] in FILE_SUFFIXES:
            return False
        if name == "git" or (domain in STAND_INS and name in STAND_IN_NAMES):
            return False
        return f"{name}@{domain}" not in self._allowed and domain not in self._allowed

    @property
    def _allowed(self) -> frozenset[str]:
        return frozenset(entry.lower().removeprefix("@") for entry in self.allow)
