"""Parts of a split: without what training has seen, and by gold score, length, overlap and genre."""

import pandas as pd

from splade_sts.controls.lexical import words
from splade_sts.errors import UserError

# Below this number of pairs the 95 % interval of a correlation near 0 is wider than +-0.28 (Fisher 1915: 1.96 / sqrt(n - 3)).
MINIMUM_SLICE = 50
PERCENT_BANDS = ((0, 20), (20, 40), (40, 60), (60, 80), (80, 100))
OVERLAP_BANDS = ((0, 25), (25, 50), (50, 75), (75, 100))
LENGTH_BANDS = ((1, 8), (9, 16), (17, None))


def sentence_key(text: str) -> str:
    """What counts as the same sentence as another: case and white space do not matter."""
    return " ".join(text.casefold().split())


def unseen(pairs: pd.DataFrame, train: pd.DataFrame) -> pd.Series:
    """Whether neither sentence of a pair occurs in `train` (in any pair, on either side): boolean, one a pair."""
    seen = {sentence_key(text) for column in ("sentence1", "sentence2") for text in train[column]}
    fresh = [pairs[column].map(lambda text: sentence_key(text) not in seen) for column in ("sentence1", "sentence2")]
    return (fresh[0] & fresh[1]).astype(bool)


def slices(pairs: pd.DataFrame, overlap: pd.Series) -> dict[str, pd.Series]:
    """The slice that each pair belongs to, by each way of slicing; slices in order.

    Args:
        pairs: `sentence1`, `sentence2`, `score` in [0, 1] and, where the data has it, `genre`.
        overlap: Jaccard index of the words of each pair, in [0, 1].

    Returns:
        Categorical series, one category a slice: `gold` and `overlap` (bands in percent of their range, the last one
        closed), `length` (words of the longer sentence), `genre` where there is one.
    """
    lengths = [pairs[column].map(lambda text: len(words(text))) for column in ("sentence1", "sentence2")]
    longest = pd.concat(lengths, axis=1).max(axis=1)
    lengths = [f"{low}-{high}" if high else f"{low}+" for low, high in LENGTH_BANDS]
    result = {
        "gold": _percent(pairs["score"], PERCENT_BANDS),
        "length": pd.cut(longest, [-1, *(high for _, high in LENGTH_BANDS[:-1]), float("inf")], labels=lengths),
        "overlap": _percent(overlap, OVERLAP_BANDS),
    }
    if "genre" in pairs:
        result["genre"] = pairs["genre"].astype("category")
    return result


def _percent(values: pd.Series, bands: tuple[tuple[int, int], ...]) -> pd.Series:
    edges = [low / 100 for low, _ in bands] + [float("inf")]
    return pd.cut(values, edges, right=False, labels=[f"{low}-{high}" for low, high in bands])


def check_genre(splits: dict[str, pd.DataFrame], column: str | int | None) -> None:
    """Raise `UserError` where `data.columns.genre` names a column and the normalized splits have none."""
    missing = [split for split, pairs in splits.items() if column is not None and "genre" not in pairs]
    if missing:
        raise UserError(
            f"data.columns.genre is {column!r}, but data/normalized has no genre for {', '.join(missing)}; run dvc repro"
        )
