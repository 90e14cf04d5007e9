"""Personal data that belongs to nobody, in forms that real data has: valid check digits, domains of no owner."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import Edit, Plant, inserted

NAMES = ("mara.lindqvist", "jonas_petrov", "t.okafor", "lena-weiss", "ruben.ferro")
HOSTS = ("northwind-mail.net", "kestrelpost.org", "bluefen.io")


def _digits(drawn: Random, count: int) -> str:
    return "".join(drawn.choice("0123456789") for _ in range(count))


def mail(drawn: Random) -> str:
    """An address of a made-up person."""
    return f"{drawn.choice(NAMES)}{drawn.randrange(2, 99)}@{drawn.choice(HOSTS)}"


def card(drawn: Random) -> str:
    """A number of sixteen digits whose last one makes the sum right (Luhn)."""
    body = "4" + _digits(drawn, 14)
    total = sum(
        digit if place % 2 else (2 * digit - 9 if digit > 4 else 2 * digit)
        for place, digit in enumerate(map(int, body))
    )
    return body + str(-total % 10)


def iban(drawn: Random) -> str:
    """A German account number with the right check digits (ISO 13616)."""
    account = _digits(drawn, 18)
    check = 98 - int(account + "131400") % 97
    return f"DE{check:02d}{account}"


def phone(drawn: Random) -> str:
    """A number of a Berlin extension, written as people write it."""
    return f"+49 30 {drawn.randrange(200, 899)}{_digits(drawn, 5)}"


def address(drawn: Random) -> str:
    """A public IPv4 address."""
    parts = (drawn.choice((81, 93, 151, 178, 203)), *(drawn.randrange(1, 250) for _ in range(3)))
    return ".".join(map(str, parts))


def _told(words: str, make: Any) -> Edit:
    def edit(record: Any, drawn: Random) -> Any:
        return inserted(record, words.format(make(drawn)), drawn)

    return edit


PLANT = Plant(
    name="personal_data",
    what="made-up personal data in a user's turn",
    rules=("mail-address", "payment-card", "bank-account", "phone-number", "ip-address"),
    edits={
        "mail_address": _told("(write to {})", mail),
        "payment_card": _told("(my card is {})", card),
        "bank_account": _told("(IBAN {})", iban),
        "phone_number": _told("(call me at {})", phone),
        "ip_address": _told("(logged in from {})", address),
    },
)
