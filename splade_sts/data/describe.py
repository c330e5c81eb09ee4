"""What there is to know about the data before anything is trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from splade_sts.data.normalize import BadRow
from splade_sts.data.pairs import Pairs, Splits
from splade_sts.params import OnBadRow

HISTOGRAM_BINS = 10
LISTED_BAD_ROWS = 1000


@dataclass(frozen=True)
class SplitDescription:
    """A split in numbers.

    Attributes:
        rows: its pairs.
        mean_score: of its gold scores, in [0, 1].
        score_histogram: pairs in ten bins of equal width over [0, 1], the last one closed.
        words: of its distinct and repeated sentences, white-space separated: median, 90th and 99th
            percentile, maximum.
        duplicate_pairs: rows whose pair, in either order, stood earlier in the split.
        dropped: pairs left out by `data.on_leak`.
        bad_rows: rows left out by `data.on_bad_row`.
        first_bad_rows: the first `LISTED_BAD_ROWS` of them.
    """

    rows: int
    mean_score: float
    score_histogram: list[int]
    words_p50: float
    words_p90: float
    words_p99: float
    words_max: int
    duplicate_pairs: int
    dropped: int = 0
    bad_rows: int = 0
    first_bad_rows: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class Description:
    """All splits, and by `{split}_{split}` the number of distinct pairs that two of them have in
    common.
    """

    splits: dict[str, SplitDescription]
    shared_pairs: dict[str, int]

    def headlines(self, on_bad_row: OnBadRow = "stop") -> dict[str, Any]:
        """Rows of each split, the pairs of train that stand in another one, and, where bad rows are
        dropped, how many of them all splits had.
        """
        shared = {
            name: count for name, count in self.shared_pairs.items() if name.startswith("train_")
        }
        found: dict[str, Any] = {
            "rows": {name: split.rows for name, split in self.splits.items()},
            "shared_pairs": shared,
        }
        if on_bad_row == "drop":
            found["bad_rows"] = sum(split.bad_rows for split in self.splits.values())
        return found

    def content(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return asdict(self)


def describe(
    splits: Splits, dropped: int = 0, bad_rows: Mapping[str, Sequence[BadRow]] | None = None
) -> Description:
    """Describe normalized splits.

    Args:
        splits: the pairs of each split.
        dropped: pairs of train that are left out already, by `data.on_leak`.
        bad_rows: by split, the rows that are left out already, by `data.on_bad_row`.
    """
    bad = bad_rows or {}
    keys = {name: set(pairs.keys) for name, pairs in splits.items()}
    found = {name: _describe(pairs, bad.get(name, ())) for name, pairs in splits.items()}
    found["train"] = replace(found["train"], dropped=dropped)
    shared = {
        f"{one}_{other}": len(keys[one] & keys[other]) for one, other in combinations(splits, 2)
    }
    return Description(found, shared)


def _describe(pairs: Pairs, bad_rows: Sequence[BadRow]) -> SplitDescription:
    words = np.array([len(text.split()) for text in [*pairs.sentence1, *pairs.sentence2]])
    bins = np.minimum((pairs.score * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    p50, p90, p99 = (float(np.quantile(words, percent / 100)) for percent in (50, 90, 99))
    return SplitDescription(
        rows=len(pairs),
        mean_score=float(pairs.score.mean()),
        score_histogram=np.bincount(bins, minlength=HISTOGRAM_BINS).tolist(),
        words_p50=p50,
        words_p90=p90,
        words_p99=p99,
        words_max=int(words.max()),
        duplicate_pairs=len(pairs) - len(set(pairs.keys)),
        bad_rows=len(bad_rows),
        first_bad_rows=list(bad_rows[:LISTED_BAD_ROWS]),
    )
