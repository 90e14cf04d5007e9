"""`assay selftest data`: faults planted in a copy of the user's rows, and how many the audit's rules find."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

from curate.audit import audit_corpus
from curate.readers import read_corpus
from curate.rules.catalogue import select_rules
from evals.selftest import pages
from evals.selftest.data_rates import DataRates, EditRate, KindRates, data_rates
from evals.selftest.plant import Plant, copied, plants
from evals.selftest.rates import Rate
from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.finding import Finding
from schemas.manifest import input_file
from schemas.progress import Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage

STAGE = "selftest-data"
RESULT = "selftest.json"
PLANTED, QUICK_PLANTED = 60, 30
"""Rows of each edit: with no miss in 60, the lower end of the interval is above 0.95."""
MAX_ROWS = 20_000
"""Of more, a seeded sample is copied."""
SPARE = 3
"""Rows that are tried as eval items for each that is needed."""
TEST_SHARE = 10
"""Where a split is leaked into, one row in so many is a test row."""


@dataclass(frozen=True)
class UserRows:
    """Readable records of the user's files, and what is needed to read a copy of them."""

    records: list[Any]
    unreadable: int
    columns: Mapping[str, str]
    kind: Any


@dataclass(frozen=True)
class Planted:
    """A copy with one kind of fault in it."""

    lines: list[bytes]
    origin: list[int | None]
    """Of each line, the record that it is or was made of; null for a row that was added."""
    planted: dict[int, tuple[str, int]]
    """Line -> (edit, record that it was made of)."""
    test: frozenset[int]
    """Lines of the test split, where there are splits."""
    items: list[bytes]
    """Eval items, where there are any."""


def selftest_data(
    paths: Sequence[Path],
    runs: Path,
    names: Sequence[str],
    progress: Progress,
    *,
    count: int = PLANTED,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    kind: Any = None,
) -> Finished:
    """Plant faults in copies of the user's rows, audit the copies, and publish what was found. Nothing else is changed.

    Args:
        paths: the user's files.
        runs: folder of all results.
        names: of the kinds; none takes all.
        progress: where it is shown.
        count: rows that are planted of each edit.
        seed: of the choice of rows and of what is planted.
        columns: our field name -> the files' column.
        kind: of the records; null detects it.

    Raises:
        UserError: there is no such kind, or a file cannot be read, or no row can.
    """
    chosen = plants(names)
    stage = Stage(
        stage=STAGE,
        name="data",
        config={
            "kinds": [plant.name for plant in chosen],
            "count": count,
            "seed": seed,
            "columns": dict(columns or {}),
        },
        config_given={},
        inputs=tuple(input_file("source", path, inputs_from(runs, STAGE)) for path in paths),
        code=code_digest(["schemas", "curate", "evals"]),
        root=runs,
        packages=("numpy", "polars", "scipy"),
        seeds={"plant": seed},
    )

    def fill(folder: Path) -> dict[str, int]:
        rows = read_rows(paths, seed, columns or {}, kind)
        kinds = []
        for done, plant in enumerate(chosen):
            progress.begin(f"planting {plant.name}", "kinds")
            progress.advance(done, len(chosen))
            kinds.append(try_plant(plant, rows, count, seed))
        rates = data_rates(kinds, len(rows.records), rows.unreadable)
        write_atomic(folder / RESULT, rates.model_dump_json(indent=1, by_alias=True).encode("utf-8") + b"\n")
        for form, write in pages.DATA_FORMS.items():
            write_atomic(folder / f"selftest.{form}", write(rates).encode("utf-8"))
        return {"rows": len(rows.records), "planted": sum(one.found.trials for one in kinds)}

    return run_stage(stage, fill)


def read_rows(paths: Sequence[Path], seed: int, columns: Mapping[str, str], kind: Any) -> UserRows:
    """The records of the user's files, or a seeded sample of very many.

    Raises:
        UserError: a file cannot be read, or no row can.
    """
    corpus = read_corpus(paths, kind=kind, columns=dict(columns))
    readable = [index for index, name in corpus.rows.select("index", "row_id").iter_rows() if name is not None]
    if not readable:
        raise UserError("no row can be read", where=", ".join(map(str, paths))[:500], help="run `assay audit` on it")
    if len(readable) > MAX_ROWS:
        readable = sorted(Random(f"sample {seed}").sample(readable, MAX_ROWS))
    records = [corpus.record(index) for index in readable]
    return UserRows(records, corpus.height - len(readable), columns, kind)


