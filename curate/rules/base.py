"""What a rule is: a class whose fields are its options, with a code, a page, and examples that test it."""

# Annotations are objects here, not text: pydantic reads those of the base again for each of the rules.
import ast
import inspect
import itertools
import textwrap
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import ConfigDict

from curate.rows import Corpus
from schemas.base import Strict
from schemas.finding import Severity


class Action(StrEnum):
    """What `assay curate` does with a row on which a rule fires."""

    KEEP = "keep"
    DROP = "drop"
    REDACT = "redact"
    FIX = "fix"


class Need(StrEnum):
    """What some rules compare rows with."""

    EVALS = "eval items"
    INDEX = "an index of earlier rows"
    MODEL = "a model's tokenizer and chat template"
    LENGTH = "the greatest length of a row in training"


class Scope(StrEnum):
    """What a rule must see at once: it decides what can be said of one shard of the rows."""

    ROW = "row"
    FILE = "file"
    ALL = "all rows"


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule fired on one row."""

    index: int
    """Row index in the corpus."""
    message: str
    """One sentence; shows no personal data and no secret."""
    turn: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    """Tells hits of one rule on one turn apart; part of the finding's fingerprint."""
    twin: int | None = None
    """Row index of the representative, for pairs."""
    measure: str = ""
    """Name of the similarity, for pairs."""
    similarity: float | None = None
    severity: Severity | None = None
    """Where it differs from the rule's."""


@dataclass(frozen=True, slots=True)
class FileHit:
    """A rule fired on a file at a place that belongs to no row, such as a blank line."""

    source: int
    line: int | None
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    """Part of the fingerprint in place of the message, where the message holds numbers that change with every row."""


