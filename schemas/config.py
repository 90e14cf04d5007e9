"""`assay.yaml` as typed models. Every default is here; reading the file is `curate/configfile.py`."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from schemas.backend import BackendConfig
from schemas.base import Count, PathText, Seed, Share, Strict
from schemas.compare_config import CompareConfig
from schemas.drift_config import DriftConfig
from schemas.records import Kind
from schemas.release_config import ReleaseConfig
from schemas.sweep_config import SweepConfig
from schemas.train_config import TrainConfig


class DataConfig(Strict):
    """Where the rows come from."""

    sources: list[PathText] = Field(min_length=1)
    """Files, globs or folders, relative to the config file."""
    format: Kind | None = None
    """Record shape (chat, prompt-completion, preference, feedback, reward, text); null detects it."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field name -> the file's column, for anything that is not detected."""
    evals: list[PathText] = Field(default_factory=list)
    """Eval items to keep out of training."""
    index: list[PathText] = Field(default_factory=list)
    """Indexes that `assay index build` made, of eval items or of the rows of earlier datasets; or curated datasets."""
    index_key_file: PathText | None = None
    """File with the key of a keyed index; null takes the variable ASSAY_INDEX_KEY."""
    group_by: str | None = None
    """Metadata field whose values never straddle splits."""
    memory_mb: int | None = Field(default=None, ge=0)
    """Megabytes of sources that are worked on in memory; null for 64. Of larger ones, text and what is noted of each
    row lie on disk meanwhile: beside the result of `assay curate`, in TMPDIR for `assay audit`; the result is the
    same."""


Words = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
"""Rule codes, names, beginnings of codes, or families."""


def _day(value: object) -> object:
    """`never`, or the day that YAML or its text gives."""
    if value == "never" or type(value) is datetime.date:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", value):
        return datetime.date.fromisoformat(value)
    raise ValueError("a day such as 2027-01-31, or never")


Day = Annotated[
    datetime.date | Literal["never"],
    PlainValidator(_day, json_schema_input_type=datetime.date | Literal["never"]),
]


class Waiver(Strict):
    """Findings that somebody accepts, why, and until when. Of several conditions each must hold."""

    code: Annotated[str, Field(min_length=1)] | None = None
    """Rule code, name, beginning of a code, or family."""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Of one finding, as `--format json` gives it."""
    row_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """Of one row; copies of a row have one id."""
    path: PathText | None = None
    """Pattern of files, as in `per_file_ignores`; null for every file."""
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]
    """Why; shown wherever the waiver is."""
    expires: Day
    """Last day (UTC) on which the waiver holds, or `never`."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.code is None and self.fingerprint is None and self.row_id is None:
            raise ValueError("a waiver needs `code`, `fingerprint` or `row_id`")
        return self