def try_plant(plant: Plant, rows: UserRows, count: int, seed: int) -> KindRates:
    """Plant one kind in a copy, audit the copy and an untouched one, and compare.

    Args:
        plant: the kind.
        rows: the user's.
        count: rows of each edit.
        seed: of the choice.
    """
    folder = Path(tempfile.mkdtemp(prefix="assay-selftest-"))
    try:
        whole = _untouched(plant, rows)
        untouched = _found(plant, whole, rows, folder / "untouched", plant.rules)
        tied = _tied(plant, whole, rows, folder, count, seed)
        made = plant_rows(plant, rows, untouched | tied, count, seed)
        found = _found(plant, made, rows, folder / "planted", plant.rules)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    caught = {line for line, (_, origin) in made.planted.items() if _is_caught(plant, made, found, line, origin)}
    sources = {origin for _, origin in made.planted.values()}
    alarms = [
        line
        for line in found
        if line not in made.planted and made.origin[line] not in sources and made.origin[line] not in untouched
    ]
    others = len(made.lines) - len(made.planted)
    edits = {edit: [line for line, (name, _) in made.planted.items() if name == edit] for edit in plant.edits}
    return KindRates(
        name=plant.name,
        what=plant.what,
        rules=plant.rules,
        found=Rate.of(len(caught), len(made.planted)),
        edits=tuple(
            EditRate(name=edit, found=Rate.of(len(caught & set(lines)), len(lines))) for edit, lines in edits.items()
        ),
        false_alarms=Rate.of(len(alarms), others),
        precision=Rate.of(len(caught), len(caught) + len(alarms)),
        untouched=len(untouched),
    )


