"""One GGUF file for llama.cpp and Ollama, linear layers and embeddings in float16."""

from __future__ import annotations

from pathlib import Path

from evals.release.source import Loaded, Source

NAME = "gguf-f16"
FOLDER = "gguf"
LOSSLESS = False


def export(source: Source, folder: Path, name: str) -> list[Path]:
    """Merge the adapter and write `<name>-f16.gguf`; errors as `export_gguf`."""
    from evals.release.gguf_file import F16, export_gguf

    return export_gguf(source, folder / f"{name}-f16.gguf", F16)


def load(source: Source, folder: Path) -> Loaded:
    """The file as transformers reads it, in float32."""
    from evals.release.gguf_reading import load_gguf, only_file

    return load_gguf(only_file(folder, "f16"), source.base)
