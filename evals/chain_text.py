"""A chain and its verification as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

from evals.chain import Link, Node, Verification, shown
from schemas.base import file_digest
from schemas.manifest import InputRef, Manifest
from schemas.terminal import printable
from schemas.verdict import Verdict

DIGEST_SHOWN = 16
"""Hex digits of a digest in text; JSON has all 64."""


def chain_text(root: Node) -> str:
    """The chain as a tree: stages with counts, verdicts and notes, and the files they started from."""
    lines: list[str] = []
    _tree(root, None, "", "", lines, set())
    lines.append("")
    lines.append(f"Files were not hashed; `assay verify {shown(root.folder)}` does.")
    return "\n".join(printable(line) for line in lines)


def _tree(node: Node, ref: InputRef | None, lead: str, below: str, lines: list[str], seen: set[str]) -> None:
    role = f"{ref.role}: " if ref else ""
    if node.manifest is None:
        state = f"cannot be read: {node.error.problems[0].what}" if node.error else _file_state(node, ref)
        lines.append(f"{lead}{role}{shown(node.path)}  {state}")
        return
    name = f"{lead}{role}{node.manifest.stage}  {shown(node.folder)}"
    if ref and ref.content != node.manifest.content_digest:
        name += "  (not the one that was used)"
    if str(node.path) in seen:
        lines.append(f"{name}  (as above)")
        return
    seen.add(str(node.path))
    lines.append(name)
    rest = below + ("│  " if node.links else "   ")
    lines.extend(f"{rest}{detail}" for detail in _details(node, node.manifest))
    for position, link in enumerate(node.links):
        last = position == len(node.links) - 1
        _tree(link.node, link.ref, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), lines, seen)


def _file_state(node: Node, ref: InputRef | None) -> str:
    digest = f"sha256 {ref.sha256[:DIGEST_SHOWN]}" if ref else ""
    return digest if node.path.is_file() else f"{digest}  missing"


def _details(node: Node, manifest: Manifest) -> list[str]:
    details = [f"content {manifest.content_digest[:DIGEST_SHOWN]}  made {manifest.provenance.started}"]
    verdict = read_verdict(node)
    if verdict:
        details.append(f"{verdict.outcome.value.upper()}: {verdict.summary}")
    if manifest.counts:
        details.append("  ".join(f"{name} {count:,}" for name, count in manifest.counts.items()))
    details.extend(f"note: {note}" for note in manifest.provenance.notes)
    return details


def read_verdict(node: Node) -> Verdict | None:
    """The verdict in a gate's folder; None for other stages and for a file that is no verdict."""
    if node.manifest is None or not any(entry.path == "verdict.json" for entry in node.manifest.files):
        return None
    try:
        return Verdict.model_validate_json((node.folder / "verdict.json").read_bytes())
    except (OSError, ValueError):
        return None


def chain_json(root: Node) -> str:
    """The chain as one JSON object: every stage once, inputs by path and digest."""
    return _dump(
        {
            "schema": "assay/chain/1",
            "manifest": str(root.path),
            "nodes": [_node_json(node) for node in root.walk()],
        }
    )


def _node_json(node: Node) -> dict[str, Any]:
    if node.manifest is None:
        return {"path": str(node.path), "error": node.error.problems[0].what if node.error else None}
    manifest = node.manifest
    verdict = read_verdict(node)
    return {
        "path": str(node.path),
        "stage": manifest.stage,
        "name": manifest.name,
        "fingerprint": manifest.fingerprint,
        "content": manifest.content_digest,
        "counts": manifest.counts,
        "notes": list(manifest.provenance.notes),
        "outcome": verdict.outcome.value if verdict else None,
        "inputs": [_link_json(link) for link in node.links],
    }


def _link_json(link: Link) -> dict[str, Any]:
    return {"role": link.ref.role, "path": str(link.node.path), "sha256": link.ref.sha256, "content": link.ref.content}


def verification_text(verification: Verification) -> str:
    """What verifying found: one line for an unchanged chain, three for each difference."""
    done = (
        f"{verification.stages} {'stage' if verification.stages == 1 else 'stages'}, {verification.files:,} files, "
        f"{verification.bytes:,} bytes re-hashed"
    )
    lines = [f"note: {note}" for note in verification.notes]
    if not verification.differences:
        root = verification.root
        lines.append(f"unchanged: {done}")
        lines.append(f"sha256 of {shown(root.path)}: {file_digest(root.path)}")
    for difference in verification.differences:
        lines.append(f"{difference.path}: {difference.what}")
        lines.extend(
            f"  {label:<9} {text}"
            for label, text in (("expected", difference.expected), ("found", difference.found))
            if text
        )
    if verification.differences:
        count = len(verification.differences)
        lines.append(f"changed: {count} {'difference' if count == 1 else 'differences'}; {done}")
    return "\n".join(printable(line) for line in lines)


def verification_json(verification: Verification) -> str:
    """What verifying found as one JSON object."""
    return _dump(
        {
            "schema": "assay/verification/1",
            "manifest": str(verification.root.path),
            "outcome": "changed" if verification.differences else "unchanged",
            "stages": verification.stages,
            "files": verification.files,
            "bytes": verification.bytes,
            "differences": [vars(difference) for difference in verification.differences],
            "notes": verification.notes,
        }
    )


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True)
