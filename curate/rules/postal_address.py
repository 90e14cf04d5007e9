"""PII507 postal-address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Action, Example
from curate.sensitive import SensitiveRule, Value
from schemas.finding import Severity

NAME = r"(?:[A-ZÀ-Þ][\w'’.\-]{0,30}|[NSEW]\.?|[0-9]{1,3}(?:st|nd|rd|th))"
STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Parkway|Pkwy|Highway"
    r"|Hwy|Close|Crescent|Gardens|Mews|Hill|Row|Broadway)\b\.?"
)
GAP = r"[,.]?[\s,]{1,4}"
ENGLISH = re.compile(
    rf"(?<![\w$€£#.,/-])([0-9]{{1,5}}[A-Za-z]? (?:{NAME} ){{1,4}}{STREET}"
    rf"(?:{GAP}(?:Apt|Suite|Ste|Unit|Floor|Fl|#)\.? ?#?[\w\-]{{1,6}})?(?:{GAP}{NAME}(?: {NAME}){{0,3}}){{1,3}}?{GAP}"
    r"(?:(?:[A-Z]{2}|[A-Z][a-z]{3,12}) [0-9]{5}(?:-[0-9]{4})?|[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}))(?!\w)"
)
CONTINENTAL = re.compile(
    rf"(?<![\w.\-])((?:{NAME}[ \-]){{0,3}}(?:[A-ZÄÖÜ][a-zäöüß\-]{{1,30}}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|laan|straat|plein|gracht)"
    rf"|(?:Straße|Strasse|Str\.|Weg|Platz|Allee))[ ][0-9]{{1,4}} ?[a-z]?{GAP}(?:[A-Z]{{1,2}}-)?[0-9]{{4,5}}(?: [A-Z]{{2}})? {NAME}(?: {NAME}){{0,2}})(?!\w)"
)
ROMANCE = re.compile(
    r"(?<![\w.\-])((?:[0-9]{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|chemin|impasse|allée|quai|Rue|Avenue|Boulevard|Place|Chemin|Quai)"
    rf" [\w'’\- ]{{3,50}}|(?:Via|Viale|Piazza|Corso|Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Rua) [\w'’\-. ]{{3,50}}?,? ?[0-9]{{1,4}})"
    rf"{GAP}(?:[A-Z]-)?[0-9]{{4,5}}(?:-[0-9]{{3}})? {NAME}(?:[ -]{NAME}){{0,2}})(?!\w)"
)
FORMS = (ENGLISH, CONTINENTAL, ROMANCE)


class PostalAddress(SensitiveRule):
    """What looks like a postal address.

    ## What it does
    Reports a street with its number that is followed by a town and a postcode, in the forms common in the United States,
    the United Kingdom, Germany, Austria, Switzerland, the Netherlands, Belgium, France, Italy, Spain and Portugal.

    ## Why
    An address and a name are a person. Most addresses in conversations are shops, offices or made up, so the finding is
    information, and nothing is changed unless the config says so.

    ## Known problems
    Recall is low by design: an address without postcode, in another order or in another country's form is missed. It
    cannot be known whether anybody lives there.

    ## Source
    Universal Postal Union, addressing S42 (order of the elements by country).
    """

    code: ClassVar[str] = "PII507"
    name: ClassVar[str] = "postal-address"
    severity: ClassVar[Severity] = Severity.INFO
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "if it is a person's, redact it (`postal-address: {action: redact}`)"
    coarse: ClassVar[tuple[str, ...]] = ("[0-9]{4}", "[0-9][A-Z]? [0-9][A-Z]{2}")
    candidate: ClassVar[tuple[str, ...]] = (
        r"[0-9]{1,5}[A-Za-z]? [A-Z0-9][^\n]{0,100}[ ,\n](?:[A-Z]{2}|[A-Z][a-z]{3,12}) [0-9]{5}|[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}"
        r"|[0-9] ?[a-z]?[,.]?[\s,]{1,4}(?:[A-Z]{1,2}-)?[0-9]{4,5}(?:-[0-9]{3}| [A-Z]{2})? [A-ZÀ-Þ]"
        r"|[0-9],? (?:bis |ter )?(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Pp]lace|[Cc]hemin|impasse|allée|[Qq]uai) ",
    )
    noun: ClassVar[tuple[str, str]] = ("what looks like a postal address", "texts that look like postal addresses")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Send it to 1428 Elm Park Drive, Apt 4, Springfield, IL 62704.", "Done."),
        Example.chat("221 Baker Street, London NW1 6XE", "Lindenstraße 14, 10969 Berlin"),
        Example.chat("12 rue de la Paix, 75002 Paris", "Via Garibaldi 22, 20121 Milano"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("I walked 5 blocks down Main Street.", "There are 12345 people in 3 places."),
        Example.chat("In 2019 Wall Street lost 12000 points", "Chapter 12, 10969 words; rue the day, 75002"),
        Example.chat("x = 10, 20000 Foo", "See IL 62704 and NW1 6XE."),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every address-like span of the text."""
        for form in FORMS:
            for match in form.finditer(text):
                yield Value(match.start(1), match.end(1), "address", " ".join(match[1].lower().split()))
