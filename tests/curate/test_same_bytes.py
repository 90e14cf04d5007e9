"""The bytes of a dataset do not depend on how the work is cut: chunks, threads, tasks of the search."""

import hashlib
import os
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from curate import spill
from curate.configfile import Project
from curate.dedup import exact_join, pairs, search
from curate.pipeline import NoRows, publish, run_pipeline
from curate.readers.builder import ROWS_PER_CHUNK
from curate.rules.near_duplicate import EDITED, STORY
from tests.curate.made_rows import chat, distinct_rows, make_project

COMMON = [chat(f"{STORY} Chapter {n}.", "fiction") for n in range(6)]
WORDS = STORY.split()


def edited(at: int, word: str) -> dict[str, Any]:
    """The story with one word changed: near-duplicates of each other in several ways, so that order could matter."""
    words = list(WORDS)
    words[at % len(words)] = word
    return chat(" ".join(words), "fiction")


ROW = st.one_of(
    st.builds(edited, st.integers(0, 200), st.sampled_from(["lamp", "stone", "Lamp", "lamp  "])),
    st.sampled_from([*COMMON, chat(EDITED, "fiction"), chat(STORY, "another answer"), *distinct_rows(8)]),
    st.builds(chat, st.sampled_from(["a b c", "mail kim@kde.org", ""]), st.sampled_from(["x", "y"])),
    st.sampled_from([b"{", b"[1]", b"\xff", {"text": "t"}, {"other": 1}]),
)
RULES = {"template-variant": {"action": "drop"}, "conflict": {"action": "drop"}}
STEPS = ["schema", "duplicate", "conflict", "pii"]


def bytes_of(project: Project, folder: Path, chunk: int) -> dict[str, str] | str:
    folder.mkdir()
    try:
        publish(run_pipeline(project, rows_per_chunk=chunk), project, folder)
    except NoRows as error:
        return str(error)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@settings(max_examples=20)
@given(
    rows=st.lists(ROW, min_size=1, max_size=25),
    chunk=st.integers(1, 30),
    workers=st.integers(1, 5),
    task=st.integers(1, 40),
    keep=st.booleans(),
    part=st.none() | st.integers(1, 3000),
)
def test_chunks_threads_tasks_and_text_on_disk_change_no_byte(rows, chunk, workers, task, keep, part, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    listed = []
    project = make_project(folder, rows, curate={"steps": STEPS, "rules": RULES})
    if keep:
        listed = sorted(set(run_drops(project)) - {None})[:2]
    project = make_project(folder, rows, curate={"steps": STEPS, "rules": RULES, "keep": listed})
    whole = bytes_of(project, folder / "whole", ROWS_PER_CHUNK)
    with (
        mock.patch.object(os, "cpu_count", return_value=workers),
        mock.patch.object(pairs, "_VERIFY_PAIRS", task),
        mock.patch.object(pairs, "_SKETCH_BYTES", 50 * task),
        mock.patch.object(search, "PART_ROWS", task),
        mock.patch.object(exact_join, "_INDEX_BYTES", 300 * task),
        mock.patch.object(spill, "SPILL_BYTES", spill.SPILL_BYTES if part is None else 0),
        mock.patch.object(spill, "PART_BYTES", part or spill.PART_BYTES),
    ):
        assert bytes_of(project, folder / "pieces", chunk) == whole


def run_drops(project: Project) -> list[Any]:
    try:
        return run_pipeline(project).ledger.drops["row_id"].to_list()
    except NoRows:
        return []
