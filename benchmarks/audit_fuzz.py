"""Mutated lines through the whole audit: every line is a row or a finding, and nothing crashes or hangs.

    python benchmarks/audit_fuzz.py [--lines 1000000] [--seed 0] [--per-file 4000]

Rows of every shape are mutated, by bytes (flips, deletions, repeats, splices of two rows, cuts, NULs, escapes, UTF-16,
quotes, brackets) and by value (types swapped, keys removed or renamed, text made hostile), and audited in process with
all rules, file by file. After each file these must hold, or the seed of the file is printed and the run fails:

- each line that is not blank lies in the bytes of a row, or has a finding;
- each row that could not be read has a finding, and rows = readable rows + broken rows;
- spans of rows do not overlap, and a readable row's span is JSON;
- every output format can be written, and shows no control character and no lone surrogate.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from curate.audit import Audit, audit_corpus
from curate.outputs import FORMATS, render
from curate.readers import source_from_bytes
from curate.rules.catalogue import select_rules

RENDER_EVERY = 25
WORDS = "where is the red house on hill 42 and who lives there says ann@kde.org maybe +49 30 1234567".split()
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "hill"}'}}
HOSTILE = (
    "\x1b[31m", "<script>alert(1)</script>", "=cmd|'/c calc'!A1", "{0.__class__}", "%s%n", "\u202e", "\ufeff", "\u2028",
    "\x00", "\ufffd", "\U000e0041", "a" * 3000, "::error::x", "]]>", "' OR 1=1", "\U0001d56c", "é" * 9, "data:,AA",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**18, "", " ", "x", [], {}, [None], [[]], {"role": "user"}, ["a", 1], {"a": {"b": []}},
    "assistant", "user", [{"type": "text", "text": "t"}], [{"type": "image_url"}],
)  # fmt: skip
FRAGMENTS = (
    b"\x00", b"\x1b[2J", b"\\u0000", b"\\ud800", b"\\", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"NaN",
    b"-Infinity", b"1e999", b"9" * 40, b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\r", b"\t", b"//", b"None", b"a\x00b",
    b"\xe2\x80\xa8",
)  # fmt: skip


def text(rng: random.Random) -> str:
    """A few words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))


def valid_row(rng: random.Random) -> dict[str, Any]:
    """A valid row of a shape drawn at random."""
    user, answer = {"role": "user", "content": text(rng)}, {"role": "assistant", "content": text(rng)}
    caller = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    called = [caller, answer | {"role": "tool", "tool_call_id": "c1"}]
    said = [{"from": "human", "value": text(rng)}, {"from": "gpt", "value": text(rng)}]
    shapes: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {"messages": [user, answer]},
        lambda: {"messages": [{"role": "system", "content": text(rng)}, user, answer], "tools": [], "id": rng.random()},
        lambda: {"messages": [user, *called, answer]},
        lambda: {"messages": [user, answer | {"weight": 0}, user, answer | {"refusal": None, "name": "bot"}]},
        lambda: {"conversations": said, "system": text(rng)},
        lambda: {"instruction": text(rng), "input": text(rng), "output": text(rng), "history": [["a", text(rng)]]},
        lambda: {"prompt": text(rng), "completion": text(rng), "metadata": {"source": rng.choice(WORDS)}},
        lambda: {"prompt": [user], "completion": [answer]},
        lambda: {"prompt": text(rng), "chosen": text(rng), "rejected": text(rng)},
        lambda: {"chosen": [user, answer], "rejected": [user, {"role": "assistant", "content": text(rng)}]},
        lambda: {"input": {"messages": [user]}, "preferred_output": [answer], "non_preferred_output": [answer]},
        lambda: {"prompt": text(rng), "completion": text(rng), "label": rng.random() < 0.5},
        lambda: {"prompt": [user], "ground_truth": text(rng)},
        lambda: {"custom_id": "1", "url": "/v1", "body": {"model": "m", "messages": [user, answer]}},
        lambda: {"text": text(rng), "label": rng.choice(WORDS)},
    )  # fmt: skip
    return rng.choice(shapes)()


def holders(value: Any) -> list[Any]:
    """Every list and object in a value."""
    found = [value]
    for item in found:
        inside = item.values() if isinstance(item, dict) else item
        found += [each for each in inside if isinstance(each, dict | list)]
    return found


