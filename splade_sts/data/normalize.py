"""From raw rows to the normalized pairs that every later stage reads."""

import math
import numbers
import reprlib
import unicodedata
from typing import Any

import numpy as np
import pandas as pd

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.params import ColumnsParams

SHOWN_PROBLEMS = 10
SHOWN_COLUMNS = 30
# Unicode categories of spaces, controls and format characters (zero-width, direction marks): text
# of them alone is empty.
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")


def normalize_split(
    raw: pd.DataFrame, where: str, columns: ColumnsParams, score_range: tuple[float, float]
) -> Pairs:
    """Normalized pairs of one split, in the order of `raw`.

    Args:
        raw: the rows as they came.
        where: name of the file for messages.
        columns: where each field stands: a column's name, or its number from 0; None for no genre.
        score_range: lowest and highest score of the source, mapped to 0 and 1.

    Raises:
        UserError: a column is missing, or any row has an empty sentence or genre, or a score that
            is empty, no number or outside `score_range`; counts all bad rows and shows the first
            ten.
    """
    low, high = score_range
    places = columns.model_dump()
    picked = {
        field: _column(raw, where, field, place)
        for field, place in places.items()
        if place is not None
    }
    kept: dict[str, list[Any]] = {field: [] for field in picked}
    problems: list[str] = []
    for place, row in enumerate(zip(*picked.values(), strict=True), start=1):
        values: dict[str, str | float] = {}
        found: list[str] = []
        for field, original in zip(picked, row, strict=True):
            if field == "score":
                number = _score(original)
                if number is None or not low <= number <= high:
                    expected = f"a number from {low:g} to {high:g} (data.score_range)"
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
            problems.append(f"row {place}: " + "; ".join(found))
        else:
            for field, value in values.items():
                kept[field].append(value)
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        shown = problems[:SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise UserError(
            f"{where}: {len(problems)} of {len(raw)} rows are bad:\n  " + "\n  ".join(shown)
        )
    score = np.array(kept["score"], dtype=np.float64)
    return Pairs(kept["sentence1"], kept["sentence2"], score, kept.get("genre"))


def _column(raw: pd.DataFrame, where: str, field: str, column: str | int) -> list[Any]:
    names = list(raw.columns)
    if isinstance(column, int) and 0 <= column < len(names):
        return raw.iloc[:, column].tolist()
    if column in names:
        return raw[column].tolist()
    raise UserError(
        f"{where}: no column {column!r} for {field}; it has "
        f"{', '.join(map(reprlib.repr, names[:SHOWN_COLUMNS]))}"
        f"{' and more' if len(names) > SHOWN_COLUMNS else ''}. "
        f"Set data.columns.{field} to one of them, or to a number from 0 to {len(names) - 1}"
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
