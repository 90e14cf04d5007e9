"""PII502 phone-number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import field_validator

from curate.rules.base import Example
from curate.sensitive import DIGITS, SensitiveRule, Value, called, near
from schemas.finding import Severity

MORE = r"(?:[ \u00a0]?[().\-/ \u2010\u2011\u2013]?[ \u00a0]?[0-9]){6,14}"
# What stands before is looked at behind the first character: an expression that begins with a set of characters is fast.
INTERNATIONAL = re.compile(
    r"[+0](?<![\w+*/^.\-].)(?:(?<=\+)[ ]?\(?(?=[1-9])|(?<=0)0(?=[1-9][0-9]{0,2}[ \-/.(]))"
    rf"([0-9]{MORE})(?![\w%]|[.,:][0-9])"
)
NATIONAL = re.compile(
    rf"([(0-9](?<![\w+*/=^.$€£#\-(\[].)(?:(?<=[0-9])|(?<=\()[0-9]){MORE})(?![\w%]|[.,:/][0-9]|-[0-9])"
)
NORTH_AMERICAN = re.compile(
    r"^(?:1[ .\-])?(?:\([2-9][0-9]{2}\)[ \-]{0,2}|[2-9][0-9]{2}([-. ]))[2-9][0-9]{2}(?:\1|[-. ])[0-9]{4}$"
)
WORDS = {
    "US GB CA AU IN": r"(?:tele)?phone|\btel\b|\bcell\b|mobile|\bfax\b|\bcall\b|\bdial\b|\bsms\b|\btext (?:me|us)\b|whatsapp"
    r"|hotline|toll[- ]free|\bring\b|voicemail|\bcontact(?: no| number)",
    "DE AT CH": r"telefon|\btel\b|handy|mobil\b|rufnummer|\bfon\b|telefax",
    "FR BE CH": r"t[ée]l[ée]phone|\btél\b|\btel\b|portable|appele[zr]",
    "ES MX AR CO": r"tel[ée]fono|\btel[ée]?f?\b|m[óo]vil|celular|llama|lláma|llame|lláme",
    "IT": r"telefono|\btel\b|cellulare|chiama",
    "BR PT": r"telefone|celular|telem[óo]vel|ligue",
    "NL": r"telefoon|\btel\b|mobiel|\bbel\b",
    "PL": r"telefon|\btel\b|kom[óo]rk|zadzwo",
}
"""Regions -> the words before a number that say it is a telephone's, in their languages."""
CONTEXT = {regions: re.compile(words) for regions, words in WORDS.items()}
ANY_CONTEXT = re.compile("|".join(WORDS.values()))
OTHER = re.compile(
    r"(?i)\b(?:order|invoice|isbn|issn|serial|ticket|part|sku|ref(?:erence)?|case|tracking|account|version|model|patent|zip"
    r"|license|policy|id|uid|date|timestamp|rfc|vat|hash|seed|port|pid|error|code|batch|lot|item|route|bestell\w*)\b[^\n]{0,12}$"
)
"""Words right before a number that say it is something else."""
FICTION = re.compile(
    r"^(?:\+1[2-9]\d\d555\d{4}|\+44(?:20794600|7700900|1632960|113496|114496|115496|116496|117496|118496|121496|131496"
    r"|141496|151496|161496|191498|8081570|9098790|3069990)\d+|\+61(?:255501|255504|491570)\d+|\+33(?:19900|26191|35301|53657|63998)\d+)$"
)
"""Numbers that the administrations of the United States, the United Kingdom, Australia and France keep for films and books."""
FILM = re.compile(r"^\(?[2-9][0-9]{2}[)\-. ]{0,2}555[\-. ]?[0-9]{4}$")
COUNTING = "01234567890123456789"
FICTITIOUS = "nobody's"


