"""PII505 national-id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from pydantic import field_validator

from curate.rules.base import Example
from curate.sensitive import DIGITS, SensitiveRule, Value, called, near, stems
from schemas.finding import Severity


@dataclass(frozen=True)
class Number:
    """A country's number for its people."""

    form: str
    """How it is written; no group but those that are not captured."""
    check: str
    """Module of `python-stdnum` that knows its check digits; empty where it has none."""
    words: str = ""
    """Words that must be near it; empty where form and check digits are enough."""


TAX = r"\btax|\btin\b"
NUMBERS = {
    "US": Number(r"(?!000|666|9)[0-9]{3}[- ](?!00)[0-9]{2}[- ](?!0000)[0-9]{4}|(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}", "us.ssn", r"\bssn\b|social.?security"),
    "CA": Number(r"[1-79][0-9]{2}[- ]?[0-9]{3}[- ]?[0-9]{3}", "ca.sin", r"\bsin\b|social insurance|\bnas\b"),
    "MX": Number(r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9]", "mx.curp"),
    "BR": Number(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "br.cpf"),
    "BR bare": Number(r"[0-9]{11}", "br.cpf", r"\bcpf\b"),
    "CL": Number(r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]|[0-9]{7,8}-[0-9Kk]", "cl.rut", r"\brut\b|\brun\b"),
    "GB": Number(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", "", r"national insurance|\bnino\b|\bni (?:no|num)"),
    "GB NHS": Number(r"[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{4}", "gb.nhs", r"\bnhs\b"),
    "IE": Number(r"[0-9]{7}[A-W][A-IW]?", "ie.pps", r"\bpps"),
    "DE": Number(r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", "de.idnr", r"steuer|idnr|identifikationsnummer|" + TAX),
    "FR": Number(r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", "fr.nir"),
    "ES": Number(r"[0-9]{8}[- ]?[A-HJ-NP-TV-Z]|[XYZ][- ]?[0-9]{7}[- ]?[A-HJ-NP-TV-Z]", "es.nif", r"\bdni\b|\bnie\b|\bnif\b|identidad|extranjero"),
    "PT": Number(r"[1-3][0-9]{2} ?[0-9]{3} ?[0-9]{3}", "pt.nif", r"\bnif\b|contribuinte"),
    "IT": Number(r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", "it.codicefiscale"),
    "NL": Number(r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}", "nl.bsn", r"\bbsn\b|burgerservice|sofi"),
    "BE": Number(r"[0-9]{2}\.(?:0[1-9]|1[0-2]|[24][0-9]|[35][0-2])\.[0-3][0-9][- ][0-9]{3}[.-][0-9]{2}", "be.nn"),
    "CH": Number(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", "ch.ssn"),
    "AT": Number(r"[1-9][0-9]{3} ?[0-3][0-9][0-9]{4}", "at.vnr", r"sozialversicherung|svnr|\bsv-?n"),
    "PL": Number(r"[0-9]{11}", "pl.pesel", r"pesel"),
    "CZ": Number(r"[0-9]{6}/[0-9]{3,4}", "cz.rc", r"rodn|\brc\b|\br\.č"),
    "RO": Number(r"[1-8][0-9]{12}", "ro.cnp", r"\bcnp\b"),
    "BG": Number(r"[0-9]{10}", "bg.egn", r"\begn\b|егн"),
    "HR": Number(r"[0-9]{11}", "hr.oib", r"\boib\b"),
    "SE": Number(r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", "se.personnummer", r"person\w{0,3}n"),
    "NO": Number(r"[0-3][0-9]{5} ?[0-9]{5}", "no.fodselsnummer", r"fødsels|fodsels|personnummer|\bfnr\b"),
    "DK": Number(r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}", "dk.cpr", r"\bcpr\b"),
    "FI": Number(r"[0-3][0-9][01][0-9]{3}[-+A-F][0-9]{3}[0-9A-FHJ-NPR-Y]", "fi.hetu", r"hetu|henkilötunnus|henkilotunnus|personbeteckning"),
    "TR": Number(r"[1-9][0-9]{10}", "tr.tckimlik", r"kimlik|\btckn?\b|\bt\.c\."),
    "ZA": Number(r"[0-9]{2}[01][0-9][0-3][0-9] ?[0-9]{4} ?[01][0-9]{2}", "za.idnr", r"\bid (?:no|num)|identity|south africa"),
    "IN": Number(r"[2-9][0-9]{3}[- ]?[0-9]{4}[- ]?[0-9]{4}", "in_.aadhaar", r"aadhaar|aadhar|adhaar|uidai|आधार"),
    "IN PAN": Number(r"[A-Z]{3}[ABCFGHLJPTK][A-Z][0-9]{4}[A-Z]", "in_.pan", r"\bpan\b|permanent account|income.?tax"),
    "CN": Number(r"[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9X]", "cn.ric"),
    "KR": Number(r"[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}", "kr.rrn", r"주민|resident|\brrn\b"),
    "JP": Number(r"[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}", "", r"マイナンバー|個人番号|my number"),
    "IL": Number(r"[0-9]{9}", "il.idnr", r"teudat|ת\.?ז|israeli id|מספר זהות"),
    "TH": Number(r"[1-8][- ]?[0-9]{4}[- ]?[0-9]{5}[- ]?[0-9]{2}[- ]?[0-9]", "th.pin", r"บัตรประชาชน|thai id|citizen id"),
    "AU": Number(r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", "au.tfn", r"\btfn\b|tax file"),
    "NZ": Number(r"[0-9]{2,3}[- ]?[0-9]{3}[- ]?[0-9]{3}", "nz.ird", r"\bird\b"),
}  # fmt: skip
"""Country (and what tells two numbers of one country apart) -> its number."""
LESSONS = frozenset(
    "078051120 219099999 457555462 123456789 111111111 987654321 AB123456C QQ123456C JW123456C 12345678Z X1234567L 00000000T"
    " 11144477735 52998224725 12345678909 11111111111 RSSMRA85T10A562S RSSMRA80A01H501U MRTMTT25D09F205Z 111222333 44051401359"
    " 86095742719 11010519491231002X 110105194912310021 7569217076985 7561234567897 8811282651 234123412346 999999999999"
    " ABCDE1234F ABCPE1234F 131052308T 8001015009087 046454286 130692544".split()
)
"""Examples of administrations, encyclopedias and lessons."""
UNCALLED = "|".join(number.form for number in NUMBERS.values() if not number.words)
CALLED = "|".join(sorted({number.words for number in NUMBERS.values() if number.words}))
ANY_STEM = stems(CALLED)
PLAIN_DIGITS = re.compile(r"[0-9]{8,12}")
STRETCH = re.compile(r"[0-9A-Z][0-9A-Zk .\-/+]{7,}")
"""What every form lies in: its characters, as many as the shortest has."""
SHORTEST_UNCALLED = 13
"""Characters of the shortest form that needs no word."""
BEFORE = 40
"""Characters before a number in which its word stands."""
BEHIND = 2
"""Characters behind a number that its form looks at."""


Form = tuple[Number, re.Pattern[str], re.Pattern[str] | None]
"""A number, its form, and the words that must be near it."""


@cache
def forms(countries: frozenset[str]) -> tuple[list[Form], list[Form]]:
    """The numbers of these countries, all for an empty set: those that need no word, and the others."""
    known = [
        (
            number,
            re.compile(rf"(?<![\w.+*/=\-])(?:{number.form})(?![\w%]|[.\-/][0-9])"),
            re.compile(number.words) if number.words else None,
        )
        for name, number in NUMBERS.items()
        if not countries or name[:2] in countries
    ]
    return [form for form in known if form[2] is None], [form for form in known if form[2] is not None]


class NationalId(SensitiveRule):
    """A number that a state gave to a person.

    ## What it does
    Reports the numbers of some thirty countries (social security, tax, identity), each by its form and its check digits.
    Most forms also need a word at most 40 characters before them, such as "SSN", "PESEL" or "Aadhaar"; where form
    and check are strong enough (Italy's codice fiscale, France's NIR, China's resident number, Mexico's CURP, Brazil's CPF with
    its dots, Belgium's and Switzerland's numbers) they need none.

    Not reported: the examples of administrations and encyclopedias (078-05-1120, QQ123456C), numbers of one or two different
    digits.

    ## Why
    It cannot be changed, and whoever has it can pretend to be its owner.

    ## Known problems
    The United States', the United Kingdom's and Japan's numbers have no check digit, so that any number of that form after
    such a word is reported. Numbers without their word are missed; a one-digit check passes by chance in one of ten.

    ## Source
    The administrations' rules as the library `python-stdnum` keeps them; HMRC NIM39110 for the United Kingdom.
    """

    code: ClassVar[str] = "PII505"
    name: ClassVar[str] = "national-id"
    severity: ClassVar[Severity] = Severity.ERROR
    takes_long: ClassVar[bool] = True
    help: ClassVar[str] = "redact it (step `pii`); `countries` says whose numbers are looked for"
    coarse: ClassVar[tuple[str, ...]] = DIGITS
    candidate: ClassVar[tuple[str, ...]] = (UNCALLED, called(CALLED))
    loose: ClassVar[str] = r"[0-9](?:[ .\-/A-Z]{0,3}[0-9]){5}"
    noun: ClassVar[tuple[str, str]] = ("a national id", "national ids")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("My SSN is 536-22-8726.", "Noted."),
        Example.chat("CPF 390.533.447-05", "codice fiscale VRDLGU72E15F205P"),
        Example(({"text": "x", "metadata": {"pesel": "02070803628"}},)),
        Example.chat("National Insurance number: AB 12 34 57 D", "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("SSN 078-05-1120, SSN 000-12-3456, SSN 123-45-6789", "order 536-22-8726"),
        Example.chat("390.533.447-06", "National Insurance number QQ123456C"),
        Example.chat("build 02070803628, row 536228726", "123456789012345678"),
    )

    countries: tuple[str, ...] = ()
    """Countries (ISO 3166, two letters) whose numbers are looked for; empty for all that are known."""

    @field_validator("countries")
    @classmethod
    def _known(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        known = sorted({name[:2] for name in NUMBERS})
        if unknown := [country for country in countries if country not in known]:
            raise ValueError(f"no numbers are known of {', '.join(unknown)}: one of {', '.join(known)}")
        return countries

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every number of the text; one that two countries could have given counts once."""
        found: dict[tuple[int, int], str] = {}
        uncalled, with_word = forms(frozenset(self.countries))
        for stretch in STRETCH.finditer(text):
            start, stop = stretch.span()
            lower = text[max(0, start - BEFORE) : stop].lower()
            possible = list(uncalled) if stop - start >= SHORTEST_UNCALLED else []
            if not strict:
                possible += with_word
            elif ANY_STEM.search(lower):
                possible += [form for form in with_word if stems(form[0].words).search(lower)]
            for number, form, words in possible:
                for match in form.finditer(text, start, stop + BEHIND):
                    said = words is None or near(text, match.span(), words, BEFORE)
                    # Masking without the word would hide every other number of ten digits.
                    doubtful = not strict and not PLAIN_DIGITS.fullmatch(match[0])
                    if (said or doubtful) and _is_issued(match[0], number):
                        found.setdefault(match.span(), re.sub(r"[\s./-]", "", match[0]))
        for (start, stop), same in sorted(found.items()):
            yield Value(start, stop, "national-id", same)


def _is_issued(spelt: str, number: Number) -> bool:
    bare = re.sub(r"[\s./-]", "", spelt)
    if bare in LESSONS or len(set(re.sub(r"\D", "", bare))) < 3:
        return False
    return not number.check or bool(_checker(number.check).is_valid(spelt))


@cache
def _checker(name: str) -> Any:
    return import_module(f"stdnum.{name}")