class AuditConfig(Strict):
    """What `assay audit` looks for, what of it is known already, and when it fails. Flags of the command win."""

    select: Words | None = None
    """Only these rules; null for all."""
    ignore: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Not these rules."""
    per_file_ignores: dict[PathText, Words] = Field(default_factory=dict)
    """Pattern of files -> rules whose findings there do not count. Patterns are those of .gitignore, relative to the
    config file: `tests/` is a folder, `*.csv` any such file, `data/*.jsonl` those of one folder."""
    baseline: PathText | None = None
    """File of findings that are known, relative to the config; `assay audit --write-baseline` writes it."""
    waivers: list[Waiver] = Field(default_factory=list)
    """Findings that somebody accepts for a time."""
    waivers_file: PathText | None = None
    """YAML file with a list of more of them, relative to the config."""
    fail_on: Literal["error", "warning", "info", "never"] = "error"
    """Least severity that gives exit code 1."""
    max_findings: int | None = Field(default=None, ge=0, lt=1 << 31)
    """Findings shown of each rule; 0 shows all, null what suits the format."""


class SplitConfig(Strict):
    """Shares of the kept rows; components of near-duplicates and groups stay whole."""

    train: Share = 0.8
    validation: Share = 0.1
    test: Share = 0.1
    stratify_by: str | None = None
    """Metadata field, or `answer` for the last assistant turn."""
    seed: Seed = 0
    threshold: Share = 0.5
    """Similarity at or above which two rows stay in one split; below the drop threshold."""
    time_by: str | None = None
    """Metadata field with a date or a number: the latest rows are the test split, those before them the validation
    split. Rows that must stay together go where the latest of them goes."""
    time_cuts: dict[Literal["validation", "test"], str] = Field(default_factory=dict)
    """First time of the validation and of the test split; without them the shares decide."""

    @field_validator("time_cuts", mode="before")
    @classmethod
    def _as_text(cls, cuts: object) -> object:
        """YAML reads days, moments and numbers as such; here they are times as the rows write them."""
        if not isinstance(cuts, dict):
            return cuts
        plain = (datetime.date, int, float)
        return {name: str(cut) if isinstance(cut, plain) and cut is not True else cut for name, cut in cuts.items()}

    @model_validator(mode="after")
    def _time_decides_alone(self) -> Self:
        if self.time_cuts and self.time_by is None:
            raise ValueError("`time_cuts` needs `time_by`, the metadata field that holds the time of each row")
        if self.time_by is not None and self.stratify_by is not None:
            raise ValueError("`time_by` and `stratify_by` exclude each other: either time or the label decides")
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test must be 1.0, found {total:g}")
        return self


class CurateConfig(Strict):
    """What is done to the rows, in order."""

    steps: list[str] = Field(
        default_factory=lambda: ["schema", "exact-duplicate", "near-duplicate", "conflict", "contamination", "pii"],
        min_length=1,
    )
    """Rule names or families."""
    rules: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Rule name -> its options; each rule checks its own."""
    keep: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Row ids, or fingerprints of findings: each entry takes back one drop; `# reason` may follow."""
    keep_file: PathText | None = None
    """File of more of them, one a line, relative to the config."""
    split: SplitConfig = SplitConfig()


class DataGateConfig(Strict):
    """What a dataset must meet before training."""

    min_rows: Count = 200
    """Least rows in the training split."""
    min_supervised_tokens: Count = 200
    """Least supervised tokens in the training split; estimated where no tokenizer can be loaded."""
    max_dropped_share: Share = 0.5
    max_errors: int = Field(default=0, ge=0, lt=1 << 31)
    """Most error findings left in the kept rows."""
    contamination: Literal["none", "ignore"] = "none"
    split_proof: Literal["required", "optional"] = "required"


class TaskGate(Strict):
    """What a candidate must show on one task."""

    must: Literal["improve", "not_regress"]
    min_gain: float = 0.0
    """improve: the lower bound of the paired gain over the base must exceed this."""
    margin: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """not_regress: the lower bound of the paired difference must exceed minus this."""
    detect: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """improve: true gain that the planned items must detect with power 0.8."""
    beat: tuple[Literal["majority", "bag_of_words"], ...] = ("majority",)
    """improve: references that the candidate must beat as well, where the task has labels."""

    @model_validator(mode="after")
    def _has_its_threshold(self) -> Self:
        if self.must == "not_regress" and self.margin is None:
            raise ValueError(
                "`must: not_regress` needs `margin`, the largest loss that is acceptable, for example 0.03"
            )
        if self.must == "improve" and self.detect is None:
            raise ValueError(
                "`must: improve` needs `detect`, the gain that the items must be able to show, for example 0.1"
            )
        return self


class ModelGateConfig(Strict):
    """What a candidate model must meet before release."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Level of the two-sided intervals; a verdict rests on one end of them."""
    tasks: dict[str, TaskGate] = Field(min_length=1)
    overfitting: dict[str, Literal["default", "off"] | dict[str, float]] = Field(default={"gain_gap": "default"})
    """Measurement -> `default`, its thresholds, or `off`. Those that are not named are judged where they apply, but for
    those that cost passes of their own, which must be named."""


class GatesConfig(Strict):
    """Both gates."""

    data: DataGateConfig = DataGateConfig()
    model: ModelGateConfig


class EvalsConfig(Strict):
    """What is measured on the base and on the tuned model."""

    suites: list[PathText] = Field(min_length=1)
    """Names of task files (`<name>.yaml` or `<name>.py`), looked up beside the config, then among those that ship with
    assay, then among lm-eval's own tasks."""
    limit: Count | None = 150
    """Items a suite, the same for every model; null takes all."""
    batch_size: Count = 16
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """In what the models compute; an endpoint has its own."""
    backend: BackendConfig | None = None
    """Another of lm-eval's models that answers; null loads both models with transformers in this process."""
    baseline: PathText | None = None
    """Lock file; null compares with the base model."""
    network: bool = False
    """Whether the data of lm-eval's own tasks may be downloaded; otherwise they must be on this machine."""
    trained_rows: Count = 100
    """Most trained rows whose loss is measured on base and tuned."""
    test_rows: Count = 300
    """Most test rows whose loss is measured; `limit` bounds them too, and they share their pass with a task's items."""
    general_text: list[PathText] = Field(default_factory=list)
    """Plain text files, each paragraph of 40 words or more a document, to measure on how far the model drifted from its
    base; by default the prose of Python's own language reference."""
    slice_by: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Fields of the items, of their `metadata`, or beside the content of the dataset's rows, by whose values the model
    gate shows where the models differ."""
    seed: Seed = 0


RunName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class AuditFile(Strict):
    """What `assay audit` takes of `assay.yaml`: every section of it, none of which must be there."""

    name: RunName | None = None
    """Begins every run folder's name."""
    data: DataConfig | None = None
    audit: AuditConfig = AuditConfig()
    curate: CurateConfig = CurateConfig()
    gates: GatesConfig | None = None
    train: TrainConfig = TrainConfig()
    sweep: SweepConfig = SweepConfig()
    evals: EvalsConfig | None = None
    compare: CompareConfig = CompareConfig()
    release: ReleaseConfig = ReleaseConfig()
    drift: DriftConfig = DriftConfig()
    runs: PathText = "runs"
    """Folder for results, relative to the config file."""


class Config(AuditFile):
    """The whole of `assay.yaml`."""

    name: RunName
    """Begins every run folder's name."""
    data: DataConfig
    gates: GatesConfig
    evals: EvalsConfig

    @model_validator(mode="after")
    def _gated_tasks_are_run(self) -> Self:
        missing = sorted(set(self.gates.model.tasks) - set(self.evals.suites))
        if missing:
            raise ValueError(f"gates.model.tasks names {', '.join(missing)}, which evals.suites does not run")
        return self
