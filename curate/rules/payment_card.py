"""PII503 payment-card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Example
from curate.sensitive import DIGITS, SensitiveRule, Value, near
from schemas.finding import Severity

CARD = re.compile(
    r"(?<![\w+*/=^.$€£#\-])"
    r"(?<![A-Z]{2}[0-9]{2}[ \-\u00a0])(?<![A-Z]{2}[0-9]{2}[ \-\u00a0][0-9]{4}[ \-\u00a0])"  # groups of an IBAN
    r"(?:([2-6][0-9]{3})([ \-\u00a0])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{1,3})?"
    r"|(3[47][0-9]{2})([ \-\u00a0])[0-9]{6}\4[0-9]{5}|(3[068][0-9]{2})([ \-\u00a0])[0-9]{6}\6[0-9]{4}"
    r"|[2-6][0-9]{12,18})(?![\w%]|[.,:\-][0-9]| [0-9]{3})"
)
ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{4}|222[1-9]\d{2}|22[3-9]\d{3}|2[3-6]\d{4}|27[01]\d{3}|2720\d{2})\d{10}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d{2})\d{12,15}"  # Discover
    r"|3(?:0[0-5]|[689]\d)\d{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:50[0-9]{2}|5[6-9]\d{2}|6[0-9]{3})\d{8,15}"  # Maestro and others
)
WORDS = re.compile(
    r"\bcards?\b|visa|master ?card|amex|american express|discover|\bcredit|\bdebit|\bpayment|\bcc[ _#:]|\bpan\b|cvv|cvc"
    r"|card_?(?:number|no|num)|cardnumber|kreditkarte|\bkarte\b|carte (?:bancaire|bleue)|tarjeta|cart[aã]o|\bcarta\b|betaalkaart"
)
TEST_NUMBERS = frozenset(
    "4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210 5105105105105100 378282246310005"
    " 371449635398431 6011111111111117 6011000990139424 6011981111111113 3056930009020004 36227206271667 6555900000604105"
    " 3566002020360505 6200000000000005 6200000000000047 6205500000000000004 4111111111111111 4012888888881881 4222222222222"
    " 378734493671000 30569309025904 38520000023237 3530111333300000 5019717010103742 6331101999990016 4917610000000000"
    " 4000000000000002 4000000000009995 4000002500003155 4000000000003220 4000000000000077 4000000000000341 4000000000000069"
    " 4000000000000127 4000000000000119 4000000000009987 4000000000009979 4000003720000278 4000000000003063 4000000000003055"
    " 4917300800000000 4462030000000000 4484070000000000 4007702835532454 4716461583322103 4485040371536584 5454545454545454"
    " 6304000000000000 4009348888881881 4012000033330026 4012000077777777 4217651111111119 4500600000000061 4005519200000004"
    " 2222400070000005 5577000055770004 6799990100000000019 4111111145551142 4988438843884305 4166676667666746 4646464646464644"
    " 4000160000000004 345177925488348 370000000000002 4539578763621486 4532015112830366 4916338506082832 79927398713"
    " 4539148803436467 4556737586899855 4024007103939509 5425233430109903 2223000048410010 374245455400126 4263982640269299"
    " 4001919257537193 4007702835532454 6362970000457013 4532756279624064 6011000180331112 3530111333300000".split()
)
"""Numbers that payment services print in their documentation, and the ones that lessons on Luhn's formula repeat."""


class PaymentCard(SensitiveRule):
    """The number of a payment card.

    ## What it does
    Reports numbers with the prefix and length of an issuer and a valid check digit (Luhn): in groups anywhere, without
    separators only with a word such as "card", "Visa" or "payment" at most 60 characters before them or 20 behind.

    Not reported: the test numbers that payment services publish (4242 4242 4242 4242 and its like), numbers of fewer
    than five different digits, and decimal fractions.

    ## Why
    Card numbers in training data break the rules of the card industry, whatever else they break.

    ## Known problems
    One in ten numbers with an issuer's prefix has a valid check digit by chance; in groups of four without a word near it
    such a number is reported. A bare number with no word near it is missed.

    ## Source
    ISO/IEC 7812-1 (Luhn's formula in annex B), the issuers' ranges as they publish them.
    """

    code: ClassVar[str] = "PII503"
    name: ClassVar[str] = "payment-card"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "redact it (step `pii`)"
    coarse: ClassVar[tuple[str, ...]] = DIGITS
    candidate: ClassVar[tuple[str, ...]] = (
        r"[2-6][0-9]{3}[ \-\u00a0][0-9]{4}[ \-\u00a0]?[0-9]{2}[ \-\u00a0]?[0-9]{2}[ \-\u00a0]?[0-9]{2}|[2-6][0-9]{12}",
    )
    noun: ClassVar[tuple[str, str]] = ("a card number", "card numbers")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("4556 8421 0937 6611", "Thanks."),
        Example.chat("my card 5312840917265341, please", "Thanks."),
        Example.chat("ok", '{"card_number": 4556842109376611}'),
        Example.chat("Amex 3714 502839 41761", "Thanks."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("card 4242 4242 4242 4242, 5555-5555-5555-4444", "4111111111111111"),
        Example.chat("4556 8421 0937 6617", "order 4556842109376611"),
        Example.chat("0.4556842109376611", "card: 4556-8421-0937-6611-22-1"),
        Example.chat("card 4444 4444 4444 4448", "pi is 3.141592653589793"),
        Example.chat("IBAN DE98 5001 0517 5407 3249 31", "the groups inside an account number"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every card number of the text."""
        from stdnum import luhn

        for match in CARD.finditer(text):
            digits = re.sub(r"\D", "", match[0])
            if (
                not ISSUERS.fullmatch(digits)
                or digits in TEST_NUMBERS
                or len(set(digits)) < 5
                or not luhn.is_valid(digits)
            ):
                continue
            grouped = len(digits) < len(match[0])
            if grouped or not strict or near(text, match.span(), WORDS, 60, 20):
                yield Value(match.start(), match.end(), "card", digits)
