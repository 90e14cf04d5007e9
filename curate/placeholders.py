"""What stands for a secret without being one: words of documentation, template marks, code."""

from __future__ import annotations

import math
import re
from collections import Counter

MARKS = re.compile(r"<[^>]*>?|\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|^[$%&@*.#\\-]|\$[A-Z_]{3}|%[sd(]|\.\.\.|\*\*|__|[xX]{3}|…")
"""Template marks, variables, and what hides a value."""
WORDS = re.compile(
    r"(?i)your|example|change|placeholder|dummy|sample|insert|replace|redacted|todo|fake|mypass|my_pass|my-pass|masked"
    r"|passw|secret|s3cr[e3]t|token|apikey|api[_-]key|hidden|default|undefined|value|string|qwerty|letmein|foobar|user"
    r"|admin|root|mysql|postgres|mongo|redis|guest|rabbit|oracle|test|demo|hello|1234|abc|none|null|true|false"
)
"""A value with one of these words in it is taken from a lesson, not from a service."""
COUNTING = re.compile(r"(.)\1{5}|012345|123456|abcdef|ABCDEF|a1b2c3|A1B2C3|EXAMPLE|example|[Xx]{5}|your[-_]|deadbeef")
CODE = re.compile(
    r"(?i)^(?:os|process|self|this|config|settings|env|req|request|ctx|args|options|app|data|props)\.|->|::"
)


def entropy(text: str) -> float:
    """Shannon entropy of a text's characters, in bits for each character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values()) if size else 0.0


def stands_for_a_key(text: str) -> bool:
    """Whether a text in the form of a service's key is one that nobody was issued: it counts, repeats or says so."""
    return bool(COUNTING.search(text)) or entropy(text) < 2.8


def stands_for_a_password(text: str) -> bool:
    """Whether the value of a password is a placeholder, a variable, or a word that lessons use."""
    return len(text) < 4 or bool(MARKS.search(text) or WORDS.search(text) or CODE.search(text)) or len(set(text)) < 4


def looks_random(text: str, least_chars: int = 16, least_bits: float = 3.4) -> bool:
    """Whether a text is long and mixed enough that a machine made it."""
    mixed = re.search(r"[0-9]", text) is not None and re.search(r"[A-Za-z]", text) is not None
    return len(text) >= least_chars and mixed and entropy(text) >= least_bits
