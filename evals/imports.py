"""`assay import`: what was made elsewhere, wrapped in a manifest, so that the gates can judge it all the same.

The folders have the layout of `assay curate` and `assay train`; their provenance says "unverified", because nobody here
saw how the rows were chosen or how the adapter was trained.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.model_files import base_model_inputs
from curate.pipeline import UNREADABLE, Curated, write_dataset
from curate.readers import read_corpus
from curate.readers.mapping import shape_records
from curate.rows import Corpus
from curate.rules.catalogue import select_rules
from curate.similar import comparable_texts
from curate.sources import expand_paths
from curate.split import SPLITS, split_proof
from curate.splitting import PROOF_SCHEMA, Splits, split_rows
from curate.steps import run_steps
from evals.tokenizer_check import require_same_tokenizer
from schemas.base import file_digest
from schemas.config import SplitConfig
from schemas.errors import MissingExtra, UserError
from schemas.manifest import input_file, input_stage, open_stage
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage

SPLIT_WORDS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"} | {
    "dev": "validation",
    "eval": "validation",
    "test": "test",
}
"""What a file's name says about its split."""
WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
UNVERIFIED_ROWS = "unverified: the rows were chosen and split elsewhere; no rule of assay saw them"
UNVERIFIED_ADAPTER = "unverified: the adapter was trained elsewhere; which rows it saw is what its owner says"


def files_by_split(paths: Sequence[Path], named: Mapping[str, Sequence[Path]]) -> dict[str, tuple[Path, ...]]:
    """Which files belong to which split.

    Args:
        paths: files and folders whose names tell: train.jsonl, validation-00000.parquet, test.csv.
        named: split -> files or folders given for it.

    Raises:
        UserError: a file does not exist, its name tells no split, or no row is left for training.
    """
    found: dict[str, list[Path]] = {name: [] for name in SPLITS}
    for name, given in named.items():
        found[name] += expand_paths([str(path.absolute()) for path in given], Path.cwd(), f"--{name}", start="")
    for path in expand_paths([str(path.absolute()) for path in paths], Path.cwd(), "import dataset", start=""):
        words = re.split(r"[^a-z]+", path.name.lower())
        splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        if len(splits) != 1:
            raise UserError(
                "the name of this file does not tell its split",
                where=str(path),
                expected="one of the words train, validation and test in the name",
                help="name its split: --train FILE, --validation FILE, --test FILE",
            )
        found[splits.pop()].append(path)
    if not found["train"]:
        raise UserError("an imported dataset needs rows for training", help="give them with --train FILE")
    return {name: tuple(files) for name, files in found.items()}


def import_dataset(files: Mapping[str, Sequence[Path]], runs: Path, name: str) -> Finished:
    """Wrap rows that were split elsewhere in the layout of `assay curate`.

    Rows that cannot be read are dropped with their reason; every other row stays in its split. The split proof counts
    the pairs of similar rows that straddle the given splits, so that the data gate can judge them.

    Args:
        files: split -> data files, as `files_by_split` gives them.
        runs: folder of all results.
        name: begins the folder's name.

    Raises:
        UserError: a file cannot be read, or no row can.
    """
    place = inputs_from(runs, "curate")
    ordered = [(split, path) for split in SPLITS for path in files[split]]
    stage = Stage(
        stage="curate",
        name=name,
        config={"imported": {"files": [[split, path.name] for split, path in ordered]}},
        config_given={},
        inputs=tuple(input_file("source", path, place) for _, path in ordered),
        code=code_digest(["schemas", "curate", "evals"]),
        root=runs,
        packages=("polars", "orjson"),
        notes=(UNVERIFIED_ROWS,),
    )

    def fill(folder: Path) -> dict[str, int]:
        whole = read_corpus([path for _, path in ordered], name=lambda path: path.name)
        counts = write_dataset(_as_given(whole, [split for split, _ in ordered]), shape_records(), folder)
        return {name: count for name, count in counts.items() if name != "rows_changed"}

    return run_stage(stage, fill)