def _tied(plant: Plant, whole: Planted, rows: UserRows, folder: Path, count: int, seed: int) -> set[int]:
    """Records to leave as they are, because what is planted in one of them could be said of others as well."""
    if plant.place != "evals":
        return _found(plant, whole, rows, folder / "apart", plant.apart, twins=True) if plant.apart else set()
    # Items must be asked of no other row: some rows are tried as items against all the others.
    size = min(len(whole.lines) // 2, SPARE * count * len(plant.edits))
    pool = sorted(Random(f"items {seed}").sample(range(len(whole.lines)), size))
    others = sorted(set(range(len(whole.lines))) - set(pool))
    apart = Planted([whole.lines[k] for k in others], [*others], {}, frozenset(), [whole.lines[k] for k in pool])
    told = _findings(plant, apart, rows, folder / "apart", plant.rules)
    return set(others) | {pool[item - 1] for finding in told for item in _items(finding)}


def _items(finding: Finding) -> list[int]:
    """Lines of all eval items that a finding names."""
    named = [finding.evidence.get("twin"), *(finding.evidence.get("other_items") or [])]
    return [one["line"] for one in named if one]


def _is_caught(plant: Plant, made: Planted, found: set[int], line: int, origin: int) -> bool:
    """A copy is caught too where the rule reports the row that it was made of, and keeps the copy."""
    if line in found:
        return True
    return plant.place == "beside" and any(made.origin[other] == origin for other in found if other not in made.planted)


def _untouched(plant: Plant, rows: UserRows) -> Planted:
    lines = [orjson.dumps(record) for record in rows.records]
    return Planted(lines, list(range(len(lines))), {}, _test_lines(plant, range(len(lines))), [])


def _test_lines(plant: Plant, origin: Sequence[int]) -> frozenset[int]:
    return frozenset(line for line, record in enumerate(origin) if plant.place == "test" and record % TEST_SHARE == 0)


def plant_rows(plant: Plant, rows: UserRows, untouched: set[int], count: int, seed: int) -> Planted:
    """A copy of the rows with the fault in it.

    Args:
        plant: the kind.
        rows: the user's.
        untouched: records that are not to be made faulty, because of what is found in them as they are.
        count: rows of each edit, or as many as suit.
        seed: of the choice.
    """
    drawn = Random(f"plant {plant.name} {seed}")
    free = [
        k
        for k in range(len(rows.records))
        if k not in untouched and not (plant.place == "test" and k % TEST_SHARE == 0)
    ]
    drawn.shuffle(free)
    share = 1 if plant.place == "evals" else 4  # the rest of the rows shows false alarms; here others do
    most = max(1, len(free) // (share * len(plant.edits)))
    changed: dict[int, tuple[str, bytes]] = {}
    for edit, make in plant.edits.items():
        wanted = min(count, most)
        while wanted and free:
            place = free.pop()
            made = make(copied(rows.records[place]), drawn)
            if made is not None:
                changed[place] = (edit, made if isinstance(made, bytes) else orjson.dumps(made))
                wanted -= 1
    return _laid_out(plant, rows, changed, drawn)


def _laid_out(plant: Plant, rows: UserRows, changed: Mapping[int, tuple[str, bytes]], drawn: Random) -> Planted:
    """The lines of the copy; rows that are added stand anywhere."""
    lines: list[tuple[bytes, int, str]] = []
    items = []
    for place, record in enumerate(rows.records):
        edit, made = changed.get(place, ("", b""))
        if not edit or plant.place in ("beside", "test"):
            lines.append((orjson.dumps(record), place, ""))
        if edit and plant.place == "evals":
            items.append(orjson.dumps(record))
        if edit and plant.place in ("instead", "evals"):
            lines.append((made, place, edit))
    if plant.place in ("beside", "test"):
        for place, (edit, made) in changed.items():
            lines.insert(drawn.randrange(len(lines) + 1), (made, place, edit))
    planted = {line: (edit, place) for line, (_, place, edit) in enumerate(lines) if edit}
    origins: list[int | None] = [None if edit else place for _, place, edit in lines]
    test = _test_lines(plant, [place for _, place, _ in lines])
    if plant.place == "test":
        test = frozenset(line for line in test if line not in planted) | frozenset(planted)
    return Planted([text for text, _, _ in lines], origins, planted, test, items)


def _found(
    plant: Plant, made: Planted, rows: UserRows, folder: Path, names: Sequence[str], *, twins: bool = False
) -> set[int]:
    """Lines of a copy that one of the rules reports, and the rows that these are compared with where `twins` asks."""
    found = _findings(plant, made, rows, folder, names)
    places = [(finding.path, finding.line) for finding in found]
    if twins:
        told = [finding.evidence.get("twin") for finding in found]
        places += [(twin["path"], twin["line"]) for twin in told if twin]
    parts = _parts(plant, made)
    return {parts[path][line - 1] for path, line in places if line is not None}


def _parts(plant: Plant, made: Planted) -> dict[str, list[int]]:
    """File -> the lines of the copy that it holds."""
    if plant.place != "test":
        return {"rows.jsonl": list(range(len(made.lines)))}
    return {
        "train.jsonl": [line for line in range(len(made.lines)) if line not in made.test],
        "test.jsonl": sorted(made.test),
    }


def _findings(plant: Plant, made: Planted, rows: UserRows, folder: Path, names: Sequence[str]) -> tuple[Finding, ...]:
    """What rules report of a copy."""
    folder.mkdir()
    parts = _parts(plant, made)
    for name, lines in parts.items():
        (folder / name).write_bytes(b"".join(made.lines[line] + b"\n" for line in lines))
    evals = [folder / "items.jsonl"] if made.items else []
    for path in evals:
        path.write_bytes(b"".join(item + b"\n" for item in made.items))
    corpus = read_corpus(
        [folder / name for name in parts],
        kind=rows.kind,
        columns=dict(rows.columns),
        evals=evals,
        name=lambda path: path.name,
    )
    audit = audit_corpus(corpus, select_rules(names))
    audit.raise_failure()
    return audit.findings


def read_data_rates(folder: Path) -> DataRates:
    """What a selftest of the data gates found."""
    return DataRates.model_validate_json((folder / RESULT).read_bytes())
