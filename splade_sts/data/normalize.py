"""From raw rows to the normalized pairs that every later stage reads."""

import math
import numbers
import reprlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from splade_sts.data.pairs import MINIMUM_PAIRS, UNSEEN_CHARACTERS, Pairs
from splade_sts.data.tables import DELIMITERS
from splade_sts.errors import UserError
from splade_sts.params import ColumnsParams, OnBadRow

SHOWN_BAD_ROWS = 10
SHOWN_COLUMNS = 30
# Unicode categories of spaces and of what nobody sees: text of them alone is empty.
INVISIBLE = ("Zs", "Zl", "Zp", *UNSEEN_CHARACTERS)


@dataclass(frozen=True)
class BadRow:
    """A row that is no pair: where it stands (`line 3` of the file, or `row 3`), and why."""

    place: str
    problem: str


@dataclass(frozen=True, eq=False)
class NormalizedSplit:
    """The pairs of a split, and the rows that were left out, both in the order of the file."""

    pairs: Pairs
    bad_rows: list[BadRow]


def normalize_split(
    raw: pd.DataFrame,
    where: str,
    columns: ColumnsParams,
    score_range: tuple[float, float],
    on_bad_row: OnBadRow = "stop",
    key: str = "data",
) -> NormalizedSplit:
    """Normalize the rows of one split or test set.

    A row is bad if a sentence or genre is empty, or if the score is empty, no number or outside
    `score_range`.

    Args:
        raw: the rows as they came. An index with a name says where each row stands (`line`);
            without one they are counted from 1.
        where: name of the file for messages.
        columns: where each field stands: a column's name, or its number from 0; None for no genre.
        score_range: lowest and highest score of the source, mapped to 0 and 1.
        on_bad_row: `stop` or `drop`.
        key: where params.yaml says all but that, for messages.

    Raises:
        UserError: a column is missing or named for two fields, or the first line is no header; a
            row is bad, and `on_bad_row` is `stop`; or so many are that fewer than `MINIMUM_PAIRS`
            pairs are left. Counts all bad rows and shows the first ten.
    """
    bad_rows: list[BadRow] = []
    (pairs,) = normalize_parts([raw], where, columns, score_range, on_bad_row, key, bad_rows)
    return NormalizedSplit(pairs, bad_rows)


def normalize_parts(
    raw: Iterable[pd.DataFrame],
    where: str,
    columns: ColumnsParams,
    score_range: tuple[float, float],
    on_bad_row: OnBadRow,
    key: str,
    bad_rows: list[BadRow],
) -> Iterator[Pairs]:
    """`normalize_split` of a table that comes in parts: the pairs of each, which may be none.

    Args:
        raw: the parts, alike but for their rows.
        bad_rows: those that were left out are added here.

    Raises:
        UserError: as `normalize_split`; for bad rows, once all parts are through.
    """
    total = 0
    for part in raw:
        positions = part.index if part.index.name else range(total + 1, total + len(part) + 1)
        total += len(part)
        yield _normalize(part, where, columns, score_range, key, positions, bad_rows)
    left = total - len(bad_rows)
    if bad_rows and (on_bad_row == "stop" or left < MINIMUM_PAIRS):
        advice = (
            "Mend them, or leave them out with data.on_bad_row=drop"
            if on_bad_row == "stop"
            else f"data.on_bad_row is drop, which leaves {left} pairs; a split needs at least "
            f"{MINIMUM_PAIRS}"
        )
        raise UserError(
            f"{where}: {len(bad_rows)} of {total} rows are bad:\n  {listing(bad_rows)}\n{advice}"
        )


def _normalize(
    raw: pd.DataFrame,
    where: str,
    columns: ColumnsParams,
    score_range: tuple[float, float],
    key: str,
    positions: Iterable[int],
    bad_rows: list[BadRow],
) -> Pairs:
    """The pairs of the rows that stand at `positions`; the bad ones are added to `bad_rows`."""
    low, high = score_range
    picked = {
        field: raw.iloc[:, place].tolist()
        for field, place in _places(raw, where, columns, key).items()
    }
    kept: dict[str, list[Any]] = {field: [] for field in picked}
    unit = raw.index.name or "row"
    for position, row in zip(positions, zip(*picked.values(), strict=True), strict=True):
        values: dict[str, str | float] = {}
        found: list[str] = []
        for field, original in zip(picked, row, strict=True):
            if field == "score":
                number = _score(original)
                if number is None or not low <= number <= high:
                    expected = f"a number from {low:g} to {high:g} ({key}.score_range)"
                    found.append(f"score is {reprlib.repr(original)}; expected {expected}")
                else:
                    values[field] = (number - low) / (high - low)
            elif (text := _text(original)) is None:
                found.append(
                    f"{field} is {reprlib.repr(original)}; expected text that is not empty"
                )
            else:
                values[field] = text
        if found:
            bad_rows.append(BadRow(f"{unit} {position}", "; ".join(found)))
        else:
            for field, value in values.items():
                kept[field].append(value)
    score = np.array(kept["score"], dtype=np.float64)
    return Pairs(kept["sentence1"], kept["sentence2"], score, kept.get("genre"))