def _as_given(whole: Corpus, split_of_source: Sequence[str]) -> Curated:
    kept, ledger, remaining = run_steps(whole, select_rules(UNREADABLE))
    ledger.close(kept.height)
    if not kept.height:
        raise UserError("no row can be read", where=", ".join(source.path for source in whole.sources)[:500])
    # The splits that assay would have made are thrown away; what is kept are labels and sets of similar rows.
    rows = split_rows(kept, kept, SplitConfig(), None).rows.drop("split")
    rows = rows.with_columns(split=kept.rows["source"].replace_strict(dict(enumerate(split_of_source))))
    texts = kept.rows.select("index").join(
        comparable_texts(kept).select("index", "text"), on="index", how="left", maintain_order="left"
    )
    proof = {"schema": PROOF_SCHEMA, "imported": True} | split_proof(texts["text"], rows["split"])
    return Curated(whole, kept, ledger, Splits(rows, proof), remaining)


def import_adapter(folder: Path, dataset: Path, base_model: str | None, runs: Path, name: str) -> Finished:
    """Wrap a LoRA adapter that was trained elsewhere in the layout of `assay train`.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors, as peft saves them.
        dataset: manifest of the dataset that it was trained on; its test split is what the gate judges on.
        base_model: bundled name, local folder or hub id; null takes what the adapter names.
        runs: folder of all results.
        name: begins the folder's name.

    Raises:
        UserError: the folder holds no LoRA adapter, or another tokenizer than its base model, or that cannot be found.
        ManifestError: the dataset does not hash to its manifest.
        MissingExtra: safetensors is not installed.
    """
    settings = _adapter_settings(folder)
    parameters = _count_parameters(folder / WEIGHTS)
    base = base_model or settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(
            "the adapter does not name its base model",
            where=str(folder / SETTINGS),
            help="name it: --base-model NAME, a bundled name, a folder or a hub id",
        )
    from train.base_model import ensure_base_model

    open_stage(dataset, "curate")
    base_folder = ensure_base_model(base, Path.cwd())
    require_same_tokenizer(folder, base_folder)
    place = inputs_from(runs, "train")
    stage = Stage(
        stage="train",
        name=name,
        config={"imported": {file: file_digest(folder / file) for file in (SETTINGS, WEIGHTS)}, "base_model": base},
        config_given={},
        inputs=(
            input_stage("dataset", dataset, place),
            *base_model_inputs(base_folder, place),
        ),
        code=code_digest(["schemas", "curate", "train", "evals"]),
        root=runs,
        packages=("safetensors",),
        notes=(UNVERIFIED_ADAPTER,),
    )

    def fill(target: Path) -> dict[str, int]:
        (target / "adapter").mkdir()
        for file in (SETTINGS, WEIGHTS):
            shutil.copyfile(folder / file, target / "adapter" / file)
        return {"trainable_parameters": parameters}

    return run_stage(stage, fill)


def _adapter_settings(folder: Path) -> dict[str, Any]:
    for file in (SETTINGS, WEIGHTS):
        if not (folder / file).is_file():
            held = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) if folder.is_dir() else "no folder"
            if (folder / "config.json").is_file():
                raise UserError(
                    "this folder holds a whole model, not an adapter",
                    where=str(folder),
                    found=held,
                    expected=f"{SETTINGS} and {WEIGHTS}, as peft's save_pretrained writes them",
                    help="import the adapter that was merged into it; the gate judges an adapter on its base model",
                )
            raise UserError(
                "this folder holds no LoRA adapter",
                where=str(folder / file),
                found=held or "an empty folder",
                expected=f"{SETTINGS} and {WEIGHTS}, as peft's save_pretrained writes them",
                help="pickled weights (.bin) are not opened, because a pickle can run code: save it as safetensors",
            )
    try:
        settings = json.loads((folder / SETTINGS).read_bytes())
    except ValueError as error:
        raise UserError(
            "the adapter's settings are not JSON", where=str(folder / SETTINGS), found=str(error)
        ) from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise UserError(
            "this adapter is not LoRA", where=str(folder / SETTINGS), found=f"peft_type {kind!r}", expected="LORA"
        )
    return dict(settings)


def _count_parameters(path: Path) -> int:
    """Numbers in the adapter's tensors, from the header alone."""
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise MissingExtra("train", "safetensors") from error
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())
    except safetensors.SafetensorError as error:
        raise UserError("the adapter's weights cannot be read", where=str(path), found=str(error)) from error
