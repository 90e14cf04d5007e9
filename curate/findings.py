"""From what rules say to findings: one for each affected row, masked, with a fingerprint that survives re-ordering."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from curate.rows import Corpus
from curate.rules.base import FileHit, Hit, Rule
from curate.sensitive import masked
from schemas.finding import Finding, finding_fingerprint

MAX_TURNS_NAMED = 50
Rows = frozenset[tuple[str, int | None]]
"""One row or two, each as path and number, in no order."""


def findings_of(rule: Rule, corpus: Corpus, mask: Callable[[str], str]) -> list[Finding]:
    """Run a rule: its findings in the order of the rows, those of files without a row last."""
    hits = one_per_row(rule.find(corpus))
    found = [to_finding(rule, hit, corpus, mask) for hit in hits]
    return found + [_file_finding(rule, hit, corpus, mask) for hit in rule.find_in_files(corpus)]


def without_echoes(findings: list[Finding], rules: Iterable[Rule]) -> list[Finding]:
    """The findings without those that only repeat what a stricter rule says of the same row, or of the same two rows.

    Rules choose for themselves which of two rows stays: without this, each of two rows could be a copy of the other.
    """
    stricter = {rule.code: rule.echoes for rule in rules if rule.echoes}
    said = {code for codes in stricter.values() for code in codes}
    about = {(finding.code, rows) for finding in findings if finding.code in said for rows in _row_and_pair(finding)}
    return [
        finding
        for finding in findings
        if finding.code not in stricter
        or not any((code, rows) in about for code in stricter[finding.code] for rows in _row_and_pair(finding))
    ]


def _row_and_pair(finding: Finding) -> tuple[Rows, Rows]:
    row, twin = (finding.path, finding.row), finding.evidence.get("twin")
    other = (twin["path"], twin["row"]) if isinstance(twin, dict) else row
    return frozenset([row]), frozenset([row, other])


def one_per_row(hits: Iterable[Hit]) -> list[Hit]:
    """The first hit of each row, in the order of the rows; further turns of the row go into its evidence."""
    by_row: dict[int, list[Hit]] = {}
    for hit in hits:
        by_row.setdefault(hit.index, []).append(hit)
    merged = []
    for index in sorted(by_row):
        first, *more = by_row[index]
        if more:
            turns = [hit.turn for hit in by_row[index]]
            evidence = first.evidence | {"turns": turns[:MAX_TURNS_NAMED], "hits": len(turns)}
            detail = "\n".join(hit.detail for hit in by_row[index])
            levels = [hit.severity for hit in by_row[index] if hit.severity is not None]
            first = Hit(
                index,
                f"{first.message} (and {len(more)} more in this row)",
                first.turn,
                evidence,
                detail=detail,
                twin=first.twin,
                measure=first.measure,
                similarity=first.similarity,
                severity=min(levels, key=lambda level: level.rank, default=None),
            )
        merged.append(first)
    return merged


def to_finding(rule: Rule, hit: Hit, corpus: Corpus, mask: Callable[[str], str]) -> Finding:
    """A hit with its place; the rule's configured level wins over what the hit itself says."""
    place = corpus.place(hit.index)
    evidence = masked(hit.evidence, mask)
    if hit.twin is not None:
        evidence |= {"twin": twin_of(corpus, hit.twin), "measure": hit.measure, "similarity": hit.similarity}
    # A row that could not be parsed has no id: its bytes stand for it.
    detail = hit.detail if place.row_id else f"{hit.detail}\n{corpus.raw(hit.index)[:4096]!r}"
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=rule.level or hit.severity or rule.severity,
        path=corpus.sources[place.source].path,
        line=place.line,
        row=place.row,
        row_id=place.row_id,
        turn=hit.turn,
        message=mask(hit.message),
        evidence=evidence,
        fingerprint=finding_fingerprint(rule.code, place.row_id, hit.turn, detail),
    )


def twin_of(corpus: Corpus, index: int) -> dict[str, Any]:
    """The representative of a pair, as evidence names it."""
    place = corpus.place(index)
    return {
        "path": corpus.sources[place.source].path,
        "line": place.line,
        "row": place.row,
        "row_id": place.row_id,
    }


def _file_finding(rule: Rule, hit: FileHit, corpus: Corpus, mask: Callable[[str], str]) -> Finding:
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=rule.effective_severity,
        path=corpus.sources[hit.source].path,
        line=hit.line,
        row_id=None,
        message=mask(hit.message),
        evidence=masked(hit.evidence, mask),
        fingerprint=finding_fingerprint(rule.code, None, None, hit.detail or hit.message),
    )
