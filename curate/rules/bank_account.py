"""PII504 bank-account."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Example
from curate.sensitive import DIGITS, SensitiveRule, Value
from schemas.finding import Severity

IBAN = re.compile(
    r"(?<![A-Za-z0-9])([A-Z]{2}[0-9]{2})([ \-\u00a0]?)([A-Z0-9]{4}(?:\2[A-Z0-9]{4}){1,6}(?:\2[A-Z0-9]{1,4})?)(?![A-Za-z0-9])"
)
LESSONS = frozenset(
    "GB82WEST12345698765432 GB29NWBK60161331926819 GB33BUKB20201555555555 GB94BARC10201530093459 DE89370400440532013000"
    " DE75512108001245126199 DE12500105170648489890 FR1420041010050500013M02606 FR7630006000011234567890189"
    " NL91ABNA0417164300 ES9121000418450200051332 IT60X0542811101000000123456 BE68539007547034 CH9300762011623852957"
    " AT611904300234573201 SE4550000000058398257466 NO9386011117947 DK5000400440116243 FI2112345600000785 PL61109010140000071219812874"
    " IE29AIBK93115212345678 PT50000201231234567890154 GR1601101250000000012300695 LU280019400644750000 CZ6508000000192000145399"
    " SA0380000000608010167519 TR330006100519786457841326 AE070331234567890123456 BR1800360305000010009795493C1".split()
)
"""What the registry, banks and encyclopedias print as examples."""


class BankAccount(SensitiveRule):
    """An international bank account number (IBAN).

    ## What it does
    Reports numbers whose check digits are right and whose length and form are those of their country, in groups of four or
    in one piece. The registry's published examples are not reported.

    ## Why
    An account number names its holder to every bank, and is enough for a direct debit.

    ## Known problems
    National account numbers without the form of an IBAN are not found, nor is an IBAN in small letters. A random
    string of the right form passes in one of 97 cases.

    ## Source
    ISO 13616-1; the SWIFT registry as the library `python-stdnum` keeps it.
    """

    code: ClassVar[str] = "PII504"
    name: ClassVar[str] = "bank-account"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "redact it (step `pii`)"
    coarse: ClassVar[tuple[str, ...]] = DIGITS
    candidate: ClassVar[tuple[str, ...]] = (
        r"[A-Z]{2}[0-9]{2}[ \-\u00a0]?[A-Z0-9]{4}[ \-\u00a0]?[A-Z0-9]{4}[ \-\u00a0]?[A-Z0-9]{2}",
    )
    noun: ClassVar[tuple[str, str]] = ("a bank account", "bank accounts")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Please pay to DE68 2105 0170 0012 3456 78", "Done."),
        Example(({"text": "x", "metadata": {"iban": "DE68210501700012345678"}},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"),
        Example.chat("DE68 2105 0170 0012 3456 79", "the serial AB12CD34EF56GH78 and SHA1 DE68210501700012345678AA"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every account of the text; a word in capitals behind it is not taken for its last group."""
        from stdnum import iban

        for match in IBAN.finditer(text):
            spelt = match[0]
            while True:
                number = re.sub(r"[ \-\u00a0]", "", spelt)
                if iban.is_valid(number):
                    if number not in LESSONS:
                        yield Value(match.start(), match.start() + len(spelt), "iban", number)
                    break
                if not match[2] or match[2] not in spelt[5:]:
                    break
                spelt = spelt[: spelt.rindex(match[2])]
