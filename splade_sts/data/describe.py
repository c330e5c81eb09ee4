"""What there is to know about the data before anything is trained on it."""

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from splade_sts.data.pairs import Pairs, Splits

HISTOGRAM_BINS = 10


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


@dataclass(frozen=True)
class Description:
    """All splits, and by `{split}_{split}` the number of distinct pairs that two of them have in
    common.
    """

    splits: dict[str, SplitDescription]
    shared_pairs: dict[str, int]

    def headlines(self) -> dict[str, Any]:
        """Rows of each split, and the pairs of train that stand in another one."""
        shared = {
            name: count for name, count in self.shared_pairs.items() if name.startswith("train_")
        }
        return {
            "rows": {name: split.rows for name, split in self.splits.items()},
            "shared_pairs": shared,
        }

    def content(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return asdict(self)


def describe(splits: Splits, dropped: int = 0) -> Description:
    """Describe normalized splits, `dropped` pairs of train being left out already."""
    keys = {name: set(pairs.keys) for name, pairs in splits.items()}
    found = {name: _describe(pairs) for name, pairs in splits.items()}
    found["train"] = replace(found["train"], dropped=dropped)
    shared = {
        f"{one}_{other}": len(keys[one] & keys[other]) for one, other in combinations(splits, 2)
    }
    return Description(found, shared)


def _describe(pairs: Pairs) -> SplitDescription:
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
    )
