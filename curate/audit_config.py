"""The config as `assay audit` reads it: any part of it may be missing, and so may the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.configfile import read_config, suite_files, validated
from curate.sources import Found, find_sources
from curate.yamlfile import Document, Location
from schemas.config import AuditConfig, AuditFile
from schemas.errors import ConfigError, Problem

DEFAULT_CONFIG = Path("assay.yaml")


class AuditDocument:
    """The config that an audit goes by; an empty one where none is used."""

    def __init__(self, document: Document | None, file: AuditFile) -> None:
        self._document = document
        self.file = file

    @classmethod
    def of(cls, path: Path | None) -> AuditDocument:
        """The config in a file; null for none.

        Raises:
            UserError: it cannot be read.
            ConfigError: it does not validate; carries every problem.
        """
        if path is None:
            return cls(None, AuditFile())
        document = read_config(path)
        return cls(document, validated(document, AuditFile))

    @property
    def audit(self) -> AuditConfig:
        """Its section `audit`."""
        return self.file.audit

    @property
    def max_length(self) -> int | None:
        """Most tokens a row has in training, if the config speaks of training."""
        trains = self.file.gates is not None or "train" in self.file.model_fields_set
        return self.file.train.max_length if trains else None

    @property
    def root(self) -> Path:
        """The folder that its paths start from."""
        return self._document.path.parent if self._document else Path()

    def beside(self, path: str | None) -> Path | None:
        """A path that it names; null stays null."""
        return None if path is None else self.root / path

    def where(self, *location: str | int) -> str:
        """`file:line` of a value."""
        places: Mapping[Location, str] = self._document.places if self._document else {}
        return places.get(location, ".".join(map(str, location)))

    def sources(self) -> Found:
        """The files of `data.sources`.

        Raises:
            ConfigError: there are none.
        """
        if self.file.data is None:
            path = str(self._document.path) if self._document else str(DEFAULT_CONFIG)
            advice = "name files, or give the config `data: {sources: [...]}`"
            raise ConfigError([Problem("nothing says which files to audit", where=path, help=advice)])
        return self._found(self.file.data.sources, "data.sources")

    def evals(self) -> tuple[Path, ...]:
        """Files of `data.evals`, and the task files of the suites with items of their own."""
        named = tuple(self._found(self.file.data.evals, "data.evals").files) if self.file.data else ()
        return (*named, *suite_files(self.file.evals.suites, self.root)) if self.file.evals else named

    def index_paths(self) -> list[Path]:
        """What `data.index` names."""
        return [self.root / entry for entry in self.file.data.index] if self.file.data else []

    def index_key_file(self) -> Path | None:
        """The file of `data.index_key_file`."""
        return self.beside(self.file.data.index_key_file) if self.file.data else None

    def _found(self, entries: Sequence[str], name: str) -> Found:
        path = self._document.path if self._document else DEFAULT_CONFIG
        return find_sources(entries, self.root, f"{path}: {name}", results=self.root / self.file.runs)