class PhoneNumber(SensitiveRule):
    """A telephone number.

    ## What it does
    Reports numbers that the numbering plans know as valid (library `phonenumbers`): in international form (+49 ...,
    0044 ...) anywhere; in the form of one of `regions` with a word such as "phone", "call" or "Tel." at most 40
    characters before it; in that form with its area in brackets, (415) 229-0146, anywhere. After such a word, the plans
    of the countries that speak its language are asked as well.

    Not reported: numbers reserved for fiction (every 555 exchange of North America, 07700 900xxx and the like), counting
    and repeating digits, and what stands after a word such as order, invoice, ISBN, account or version, or goes on like a
    date, a decimal fraction or an expression.

    ## Why
    A telephone number is personal data, and a model that repeats one makes a stranger's telephone ring.

    ## Known problems
    A text in which another number stands between every such word and its number is missed. A national number without brackets and without a word before it is missed, and so is one spelt in words. A company's
    public number is reported like a person's.

    ## Source
    ITU-T E.164; the plans as Google's libphonenumber keeps them.
    """

    code: ClassVar[str] = "PII502"
    name: ClassVar[str] = "phone-number"
    severity: ClassVar[Severity] = Severity.WARNING
    takes_long: ClassVar[bool] = True
    help: ClassVar[str] = "let `assay curate` redact it (step `pii`), or list harmless numbers under `allow`"
    coarse: ClassVar[tuple[str, ...]] = DIGITS
    candidate: ClassVar[tuple[str, ...]] = (
        r"\+[ ]?\(?[1-9][0-9 ().\-/\u00a0\u2010-\u2013]{6}|00[1-9][0-9]{0,2}[ \-/.(]{1,2}[0-9]|\([2-9][0-9]{2}\)[ \-]{0,2}[2-9][0-9]{2}|"
        + called("|".join(WORDS.values())),
    )
    loose: ClassVar[str] = DIGITS[0]
    noun: ClassVar[tuple[str, str]] = ("a phone number", "phone numbers")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Ring me on +49 30 901820 please", "Done."),
        Example.chat("Call (415) 229-0146 or fax 415-229-0147", "Done."),
        Example.chat("tel=+493090182045&x=1", "Done."),
        Example.chat("Telefon: 030 901820", "Tél. 01 40 20 50 50"),
        Example(({"text": "hello", "metadata": {"phone": "+442079250918"}},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Order 415-229-0146, invoice (415) 229-0146", "phone 555-555-1212, ISBN 978-3-16-148410-0"),
        Example.chat("(202) 555-0143 or +1 202-555-0143", "call +1 (234) 567-8901, +44 7700 900123"),
        Example.chat("2024-05-17 12:30:45, 1716200000, 3.14159265358979", "x = 2147483647 + 1234567890"),
        Example.chat("lat 52.5200066, lon 13.4049540", "version 10.0.19045.3448, call 1-2-3-4-5-6-7"),
        Example.chat("return 4152290146", "0x4152290146, 415-229-0146"),
    )

    regions: tuple[str, ...] = ("US",)
    """Countries (ISO 3166, two letters) in whose national form numbers are written; empty for international form only."""
    allow: tuple[str, ...] = ()
    """Numbers in international form that are never reported, such as a company's public one."""

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        from phonenumbers import SUPPORTED_REGIONS

        unknown = [region for region in regions if region not in SUPPORTED_REGIONS]
        if unknown:
            raise ValueError(f"no numbering plan for {', '.join(unknown)}: two capital letters, such as US or DE")
        return regions

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every number of the text, in international form to tell them apart."""
        international = list(INTERNATIONAL.finditer(text))
        for match in international:
            if (number := self._number("+" + match[1], None)) and number != FICTITIOUS:
                yield Value(match.start(), match.end(), "phone", number)
        taken = [match.span() for match in international]
        for match in NATIONAL.finditer(text):
            start, stop = match.span(1)
            if any(begin < stop and start < end for begin, end in taken):
                continue
            if number := self._national(text, match, strict):
                yield Value(start, stop, "phone", number)

    def _national(self, text: str, match: re.Match[str], strict: bool) -> str | None:
        spelt, place = match[1], match.span(1)
        if spelt.count(")") != spelt.count("("):
            return None
        if FILM.match(spelt):
            return None
        said = near(text, place, ANY_CONTEXT)
        bracketed = spelt.startswith("(") and NORTH_AMERICAN.match(spelt) is not None
        if not (bracketed or said) or (strict and not said and OTHER.search(text[max(0, place[0] - 30) : place[0]])):
            return None
        if said and OTHER.search(text[max(0, place[0] - 14) : place[0]]):
            return None
        before = text[max(0, place[0] - 40) : place[0]].lower()
        asked = list(self.regions)
        for regions, words in CONTEXT.items():
            if said and words.search(before):
                asked += regions.split()
        for region in dict.fromkeys(asked):
            if number := self._number(spelt, region):
                # What one plan keeps for fiction is no other plan's number.
                return number if number != FICTITIOUS else None
        return None

    def _number(self, spelt: str, region: str | None) -> str | None:
        import phonenumbers

        digits = re.sub(r"\D", "", spelt)
        if any(run in COUNTING for run in (digits[-7:], digits[-10:-3])) or len(set(digits[-7:])) < 3:
            return None
        try:
            number = phonenumbers.parse(spelt, region)
        except phonenumbers.NumberParseException:
            return None
        if not phonenumbers.is_valid_number(number):
            return None
        said = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        allowed = {re.sub(r"[^\d+]", "", entry) for entry in self.allow}
        return FICTITIOUS if FICTION.match(said) or said in allowed else said
