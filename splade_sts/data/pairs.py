"""From raw rows to the normalized pairs that every later stage reads, and what there is to know about them."""

import math
import numbers
import reprlib
import unicodedata
from typing import Any

import pandas as pd

from splade_sts.errors import UserError

SHOWN_PROBLEMS = 10
SHOWN_COLUMNS = 30
# Unicode categories of spaces, controls and format characters (zero-width, direction marks); a text of them alone is empty.
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")
HISTOGRAM_BINS = 10


def normalize_split(
    raw: pd.DataFrame, where: str, columns: dict[str, str | int | None], score_range: list[float]
) -> pd.DataFrame:
    """Normalized pairs of one split.

    Args:
        raw: the rows as they came.
        where: name of the file for messages.
        columns: where `sentence1`, `sentence2`, `score` and, optionally, `genre` stand: a column's name, or its number
            from 0; None for no genre.
        score_range: lowest and highest score of the source, mapped to 0 and 1.

    Returns:
        `sentence1`, `sentence2` (Unicode NFC, outer white space stripped), `score` (float64 in [0, 1]) and, where it is
        asked for, `genre` (text like the sentences), in the order of `raw`.

    Raises:
        UserError: a column is missing, or any row has an empty sentence or a score that is empty, no number or
            outside `score_range`; counts all bad rows and shows the first ten.
    """
    low, high = score_range
    picked = {field: _column(raw, where, field, column) for field, column in columns.items() if column is not None}
    texts_of = [field for field in ("sentence1", "sentence2", "genre") if field in picked]
    problems: list[str] = []
    rows = []
    records = zip(picked["score"], *(picked[field] for field in texts_of), strict=True)
    for number, (score, *originals) in enumerate(records, start=1):
        texts = [_text(original) for original in originals]
        value = _score(score)
        found = []
        for field, original, text in zip(texts_of, originals, texts, strict=True):
            if text is None:
                found.append(f"{field} is {reprlib.repr(original)}; expected text that is not empty")
        if value is None or not low <= value <= high:
            found.append(f"score is {reprlib.repr(score)}; expected a number from {low:g} to {high:g} (data.score_range)")
        if found:
            problems.append(f"row {number}: " + "; ".join(found))
        else:
            rows.append((*texts[:2], (value - low) / (high - low), *texts[2:]))
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        shown = problems[:SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise UserError(f"{where}: {len(problems)} of {len(raw)} rows are bad:\n  " + "\n  ".join(shown))
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score", *texts_of[2:]]).astype({"score": "float64"})


def _column(raw: pd.DataFrame, where: str, field: str, column: str | int) -> list[Any]:
    names = list(raw.columns)
    if isinstance(column, int) and 0 <= column < len(names):
        return raw.iloc[:, column].tolist()
    if column in names:
        return raw[column].tolist()
    raise UserError(
        f"{where}: no column {column!r} for {field}; it has {', '.join(map(reprlib.repr, names[:SHOWN_COLUMNS]))}"
        f"{' and more' if len(names) > SHOWN_COLUMNS else ''}. "
        f"Set data.columns.{field} to one of them, or to a number from 0 to {len(names) - 1}"
    )


def _text(value: Any) -> str | None:
    """NFC without outer white space; None where nothing of it would be seen (only spaces, controls, format characters)."""
    if not isinstance(value, str):
        return None
    text = unicodedata.normalize("NFC", value).strip()
    return text if any(unicodedata.category(character) not in INVISIBLE for character in text) else None


def _score(value: Any) -> float | None:
    """The number that a number or its text stands for; Python's own `1_000` and `b"1"` are none."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Number, str)) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def pair_keys(pairs: pd.DataFrame) -> pd.Series:
    """One key a pair, the same for (a, b) and (b, a)."""
    return pd.Series(
        [tuple(sorted(pair)) for pair in zip(pairs["sentence1"], pairs["sentence2"], strict=True)],
        index=pairs.index, dtype=object,
    )


def drop_leaks(splits: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The splits, with the pairs of train that also stand in validation or test (in either order) dropped."""
    held_out = set(pair_keys(splits["validation"])) | set(pair_keys(splits["test"]))
    train = splits["train"]
    kept = train[[key not in held_out for key in pair_keys(train)]].reset_index(drop=True)
    if kept.empty:
        raise UserError("data.on_leak is drop_from_train, but every pair of train also occurs in validation or test")
    return {**splits, "train": kept}


def describe(splits: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """What metrics/data.json holds, per split and across splits.

    Per split: `rows`; `score.mean` and `score.histogram` (counts in ten bins of equal width over [0, 1], the last
    one closed); `words` (50th, 90th, 99th percentile and maximum of white-space separated words in a sentence);
    `duplicate_pairs` (rows whose pair, in either order, stood earlier in the split). Across splits:
    `shared_pairs`, the number of distinct pairs that two splits have in common.
    """
    keys = {split: pair_keys(pairs) for split, pairs in splits.items()}
    result: dict[str, Any] = {}
    for split, pairs in splits.items():
        words = pd.concat([pairs["sentence1"], pairs["sentence2"]]).str.split().str.len()
        bins = (pairs["score"] * HISTOGRAM_BINS).astype(int).clip(upper=HISTOGRAM_BINS - 1)
        result[split] = {
            "rows": len(pairs),
            "score": {
                "mean": float(pairs["score"].mean()),
                "histogram": [int((bins == number).sum()) for number in range(HISTOGRAM_BINS)],
            },
            "words": {
                **{f"p{percent}": float(words.quantile(percent / 100)) for percent in (50, 90, 99)},
                "max": int(words.max()),
            },
            "duplicate_pairs": int(keys[split].duplicated().sum()),
        }
    names = list(splits)
    result["shared_pairs"] = {
        f"{first}_{second}": len(set(keys[first]) & set(keys[second]))
        for index, first in enumerate(names) for second in names[index + 1 :]
    }
    return result
