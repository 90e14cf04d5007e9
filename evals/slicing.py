"""The slices that items lie in, by fields of their own or of their metadata."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from evals.documents import Document
from schemas.errors import UserError

SHOWN = 20


def slices_of(document: Document, fields: Sequence[str]) -> str:
    """The slices that an item lies in, as JSON: field -> value as text, for the fields that it has.

    Args:
        document: the item; fields are its own, or those of its `metadata`.
        fields: by which tasks are sliced.
    """
    known = _known(document)
    return json.dumps({name: str(known[name]) for name in fields if name in known}, ensure_ascii=False)


def require_fields(documents: Iterable[Document], fields: Sequence[str], where: str = "evals.slice_by") -> None:
    """Refuse a field that no item of any task has, so that a misspelt one does not pass for one without slices.

    Args:
        documents: the items.
        fields: that somebody names.
        where: in the config.

    Raises:
        UserError: see there.
    """
    if not fields:
        return
    seen = {name for document in documents for name in _known(document)}
    for name in fields:
        if name not in seen:
            close = difflib.get_close_matches(name, sorted(seen), n=1)
            raise UserError(
                f"no item has the field {name!r}",
                where=where,
                found=f"fields {', '.join(sorted(seen)[:SHOWN])}",
                expected="a field of the items, or of the rows' metadata",
                help=f"did you mean {close[0]!r}?" if close else "",
            )


def _known(document: Document) -> dict[str, Any]:
    metadata = document.get("metadata")
    found = (metadata if isinstance(metadata, dict) else {}) | document
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}
