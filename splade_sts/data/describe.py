"""What there is to know about the data before anything is trained on it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from splade_sts.data.near import nearly_known
from splade_sts.data.noise import LabelNoise, label_noise
from splade_sts.data.normalize import BadRow
from splade_sts.data.pairs import Pairs, Splits, leaks
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
        duplicate_groups: the distinct pairs that stand in more than one row.
        contradicting_groups: those of them whose rows have different gold scores.
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
    duplicate_groups: int
    contradicting_groups: int
    dropped: int = 0
    bad_rows: int = 0
    first_bad_rows: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class Overlap:
    """How many pairs of one split know something of another one.

    Attributes:
        same_pair: the pair stands there, in either order.
        same_sentence: a sentence occurs there, in any pair; those above among them.
        near_sentence: no sentence occurs there, but one has nearly the words of one that does
            (`splade_sts.data.near`).
    """

    same_pair: int
    same_sentence: int
    near_sentence: int


@dataclass(frozen=True)
class Description:
    """What is known of all splits. Which sentences are the same: `pairs.sentence_key`.

    Attributes:
        splits: each by itself.
        shared_pairs: by `{split}_{split}` the number of distinct pairs that two have in common.
        overlaps: by `{split}_in_{split}`: held-out splits in train, and test in validation.
        leaks: by the value of `data.on_leak`, the pairs of train that it would leave out of those
            that are there.
        label_noise: how far gold scores of the same pair are apart, and what that allows.
        test_sets: each further test set by itself.
    """

    splits: dict[str, SplitDescription]
    shared_pairs: dict[str, int]
    overlaps: dict[str, Overlap]
    leaks: dict[str, int]
    label_noise: LabelNoise
    test_sets: dict[str, SplitDescription] = field(default_factory=dict)

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
    splits: Splits,
    dropped: int = 0,
    bad_rows: Mapping[str, Sequence[BadRow]] | None = None,
    test_sets: Splits | None = None,
) -> Description:
    """Describe normalized splits and further test sets.

    Args:
        splits: the pairs of each split.
        dropped: pairs of train that are left out already, by `data.on_leak`.
        bad_rows: by split or set, the rows that are left out already, by `data.on_bad_row`.
        test_sets: the pairs of each further test set.
    """
    bad = bad_rows or {}
    keys = {name: set(pairs.keys) for name, pairs in splits.items()}
    found = {name: _describe(pairs, bad.get(name, ())) for name, pairs in splits.items()}
    found["train"] = replace(found["train"], dropped=dropped)
    shared = {
        f"{one}_{other}": len(keys[one] & keys[other]) for one, other in combinations(splits, 2)
    }
    found_leaks = {
        name: int(leaks(splits, sentences).sum())
        for name, sentences in (("drop_from_train", False), ("drop_sentences_from_train", True))
    }
    sets = {name: _describe(pairs, bad.get(name, ())) for name, pairs in (test_sets or {}).items()}
    return Description(found, shared, _overlaps(splits), found_leaks, label_noise(splits), sets)


def _overlaps(splits: Splits) -> dict[str, Overlap]:
    train, validation, test = (splits[split] for split in ("train", "validation", "test"))
    near_train = nearly_known([*validation.sentences, *test.sentences], train.sentences)
    near_validation = nearly_known(test.sentences, validation.sentences)
    return {
        "validation_in_train": _overlap(validation, train, near_train),
        "test_in_train": _overlap(test, train, near_train),
        "test_in_validation": _overlap(test, validation, near_validation),
    }


def _overlap(pairs: Pairs, other: Pairs, near: set[str]) -> Overlap:
    """`near`: the sentences that have nearly the words of one of `other`."""
    known, same = set(other.keys), pairs.with_sentence_of(other)
    both = zip(pairs.sentence1, pairs.sentence2, same, strict=True)
    return Overlap(
        same_pair=sum(key in known for key in pairs.keys),
        same_sentence=int(same.sum()),
        near_sentence=sum(not seen and (a in near or b in near) for a, b, seen in both),
    )


def _describe(pairs: Pairs, bad_rows: Sequence[BadRow]) -> SplitDescription:
    words = np.array([len(text.split()) for text in [*pairs.sentence1, *pairs.sentence2]])
    bins = np.minimum((pairs.score * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    scores = defaultdict(list)
    for key, score in zip(pairs.keys, pairs.score.tolist(), strict=True):
        scores[key].append(score)
    repeated = [found for found in scores.values() if len(found) > 1]
    p50, p90, p99 = (float(np.quantile(words, percent / 100)) for percent in (50, 90, 99))
    return SplitDescription(
        rows=len(pairs),
        mean_score=float(pairs.score.mean()),
        score_histogram=np.bincount(bins, minlength=HISTOGRAM_BINS).tolist(),
        words_p50=p50,
        words_p90=p90,
        words_p99=p99,
        words_max=int(words.max()),
        duplicate_pairs=len(pairs) - len(scores),
        duplicate_groups=len(repeated),
        contradicting_groups=sum(len(set(found)) > 1 for found in repeated),
        bad_rows=len(bad_rows),
        first_bad_rows=list(bad_rows[:LISTED_BAD_ROWS]),
    )
