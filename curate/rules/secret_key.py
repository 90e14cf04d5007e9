"""SEC551 secret-key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from curate.placeholders import stands_for_a_key
from curate.rules.base import Example
from curate.sensitive import SensitiveRule, Value, escapable
from schemas.finding import Severity

PRIVATE_KEY = (
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{1,20000}-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s:,.\\-]{0,20000})"
)
TOKENS = {
    "aws-key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    "github-token": r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}",
    "gitlab-token": r"gl(?:pat|dt|rt|ptt|soat|ft|imt|agent|cbt)-[A-Za-z0-9_-]{20,64}(?:\.[A-Za-z0-9._-]{6,20})?",
    "slack-token": r"xox[abeoprs]-[A-Za-z0-9-]{20,250}|xapp-[0-9]-[A-Z0-9]{8,12}-[0-9]{10,14}-[a-f0-9]{40,80}",
    "slack-webhook": r"hooks\.slack\.com/services/T[A-Z0-9]{7,12}/B[A-Z0-9]{7,12}/[A-Za-z0-9]{22,26}",
    "discord-webhook": r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,80}",
    "discord-token": r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
    "telegram-token": r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    "google-key": r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{60,250}",
    "stripe-key": r"[sr]k_live_[A-Za-z0-9]{20,200}|whsec_[A-Za-z0-9+/]{32,64}",
    "openai-key": r"sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{40,250}",
    "anthropic-key": r"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{40,250}",
    "hub-token": r"hf_[A-Za-z0-9]{34}",
    "groq-key": r"gsk_[A-Za-z0-9]{52}",
    "replicate-token": r"r8_[A-Za-z0-9]{37}",
    "perplexity-key": r"pplx-[A-Za-z0-9]{48}",
    "npm-token": r"npm_[A-Za-z0-9]{36}",
    "pypi-token": r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,250}",
    "rubygems-token": r"rubygems_[a-f0-9]{48}",
    "docker-token": r"dckr_pat_[A-Za-z0-9_-]{27}",
    "sendgrid-key": r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "mailchimp-key": r"[0-9a-f]{32}-us[0-9]{1,2}",
    "mailgun-key": r"key-[0-9a-f]{32}",
    "twilio-key": r"SK[0-9a-f]{32}",
    "brevo-key": r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    "digitalocean-token": r"do[opr]_v1_[a-f0-9]{64}",
    "shopify-token": r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "square-token": r"sq0(?:atp-[A-Za-z0-9_-]{22}|csp-[A-Za-z0-9_-]{43})",
    "databricks-token": r"dapi[a-f0-9]{32}(?:-[0-9])?",
    "grafana-token": r"glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}",
    "vault-token": r"hv[sb]\.[A-Za-z0-9_-]{24,250}",
    "terraform-token": r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,80}",
    "pulumi-token": r"pul-[a-f0-9]{40}",
    "linear-key": r"lin_api_[A-Za-z0-9]{40}",
    "notion-token": r"ntn_[A-Za-z0-9]{46}|secret_[A-Za-z0-9]{43}",
    "airtable-token": r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    "atlassian-token": r"ATATT3[A-Za-z0-9_=-]{100,250}",
    "figma-token": r"figd_[A-Za-z0-9_-]{40,60}",
    "planetscale-token": r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,64}",
    "supabase-token": r"sbp_[a-f0-9]{40}",
    "new-relic-key": r"NRAK-[A-Z0-9]{27}",
    "postman-key": r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    "age-key": r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}",
    "azure-secret": r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    "alibaba-key": r"LTAI[A-Za-z0-9]{17,21}",
}
"""Kind of a token -> its form, as the service documents it; no look-around, so that both engines read it."""
ANY = re.compile(
    rf"(?P<private_key>{PRIVATE_KEY})|(?<![A-Za-z0-9_])(?:"
    + "|".join(f"(?P<{kind.replace('-', '_')}>{form})" for kind, form in TOKENS.items())
    + r")(?![A-Za-z0-9_])"
)
PREFIXES = (
    "PRIVATE KEY|A[KSBC][ICS]A|gh[pousr]_|github_pat_|gl[a-z]{2,5}-|xox[abeoprs]-|xapp-|hooks\\.slack|api/webhooks|:AA|AIza|GOCSPX"
    "|ya29|k_live_|whsec_|sk-|hf_|gsk_|r8_|pplx-|npm_|pypi-|rubygems_|dckr_|SG\\.|-us[0-9]|key-|SK[0-9a-f]{4}|xkeysib|do[opr]_v1"
    "|shp[acps]|sq0|dapi|glsa_|hv[sb]\\.|atlasv1|pul-|lin_api|ntn_|secret_|\\.[a-f0-9]{64}|ATATT3|figd_|pscale_|sbp_|NRAK|PMAK"
    "|AGE-SEC|Q~|LTAI|[MNO][A-Za-z0-9_-]{23,25}\\.[A-Za-z0-9_-]{6}\\."
)
"""What each form above begins with or holds."""
COARSE = (r"[_\-.~/:][A-Za-z0-9_\-]{16}", "PRIVATE KEY|A[KS]IA|A[BC][IC]A|LTAI|dapi|AIza|SK[0-9a-f]{2}|-us[0-9]")
"""What every form above has: sixteen characters after a mark, or a prefix that is rare in prose."""
HEADER = "-----BEGIN PRIVATE KEY-----\n1234"
LESSON = re.compile(r"-----\s{0,4}[^-]{0,400}?(?i:\binsert\b|\byour\b|\bpaste|\bkey here|\.\.\.|<)[^-]{0,400}-----")
"""A key whose body says what should stand there."""
SLUG = re.compile(r"^sk-[a-z0-9]+(?:[-_][a-z0-9]+)*$")
"""Words with hyphens between them, which no key is made of."""


class SecretKey(SensitiveRule):
    """A key or token that opens something.

    ## What it does
    Reports private keys and the tokens of some fifty services by their fixed prefixes and lengths, in turns, tool calls
    and metadata. The value is shown nowhere: messages, excerpts and evidence carry its kind and a short digest, which
    the action `redact` also writes into the row. Documented placeholders (AWS's AKIA...EXAMPLE, runs of one character,
    counting rows) and Stripe's test keys are not reported.

    ## Why
    A model gives away what it was trained on, and a key in training data must be taken as published.

    ## Known problems
    A token without a fixed form is left to SEC554, which needs a name before it. Whether a key still works is not asked:
    nothing is sent anywhere.

    ## Source
    The token formats that the services document for secret scanning.
    """

    code: ClassVar[str] = "SEC551"
    name: ClassVar[str] = "secret-key"
    severity: ClassVar[Severity] = Severity.ERROR
    takes_long: ClassVar[bool] = True
    help: ClassVar[str] = "withdraw the key where it was issued, then redact it (step `secret`)"
    coarse: ClassVar[tuple[str, ...]] = COARSE
    narrow: ClassVar[tuple[str, ...]] = (escapable(PREFIXES),)
    candidate: ClassVar[tuple[str, ...]] = ("|".join(["PRIVATE KEY", *map(escapable, TOKENS.values())]),)
    noun: ClassVar[tuple[str, str]] = ("a secret", "secrets")
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("AKIA" + "Q3ZJ7TRWXP5MLK2D", "ok"),
        Example.chat(r"use ghp\_" + "b8Kd02LmQz7Rt5Yw1Bv9Nc3Xe6Uh4Jf0Gs2P", "ok"),
        Example.chat("use ghp_" + "a8Kd02LmQz7Rt5Yw1Bv9Nc3Xe6Uh4Jf0Gs2P", "ok"),
        Example.chat("-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow\n-----END RSA PRIVATE" + " KEY-----", "ok"),
        Example.chat(
            "glpat-" + "x8Kd02LmQz7Rt5Yw1Bv9",
            "SG." + "a8Kd02LmQz7Rt5Yw1Bv9Nc.3Xe6Uh4Jf0Gs2Pa8Kd02LmQz7Rt5Yw1Bv9Nc3Xe6UhQ",
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("AKIAIOSFODNN7EXAMPLE", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        Example.chat("sk-your-key-goes-here", "the prefix is AKIA, then sixteen letters"),
        Example.chat("task-list-of-the-week-and-everything-in-it-for-everyone", "ok"),
        Example.chat("sk-test-of-the-week-and-everything-in-it-for-everyone", "sk_test_" + "4eC39HqLyjWDarjtT1zdp7dc"),
    )

    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every key and token of the text."""
        for match in ANY.finditer(text):
            kind = str(match.lastgroup).replace("_", "-")
            if kind == "private-key":
                real = not strict or (len(match[0]) > len(HEADER) and not LESSON.search(match[0]))
            else:
                real = not (stands_for_a_key(match[0]) or SLUG.match(match[0]))
            if real:
                yield Value(match.start(), match.end(), kind, match[0])
