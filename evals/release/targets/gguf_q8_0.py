"""One GGUF file for llama.cpp and Ollama, every matrix in blocks of 32 numbers of 8 bits and one scale."""

from __future__ import annotations

from pathlib import Path

from evals.release.source import Loaded, Source

NAME = "gguf-q8_0"
FOLDER = "gguf"
LOSSLESS = False


def export(source: Source, folder: Path, name: str) -> list[Path]:
    """Merge the adapter and write `<name>-q8_0.gguf`; errors as `export_gguf`."""
    from evals.release.gguf_file import Q8_0, export_gguf

    return export_gguf(source, folder / f"{name}-q8_0.gguf", Q8_0)


def load(source: Source, folder: Path) -> Loaded:
    """The file as transformers reads it, in float32."""
    from evals.release.gguf_reading import load_gguf, only_file

    return load_gguf(only_file(folder, "q8_0"), source.base)