def mutated_value(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """A row with one value swapped, removed, renamed, repeated, or made hostile."""
    row = orjson.loads(orjson.dumps(row))
    filled = [each for each in holders(row) if each]
    if not filled:
        return row
    holder = rng.choice(filled)
    place: Any = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    match rng.randrange(5):
        case 0:
            holder[place] = rng.choice(VALUES)
        case 1:
            del holder[place]
        case 2 if isinstance(holder, dict):
            holder[rng.choice((*HOSTILE, "messages", "role", "text", "tool_calls", ""))] = holder.pop(place)
        case 3 if isinstance(holder, list):
            holder.insert(place, holder[place])
        case _:
            kept = holder[place] if isinstance(holder[place], str) else ""
            holder[place] = kept[: len(kept) // 2] + rng.choice(HOSTILE) + kept[len(kept) // 2 :]
    return row


def mutated_bytes(rng: random.Random, line: bytes, other: bytes) -> bytes:
    """A line with a fault in its bytes."""
    at, to = sorted((rng.randint(0, len(line)), rng.randint(0, len(line))))
    match rng.randrange(10):
        case 0:
            line = line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]
        case 1:
            line = line[:at] + line[min(to, at + 9) :]
        case 2:
            line = line[:to] + line[at:]
        case 3:
            line = line[:at] + other[rng.randint(0, len(other)) :]
        case 4:
            line = line[:at]
        case 5:
            line = line[:at] + line[at:to].decode("utf-8", "replace").encode("utf-16-le") + line[to:]
        case 6:
            line = line + rng.choice((b"", b" ", b",", b"\t")) + other
        case 7:
            line = orjson.dumps(orjson.loads(other), option=orjson.OPT_INDENT_2)
        case _:
            line = line[:at] + rng.choice(FRAGMENTS) + line[at:]
    return line


def mutated_line(rng: random.Random) -> bytes:
    """A line of a mutated file; it may hold line feeds, and then is several."""
    row = valid_row(rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        row = mutated_value(rng, row)
    line = orjson.dumps(row)
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
        line = mutated_bytes(rng, line, orjson.dumps(valid_row(rng)))
    return line


def check(audit: Audit, data: bytes) -> Counter[str]:
    """Counts of what became of the lines of a file.

    Raises:
        AssertionError: a line was lost, or a row is not what it says.
    """
    corpus = audit.corpus
    found = {(finding.line, finding.row) for finding in audit.findings}
    lines_found, rows_found = {line for line, _ in found}, {row for _, row in found}
    covered = bytearray(len(data) + 1)
    position = 0
    for index, row, start, stop, row_id in corpus.rows.select("index", "row", "start", "stop", "row_id").iter_rows():
        assert position <= start <= stop <= len(data), f"row {row}: its span {start}-{stop} is behind {position}"
        covered[start:stop] = b"\x01" * (stop - start)
        position = stop
        if row_id is None:
            assert row in rows_found, f"row {row} could not be read, and no finding says so"
        else:
            assert corpus.record(index) is not None
    start = 0
    blank = rows = broken = 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            blank += 1
        else:
            assert any(covered[start : start + len(line)]) or number in lines_found, f"line {number} was lost"
        start += len(line) + 1
    broken = corpus.rows["row_id"].null_count()
    rows = corpus.height
    return Counter(lines=number, blank=blank, rows=rows, broken=broken, findings=len(audit.findings))


def check_outputs(audit: Audit) -> None:
    """Every format can be written, and none carries what a terminal or a parser would act on."""
    for format in FORMATS:
        shown = render(audit, format, 20, True)
        shown.encode("utf-8")
        wrong = {char for char in shown if not char.isprintable() and char not in "\n\t"}
        assert not wrong, f"{format} shows {wrong!r}"
        assert "<script>alert" not in shown or format in ("json", "text", "sarif", "github"), f"{format} opens a tag"


def fuzz(lines: int, seed: int, per_file: int, say: Callable[[str], None]) -> Counter[str]:
    """Audit so many mutated lines; gives the counts over all files."""
    rules = select_rules([])
    total: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    began, file = time.perf_counter(), 0
    while total["lines"] < lines:
        rng = random.Random(f"{seed}-{file}")
        data = b"\n".join(mutated_line(rng) for _ in range(min(per_file, lines - total["lines"])))
        try:
            started = time.perf_counter()
            audit = audit_corpus(source_from_bytes(data), rules)
            total += check(audit, data)
            if file % RENDER_EVERY == 0:
                check_outputs(audit)
        except BaseException:
            say(f"failed: seed {seed}, file {file}, {per_file} lines a file")
            raise
        codes.update(audit.counts)
        total["slowest_ms"] = max(total["slowest_ms"], round(1000 * (time.perf_counter() - started)))
        file += 1
        if file % RENDER_EVERY == 0:
            say(f"{total['lines']:,} lines, {total['lines'] / (time.perf_counter() - began):,.0f} lines/s")
    say(", ".join(f"{code} {count:,}" for code, count in sorted(codes.items())))
    return total


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Mutated lines through the whole audit.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-file", type=int, default=4000)
    given = parser.parse_args()
    began = time.perf_counter()
    total = fuzz(given.lines, given.seed, given.per_file, lambda line: print(line, flush=True))
    spent = time.perf_counter() - began
    print(f"seed {given.seed}: {dict(total)}")
    print(f"{total['lines']:,} lines in {spent:,.0f} s: {total['lines'] / spent:,.0f} lines/s; no crash, no lost line")


if __name__ == "__main__":
    main()
