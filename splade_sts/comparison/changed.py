"""The pairs that fine-tuning changed most."""

from dataclasses import dataclass

import numpy as np

from splade_sts.evaluation.results import Predictions


@dataclass(frozen=True)
class ChangedPair:
    """A pair before and after.

    Attributes:
        gold: gold score, in [0, 1].
        base, finetuned: cosines.
        gain: how much closer to the gold score the cosine came: error before minus error after.
        base_terms, finetuned_terms: shared terms with their shares of the cosine, largest first.
    """

    sentence1: str
    sentence2: str
    gold: float
    base: float
    finetuned: float
    gain: float
    base_terms: list[tuple[str, float]]
    finetuned_terms: list[tuple[str, float]]


@dataclass(frozen=True)
class ChangedPairs:
    """The pairs of a split whose error |cosine - gold| fell most, and those where it rose most;
    largest change first.
    """

    gained: list[ChangedPair]
    lost: list[ChangedPair]


def changed_pairs(base: Predictions, finetuned: Predictions, count: int) -> ChangedPairs:
    """At most `count` pairs each way; ties in the order of the split."""
    gold = base.pairs.score
    gains = np.abs(base.cosine - gold) - np.abs(finetuned.cosine - gold)

    def pair(row: int) -> ChangedPair:
        return ChangedPair(
            sentence1=base.pairs.sentence1[row],
            sentence2=base.pairs.sentence2[row],
            gold=float(gold[row]),
            base=float(base.cosine[row]),
            finetuned=float(finetuned.cosine[row]),
            gain=float(gains[row]),
            base_terms=base.terms[row],
            finetuned_terms=finetuned.terms[row],
        )

    rising, falling = np.argsort(-gains, kind="stable"), np.argsort(gains, kind="stable")
    return ChangedPairs(
        gained=[pair(row) for row in rising[:count] if gains[row] > 0],
        lost=[pair(row) for row in falling[:count] if gains[row] < 0],
    )
