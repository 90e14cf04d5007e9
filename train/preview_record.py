"""The preview as plain data, for programs."""

from __future__ import annotations

import json
from typing import Any

from schemas.terminal import printable_json
from train.preview import Preview, ShownRow
from train.rows import SplitRow

SCHEMA = "assay/preview/1"


def render(preview: Preview) -> str:
    """One JSON object, on one line."""
    return printable_json(json.dumps(as_record(preview), ensure_ascii=False)) + "\n"


def as_record(preview: Preview) -> dict[str, Any]:
    """The preview as plain data; nothing is left out of the rows that are shown."""
    ledger, trained = preview.ledger, preview.ledger.trained
    return {
        "schema": SCHEMA,
        "source": preview.source,
        "split": preview.split or None,
        "method": preview.method,
        "base_model": preview.base_model,
        "max_length": preview.max_length,
        "rows": [_row_record(shown) for shown in preview.rows],
        "rows_matching": preview.matching,
        "ledger": {
            "rows_in": ledger.rows_in,
            "rows_unreadable": preview.unreadable,
            "rows_not_chosen": ledger.rows_not_chosen,
            "rows_refused": ledger.rows_refused,
            "rows_without_supervised_token": ledger.rows_without_supervised_token,
            "refused": ledger.refused,
            "rows_trained": trained.rows,
            "examples": trained.examples,
            "tokens": trained.tokens,
            "supervised_tokens": trained.supervised_tokens,
            "truncated_tokens": trained.truncated_tokens,
            "truncated_rows": trained.truncated_rows,
            "rows_with_end_of_turn": trained.rows_with_end_of_turn,
            "sequence_tokens": {
                name: ledger.quantile(share) for name, share in (("min", 0), ("p50", 0.5), ("p95", 0.95), ("max", 1))
            },
            "longest": [{**_place(row), "tokens": count} for row, count in ledger.longest],
        },
    }


def _place(row: SplitRow) -> dict[str, Any]:
    return {"path": row.path, "line": row.line, "row_id": row.row_id}


def _row_record(shown: ShownRow) -> dict[str, Any]:
    record = shown.row.record
    answers: dict[str, Any] = {name: record[name] for name in ("label", "reference") if name in record}
    made: dict[str, Any] = {**_place(shown.row), "chosen": shown.chosen, **answers}
    if shown.refused is not None:
        problem = shown.refused.problems[0]
        why = {"reason": shown.refused.reason, "what": problem.what, "found": problem.found, "help": problem.help}
        return made | {"refused": why}
    return made | {
        "end_of_turn_supervised": shown.end_of_turn_supervised,
        "sequences": [
            {
                "name": sequence.name or None,
                "input_ids": sequence.tokens.input_ids,
                "supervised": sequence.tokens.supervised,
                "truncated_tokens": sequence.tokens.truncated_tokens,
                "cuts": [{"before": place, "tokens": count} for place, count in sequence.tokens.cuts],
                "texts": [
                    {"first": text.first, "tokens": len(text.ids), "text": text.text, "special": text.special}
                    for text in sequence.texts
                ],
            }
            for sequence in shown.sequences
        ],
    }
