"""What there is to know about the data before anything is trained on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, combinations
from typing import Any

import numpy as np

from splade_sts import layout
from splade_sts.data.facts import Facts, repeated_scores
from splade_sts.data.near import nearly_known
from splade_sts.data.noise import LabelNoise, label_noise
from splade_sts.data.normalize import BadRow
from splade_sts.data.pairs import InParts
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
    splits: Mapping[str, InParts],
    dropped: int = 0,
    bad_rows: Mapping[str, Sequence[BadRow]] | None = None,
    test_sets: Mapping[str, InParts] | None = None,
) -> Description:
    """Describe normalized splits and further test sets.

    Of train no more than a part is held at a time, and `Facts`; the texts of the others are.

    Args:
        splits: the pairs of each split.
        dropped: pairs of train that are left out already, by `data.on_leak`.
        bad_rows: by split or set, the rows that are left out already, by `data.on_bad_row`.
        test_sets: the pairs of each further test set.
    """
    bad = bad_rows or {}
    facts = {name: Facts.of(pairs) for name, pairs in splits.items()}
    found = {name: _describe(one, bad.get(name, ())) for name, one in facts.items()}
    found["train"] = replace(found["train"], dropped=dropped)
    shared = {
        f"{one}_{other}": len(np.intersect1d(facts[one].keys, facts[other].keys))
        for one, other in combinations(splits, 2)
    }
    train, held_out = facts["train"], [facts[split] for split in layout.HELD_OUT]
    found_leaks = {
        "drop_from_train": int(train.with_pair_of(*held_out).sum()),
        "drop_sentences_from_train": int(train.with_sentence_of(*held_out).sum()),
    }
    sets = {
        name: _describe(Facts.of(pairs), bad.get(name, ()))
        for name, pairs in (test_sets or {}).items()
    }
    return Description(
        found, shared, _overlaps(splits, facts), found_leaks, label_noise(facts), sets
    )


def _overlaps(splits: Mapping[str, InParts], facts: Mapping[str, Facts]) -> dict[str, Overlap]:
    train, validation, test = (splits[split] for split in ("train", "validation", "test"))
    both = {*_sentences(validation), *_sentences(test)}
    near = {
        "train": nearly_known(both, _sentences(train)),
        "validation": nearly_known(set(_sentences(test)), _sentences(validation)),
    }
    return {
        f"{one}_in_{other}": _overlap(splits[one], facts[one], facts[other], near[other])
        for one, other in (("validation", "train"), ("test", "train"), ("test", "validation"))
    }


def _sentences(pairs: InParts) -> Iterator[str]:
    """The distinct sentences of each part."""
    return chain.from_iterable(part.sentences for part in pairs.parts())


def _overlap(pairs: InParts, own: Facts, other: Facts, near: set[str]) -> Overlap:
    """`near`: the sentences that have nearly the words of one of `other`."""
    same = own.with_sentence_of(other)
    sides = (
        pair for part in pairs.parts() for pair in zip(part.sentence1, part.sentence2, strict=True)
    )
    return Overlap(
        same_pair=int(own.with_pair_of(other).sum()),
        same_sentence=int(same.sum()),
        near_sentence=sum(
            not seen and (one in near or two in near)
            for (one, two), seen in zip(sides, same.tolist(), strict=True)
        ),
    )


def _describe(facts: Facts, bad_rows: Sequence[BadRow]) -> SplitDescription:
    bins = np.minimum((facts.score * HISTOGRAM_BINS).astype(int), HISTOGRAM_BINS - 1)
    repeated = repeated_scores(facts)
    p50, p90, p99 = (float(np.quantile(facts.words, percent / 100)) for percent in (50, 90, 99))
    return SplitDescription(
        rows=len(facts.score),
        mean_score=float(facts.score.mean()),
        score_histogram=np.bincount(bins, minlength=HISTOGRAM_BINS).tolist(),
        words_p50=p50,
        words_p90=p90,
        words_p99=p99,
        words_max=int(facts.words.max()),
        duplicate_pairs=sum(map(len, repeated)) - len(repeated),
        duplicate_groups=len(repeated),
        contradicting_groups=sum(bool(np.ptp(found) > 0) for found in repeated),
        bad_rows=len(bad_rows),
        first_bad_rows=list(bad_rows[:LISTED_BAD_ROWS]),
    )