def listing(bad_rows: Sequence[BadRow]) -> str:
    """The first ten, one on a line, and how many more there are."""
    lines = [f"{row.place}: {row.problem}" for row in bad_rows[:SHOWN_BAD_ROWS]]
    if len(bad_rows) > SHOWN_BAD_ROWS:
        lines.append(f"and {len(bad_rows) - SHOWN_BAD_ROWS} more")
    return "\n  ".join(lines)


def _places(raw: pd.DataFrame, where: str, columns: ColumnsParams, key: str) -> dict[str, int]:
    """Where each field stands: the number of its column, from 0; no place for a genre that the data
    has not.

    Raises:
        UserError: there is no such column, two fields stand in one, or the names of the columns are
            a row.
    """
    wanted = columns.model_dump(exclude_none=True)
    places = {field: _place(raw, where, field, column, key) for field, column in wanted.items()}
    for first, second in combinations(places, 2):
        if places[first] == places[second]:
            name = reprlib.repr(raw.columns[places[first]])
            raise UserError(
                f"{where}: {key}.columns.{first} and {key}.columns.{second} are one column, "
                f"{name}; each field needs a column of its own"
            )
    # who names columns by numbers may have forgotten that there is no header
    name = raw.columns[places["score"]]
    if isinstance(columns.score, int) and _is_row(raw) and _score(name) is not None:
        raise UserError(
            f"{where}: the first line was read as names of columns, but that of score is "
            f"{reprlib.repr(name)}: set {key}.header=false where the first line is a row (where it "
            f"is none, set {key}.columns.score to that name)"
        )
    return places


def _place(raw: pd.DataFrame, where: str, field: str, column: str | int, key: str) -> int:
    names = list(raw.columns)
    if isinstance(column, int) and 0 <= column < len(names):
        return column
    if column in names:
        return names.index(column)
    raise UserError(
        f"{where}: no column {column!r} for {field}; it has "
        f"{', '.join(map(reprlib.repr, names[:SHOWN_COLUMNS]))}"
        f"{' and more' if len(names) > SHOWN_COLUMNS else ''}. {_hint(raw, key)}"
        f"Set {key}.columns.{field} to one of them, or to a number from 0 to {len(names) - 1}"
    )


def _hint(raw: pd.DataFrame, key: str) -> str:
    """How the file may have been meant to be read, where its columns look like something else."""
    if raw.index.name is None:  # no text: nothing separates its fields
        return ""
    if _is_row(raw):
        return f"Set {key}.header=false if the first line is a row and not the names of columns. "
    start = str(raw.columns[0] if raw.columns[0] != "0" else raw.iloc[0, 0])  # "0": no header
    for name, separator in DELIMITERS.items():
        # two separate three fields; commas in a sentence are none
        if start.count(separator) >= 2 and (name != "comma" or len(raw.columns) == 1):
            return f"Set {key}.delimiter={name} if that is what separates its fields. "
    return ""


def _is_row(raw: pd.DataFrame) -> bool:
    """Whether the names of columns look like a row of a text file: one is a number, but not that of
    its column, which columns without a name have.
    """
    return raw.index.name is not None and any(
        _score(name) is not None and name != str(place) for place, name in enumerate(raw.columns)
    )


def _text(value: Any) -> str | None:
    """NFC without outer white space; None where nothing of it would be seen (spaces, controls,
    format characters).
    """
    if not isinstance(value, str):
        return None
    text = unicodedata.normalize("NFC", value).strip()
    return (
        text
        if any(unicodedata.category(character) not in INVISIBLE for character in text)
        else None
    )


def _score(value: Any) -> float | None:
    """The number that a number or its text stands for; Python's own `1_000` and `b"1"` are none."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Number, str)) or "_" in str(value):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
