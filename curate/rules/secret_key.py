"""SEC551 secret-key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus, all_texts
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

PATTERNS = {
    "private-key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:[^-]{0,20000}-----END (?:[A-Z]+ )*PRIVATE KEY-----)?",
    "aws-key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github-token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b",
    "slack-token": r"\bxox[abprs]-[A-Za-z0-9-]{20,250}",
    "google-key": r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "stripe-key": r"\b[sr]k_live_[A-Za-z0-9]{20,200}\b",
    "openai-key": r"\bsk-(?:proj-|ant-[a-z0-9]+-)?[A-Za-z0-9_-]{40,250}(?![A-Za-z0-9_-])",
    "hub-token": r"\bhf_[A-Za-z]{34}\b",
}
HINTS = ["PRIVATE KEY", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "AIza", "k_live_"]
HINTS += ["sk-", "hf_"]
ANY = re.compile("|".join(f"(?P<{name.replace('-', '_')}>{pattern})" for name, pattern in PATTERNS.items()))
PLACEHOLDER = re.compile(r"EXAMPLE|example|placeholder|(.)\1{7}|0123456789|abcdefghij|ABCDEFGHIJ|[Xx]{6}|your[-_]")


class SecretKey(Rule):
    """A key or token that opens something.

    ## What it does
    Reports private keys and the tokens of common services by their fixed prefixes and lengths, in turns, tool calls and
    metadata. The value is shown nowhere: messages, excerpts and evidence carry its kind and a short digest, which the
    action `redact` also writes into the row. Documented placeholders (AWS's AKIA...EXAMPLE, runs of one character,
    counting rows) are not reported.

    ## Why
    A model gives away what it was trained on, and a key in training data must be taken as published.

    ## Known problems
    Keys without a fixed form (passwords, connection strings) are not found.

    ## Source
    The token formats that the services document for secret scanning.
    """

    code: ClassVar[str] = "SEC551"
    name: ClassVar[str] = "secret-key"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.REDACT
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP, Action.REDACT)
    help: ClassVar[str] = "withdraw the key where it was issued, then redact it (step `secret`)"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("AKIA" + "Q3ZJ7TRWXP5MLK2D", "ok"),
        Example.chat("use ghp_" + "a8Kd02LmQz7Rt5Yw1Bv9Nc3Xe6Uh4Jf0Gs2P", "ok"),
        Example.chat("-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow\n-----END RSA PRIVATE" + " KEY-----", "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("AKIAIOSFODNN7EXAMPLE", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Example.chat("sk-your-key-goes-here", "the prefix is AKIA, then sixteen letters"),
        Example.chat("task-list-of-the-week-and-everything-in-it-for-everyone", "ok"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each text with a key."""
        texts = all_texts(corpus).filter(pl.col("text").str.contains_any(HINTS))
        for index, turn, text in texts.iter_rows():
            found = [self._stand_in(match) for match in ANY.finditer(text) if _is_real(match)]
            if found:
                distinct = list(dict.fromkeys(found))
                message = f"a secret in {'the metadata' if turn is None else 'the turn'}: {', '.join(distinct[:3])}"
                yield Hit(index, message, turn, {"masked": distinct[:20], "count": len(found)}, " ".join(distinct))

    def rewrite(self, text: str) -> str:
        """The text with every key replaced by its kind and a short digest."""
        if not any(hint in text for hint in HINTS):
            return text
        return ANY.sub(lambda match: self._stand_in(match) if _is_real(match) else match[0], text)

    def mask(self, text: str) -> str:
        """The same as `rewrite`: a key is shown nowhere."""
        return self.rewrite(text)

    @staticmethod
    def _stand_in(match: re.Match[str]) -> str:
        kind = str(match.lastgroup).replace("_", "-")
        return f"<{kind}-{hashlib.sha256(match[0].encode()).hexdigest()[:4]}>"


def _is_real(match: re.Match[str]) -> bool:
    return match.lastgroup == "private_key" or not PLACEHOLDER.search(match[0])