@dataclass(frozen=True)
class Example:
    """A small file for a rule: JSON values, or raw lines as bytes."""

    lines: tuple[Any, ...]
    evals: tuple[Any, ...] = ()
    earlier: tuple[Any, ...] = ()
    """Rows of an earlier dataset."""
    max_length: int | None = None
    """Most tokens of a row; a token is a byte, or one of the special tokens of ChatML."""
    template: str | None = None
    """Name of the chat template that the rows are measured with; null estimates tokens."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options without which the rule is not run."""

    @classmethod
    def chat(cls, *texts: str, role: str = "user") -> Self:
        """A file of one conversation; turns alternate, beginning with `role`."""
        roles = ("user", "assistant") if role == "user" else ("assistant", "user")
        return cls(({"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]},))


class Rule(Strict):
    """Base of all rules. The fields of a subclass are the options that `curate.rules` of a config sets.

    The docstring of a subclass is its page: one sentence, then the headings "What it does", "Why", "Known problems" and
    "Source".
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    default_action: ClassVar[Action] = Action.KEEP
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP)
    """Actions that make sense for the rule."""
    needs: ClassVar[Need | None] = None
    """What beside the rows the rule cannot run without."""
    scope: ClassVar[Scope] = Scope.ROW
    """What it must see at once; a search for eval items counts as a row's, see `rows.Shard`."""
    echoes: ClassVar[tuple[str, ...]] = ()
    """Codes of stricter rules: what one of them says of a row or a pair, this rule does not repeat in an audit."""
    takes_long: ClassVar[bool] = False
    """Whether it is one of the few dearest rules, with which an audit begins."""
    waits: ClassVar[bool] = False
    """Whether it goes by what such a rule computes: an audit leaves it for the end."""
    help: ClassVar[str]
    """What to do about a finding, in one sentence."""
    fires: ClassVar[tuple[Example, ...]]
    silent: ClassVar[tuple[Example, ...]]

    # pydantic would read each rule's source at every start; `options` does so when somebody asks.
    model_config = ConfigDict(use_attribute_docstrings=False)

    action: Action | None = None
    """What `assay curate` does with the row; null takes the rule's default."""
    level: Severity | None = None
    """How much a finding weighs; null takes the rule's default."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Why the rule has nothing to go by and is not run on this corpus; null where it is run."""
        settings = corpus.token_settings
        if self.needs is Need.EVALS and corpus.evals is None and corpus.eval_index is None:
            return "no eval items were given (--against, --index, data.evals or data.index)"
        if self.needs is Need.INDEX and corpus.earlier is None:
            return "no index of earlier rows was given (--index, or data.index)"
        if self.needs is Need.MODEL and (settings is None or settings.supervisor is None):
            return "no tokenizer was given (--model)"
        if self.needs is Need.LENGTH and (settings is None or settings.max_length is None):
            return "no greatest length was given (--max-length, --model, or train.max_length)"
        return None

    def files(self) -> tuple[Path, ...]:
        """Files that the options name: what the rule finds depends on their bytes."""
        return ()

    @abstractmethod
    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Every row on which the rule fires, in the order of the rows. Reads the corpus, never changes it."""

    def find_in_files(self, corpus: Corpus) -> Iterable[FileHit]:
        """What the rule has to say about places that belong to no row."""
        return ()

    def searched(self, corpus: Corpus) -> list[dict[str, Any]]:
        """Parameters of the searches that `find` made, for the report; empty for rules that search nothing."""
        return []

    def rewrite(self, text: str) -> str:
        """The text with what the rule found replaced; rules with the action redact or fix override this."""
        return text

    def rewriter(self, texts: Iterable[str]) -> Callable[[str], str]:
        """`rewrite` for a row with these texts; rules that change a text for what others say override this."""
        return self.rewrite

    @property
    def effective_action(self) -> Action:
        """The configured action, or the default."""
        return self.action or self.default_action

    @property
    def effective_severity(self) -> Severity:
        """The configured severity, or the default."""
        return self.level or self.severity

    @classmethod
    def family(cls) -> str:
        """The name of the rule's family, which a config's steps may use."""
        return FAMILIES[cls.code[:3]]

    @classmethod
    def options(cls) -> dict[str, tuple[Any, str]]:
        """Name of each option of its own -> default, and what stands below the field in the source."""
        texts: dict[str, str] = {}
        for owner in reversed(cls.__mro__):
            if issubclass(owner, Rule):
                texts |= _field_texts(owner)
        return {
            name: (info.get_default(), texts.get(name, ""))
            for name, info in cls.model_fields.items()
            if name not in ("action", "level")
        }

    @classmethod
    def page(cls) -> str:
        """The rule's page as Markdown."""
        lines = [f"# {cls.code} {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
        lines += [f"Severity: {cls.severity}. Action: {cls.default_action} (of {', '.join(cls.actions)})."]
        lines += ["", "## What to do", "", cls.help]
        if options := cls.options():
            lines += ["", "## Options", ""]
            lines += [f"- `{name}` (default {default!r}): {text}" for name, (default, text) in options.items()]
        return "\n".join(lines) + "\n"


def _field_texts(owner: type) -> dict[str, str]:
    """The string below each annotated field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


FAMILIES = {
    "SCH": "schema",
    "DUP": "duplicate",
    "CON": "conflict",
    "LEK": "contamination",
    "PII": "pii",
    "SEC": "secret",
    "QUA": "quality",
    "TOK": "token",
    "BAL": "balance",
    "PRF": "preference",
}
"""First letters of a code -> name of the family."""


class FaultRule(Rule):
    """A rule that reports what the readers met: one finding for each fault of its name."""

    sentence: ClassVar[str]
    """The message; `{found}` and `{expected}` are filled in."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each fault that belongs to a row."""
        faults = corpus.faults.filter((pl.col("kind") == self.name) & pl.col("index").is_not_null())
        for fault in faults.iter_rows(named=True):
            evidence = {"found": fault["found"], "expected": fault["expected"]}
            message = self.sentence.format_map(evidence)
            yield Hit(fault["index"], message, fault["turn"], evidence, detail=fault["found"])

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each fault that belongs to no row."""
        faults = corpus.faults.filter((pl.col("kind") == self.name) & pl.col("index").is_null())
        for fault in faults.iter_rows(named=True):
            evidence = {"found": fault["found"], "expected": fault["expected"]}
            yield FileHit(fault["source"], fault["line"], self.sentence.format_map(evidence), evidence)


def turn_hits(turns: pl.DataFrame, message: str) -> Iterator[Hit]:
    """One hit for each turn of a frame with the columns `index` and `turn`, all with the same message."""
    for index, turn in turns.select("index", "turn").iter_rows():
        yield Hit(index, message, turn)
