"""PII506 ip-address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Action, Example
from curate.sensitive import SensitiveRule, Value, near
from schemas.finding import Severity

FOUR = re.compile(r"(?<![\w.+*=\-\\])(?<![^:/]/)(?<!^/)([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![\w%]|\.[0-9]|-[0-9]|\.[a-z])")
SIX = re.compile(r"(?<![\w:.])([23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{4,34})(?![\w:.])")
VERSION = re.compile(
    r"(?i)(?:\bv|\bver|versions?|release[ds]?|\bbuild|firmware|driver|upgrade[d]?(?: to| from)?|section|chapter|§|clause|\boid|\bfigure"
    r"|\btable|\bitem|\bstep|\basn?\b|chrome|firefox|safari|package|assembly|revision|patch|>{7})(?: is| was)?[ =:(\"'>]{0,3}$"
)
REVISIONS = re.compile(r"\w,([1-9]\.[0-9]{1,4})(?:(?:\.[0-9]{1,4}){2})?,\1(?:\.[0-9]{1,4}){2}(?![\w.])")
"""A file's name and two of its revisions, as CVS mails them: `Conf.pm,1.91.2.1,1.91.2.2`."""
WORDS = re.compile(
    r"\bips?\b|ip_?addr|address|host|server|\bping|client|router|gateway|\bfrom\b|\bto\b|ssh|https?://|telnet|nslookup|\bdns|\binet"
)
KNOWN = frozenset(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220 4.2.2.1 4.2.2.2 1.2.3.4 4.3.2.1 5.6.7.8"
    " 2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111 2606:4700:4700::1001 2620:fe::fe".split()
)
"""Public resolvers, which name nobody, and numbers that only count."""
HIGH = 64
"""A part from which on four numbers with dots are hardly a version."""


class IpAddress(SensitiveRule):
    """A public address on the internet.

    ## What it does
    Reports IPv4 and IPv6 addresses that are routed publicly. Not reported: private, loopback, link-local, multicast and
    documentation ranges (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32), netmasks, public resolvers such
    as 8.8.8.8, numbers of more than four parts, what stands after "version", "v", "section", a browser's name or a
    slash, and revisions of CVS behind a file's name. Four numbers that are all below 64 need a word such as "IP",
    "host" or "server" at most 40 characters before them.

    ## Why
    An address can lead to a household; European courts count it as personal data. Rows about networks are full of
    addresses that name nobody, so the finding is information, and nothing is changed unless the config says so.

    ## Known problems
    Whether an address was ever given to a person cannot be known: made-up public addresses in lessons are reported.
    Versions of four parts with one of at least 64 and no word before them are reported as well.

    ## Source
    The registries of special-purpose addresses (RFC 6890, RFC 5737, RFC 3849) as Python's `ipaddress` keeps them.
    """

    code: ClassVar[str] = "PII506"
    name: ClassVar[str] = "ip-address"
    severity: ClassVar[Severity] = Severity.INFO
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "if it belongs to a person, redact it (`ip-address: {action: redact}`)"
    candidate: ClassVar[tuple[str, ...]] = (
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
    )
    noun: ClassVar[tuple[str, str]] = ("an IP address", "IP addresses")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Failed login from 91.198.174.192 port 22", "ok"),
        Example.chat("hosts,91.198.174.192,91.198.174.193", "mine,8.198.174.192"),
        Example.chat("http://185.15.59.224/x", "host 2a02:ec80:300:ed1a::1, server 23.45.12.9:8080"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("192.168.1.1, 10.0.0.1, 127.0.0.1, 203.0.113.9", "mask 255.255.255.0, dns 8.8.8.8, 2001:db8::1"),
        Example.chat("version 91.198.174.192, v2.10.81.3", "Chrome/91.0.44.124, OID 1.3.6.1.4.1.311"),
        Example.chat("Section 1.2.3.4, step 12.1.4.2", "assembly 12.0.3.1, 999.300.1.2"),
        Example.chat("CVS: lib Conf.pm,1.91.2.1,1.91.2.2", "mass-check,1.67,1.67.2.1 and >>>>>>> 1.68.2.10"),
        Example.chat("at 12:34:56", "std::vector<2000::x>, 2024:05:17:12"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every public address of the text."""
        for match in FOUR.finditer(text):
            if self._is_public(match[1]) and (not strict or _is_address(text, match)):
                yield Value(match.start(1), match.end(1), "ip", match[1])
        for match in SIX.finditer(text):
            if self._is_public(match[1]):
                yield Value(match.start(1), match.end(1), "ip", match[1].lower())

    @staticmethod
    def _is_public(spelt: str) -> bool:
        try:
            address = ipaddress.ip_address(spelt)
        except ValueError:
            return False
        return address.is_global and not address.is_multicast and str(address) not in KNOWN


def _is_address(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 20) : match.start()]
    around = text[max(0, match.start() - 20) : match.end() + 20]
    if VERSION.search(before) or any(match[1] in found[0] for found in REVISIONS.finditer(around)):
        return False
    return max(map(int, match[1].split("."))) >= HIGH or near(text, match.span(), WORDS)
