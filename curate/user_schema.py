"""Rules that hold rows against a schema of the user's own: a JSON Schema, or a pydantic model in a Python file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import PrivateAttr, TypeAdapter, ValidationError, model_validator

from curate.json_schema import MAX_MISMATCHES, Mismatch, compile_schema, json_path, mismatches, shown_json
from curate.readers.builder import loads
from curate.rows import Corpus
from curate.rules.base import Hit, Rule
from schemas.base import PathText, digest
from schemas.errors import UnopenedError, UserError

MAX_SCHEMA_BYTES = 10 << 20


class SchemaRule(Rule):
    """Base of rules that check JSON against what the user demands; without a schema they are not run."""

    json_schema: PathText | dict[str, Any] | None = None
    """JSON Schema: the path of its file, which starts from the folder of the config, or the schema itself."""
    pydantic_model: PathText | None = None
    """`path/to/file.py:Model`; the file is your own Python and is run when rows are checked."""

    _root: Path = PrivateAttr(default=Path())
    _validator: Any = PrivateAttr(default=None)
    _adapter: TypeAdapter[Any] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.json_schema is not None and self.pydantic_model is not None:
            raise ValueError("give either `json_schema` or `pydantic_model`")
        file, _, name = (self.pydantic_model or "file.py:Model").rpartition(":")
        if not file.endswith(".py") or not name.isidentifier():
            raise ValueError("`pydantic_model` is path/to/file.py:Model")
        return self

    def model_post_init(self, context: Any) -> None:
        """Read and compile a JSON Schema, so that a bad one is an error of the config.

        Raises:
            UserError: the file cannot be opened, is not JSON, or is no JSON Schema.
        """
        self._root = (context or {}).get("root", Path())
        if self.json_schema is not None:
            schema, where = _read_schema(self.json_schema, self._root, self.name)
            self._validator = compile_schema(schema, where, trusted=True)

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without a schema there is nothing to hold rows against."""
        given = self.json_schema is not None or self.pydantic_model is not None
        return None if given else "no schema was given (`json_schema` or `pydantic_model`)"

    def files(self) -> tuple[Path, ...]:
        """The file of the schema or of the model."""
        named = self.json_schema if isinstance(self.json_schema, str) else None
        if self.pydantic_model is not None:
            named = self.pydantic_model.rpartition(":")[0]
        return () if named is None else (self._root / named,)

    def hit(self, index: int, turn: int | None, what: str, text: str, value: Any) -> Hit | None:
        """A hit if the value does not meet the schema.

        Args:
            index: of the row.
            turn: which holds the value.
            what: is checked, in words.
            text: the value as JSON.
            value: the value as plain data.

        Raises:
            UserError: the file of the model cannot be run, or its model fails with an error of its own.
        """
        found = list(self._mismatches(text, value))
        if not found:
            return None
        first = found[0]
        message = f"{what} does not meet the schema at {first.path}: {first.message}"
        evidence: dict[str, Any] = {"path": first.path, "found": first.found, "expected": first.expected}
        if len(found) > 1:
            evidence["also"] = [f"{other.path}: {other.message}" for other in found[1:]]
        detail = "\n".join(f"{place.path} {place.expected}" for place in found)
        return Hit(index, message, turn, evidence, detail)

    def _mismatches(self, text: str, value: Any) -> Iterator[Mismatch]:
        if self._validator is not None:
            if not _fits(self._validator, value):
                yield from mismatches(self._validator, value)
            return
        if self._adapter is None and self.pydantic_model is not None:
            self._adapter = _load_model(self.pydantic_model, self._root, self.name)
        if self._adapter is None:
            return
        try:
            self._adapter.validate_json(text)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False)[:MAX_MISMATCHES]:
                yield Mismatch(json_path(item["loc"]), shown_json(item["input"]), item["msg"][:200], item["type"])
        except Exception as error:
            raise UserError(
                "the model failed while it checked a row",
                where=f"rule {self.name}: {self.pydantic_model}",
                found=f"{type(error).__name__}: {error}"[:300],
                expected="validators that raise ValueError for what they refuse",
            ) from error


def _fits(validator: Any, value: Any) -> bool:
    try:
        return bool(validator.is_valid(value))
    except ValueError:  # nested deeper than the library goes: `mismatches` says so
        return False


def _read_schema(given: str | dict[str, Any], root: Path, rule: str) -> tuple[Any, str]:
    if not isinstance(given, str):
        return given, f"rule {rule}: json_schema"
    path = root / given
    try:
        if path.stat().st_size > MAX_SCHEMA_BYTES:
            raise UserError("the schema is too large", where=str(path), expected=f"at most {MAX_SCHEMA_BYTES:,} bytes")
        return loads(path.read_bytes()), str(path)
    except OSError as error:
        advice = "relative paths start from the folder of the config"
        raise UnopenedError(f"the schema of rule {rule}", path, error, help=advice) from error
    except orjson.JSONDecodeError as error:
        raise UserError("the schema is not JSON", where=str(path), found=str(error)[:200]) from error


def _load_model(given: str, root: Path, rule: str) -> TypeAdapter[Any]:
    """What validates against a class of a Python file, which is run."""
    file, _, name = given.rpartition(":")
    path = root / file
    try:
        source = path.read_bytes()
    except OSError as error:
        advice = "relative paths start from the folder of the config"
        raise UnopenedError(f"the model of rule {rule}", path, error, help=advice) from error
    # Annotations are looked up in sys.modules; the name can be nobody else's.
    module_name = f"assay_model_{digest(str(path.absolute()).encode() + source)[:16]}"
    where = f"rule {rule}: pydantic_model"
    try:
        module = sys.modules.get(module_name)
        if module is None:
            spec = importlib.util.spec_from_file_location(module_name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        return TypeAdapter(getattr(module, name))
    except Exception as error:
        sys.modules.pop(module_name, None)
        found = f"{type(error).__name__}: {error}"[:300]
        expected = "a file that imports only what is installed, nothing beside it, and defines the model"
        raise UserError(f"the model {given!r} cannot be loaded", where=where, found=found, expected=expected) from error
