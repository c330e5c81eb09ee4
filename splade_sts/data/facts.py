"""What can be said of pairs without their texts: numbers of each, and hashes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from splade_sts.data.pairs import InParts
from splade_sts.data.stored import hashes

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Facts:
    """The pairs of a split, 44 bytes each however long they are.

    Two keys of the same 64 bits would count as one: among 20 million sentences the chance that two
    such are there is 1 in 100,000.

    Attributes:
        score: gold scores, (pairs,).
        words: white-space separated words of both sentences, (2, pairs).
        sentences: hashes of `pairs.sentence_key` of both, (2, pairs).
        keys: a hash of each pair, the same for (a, b) and (b, a), (pairs,).
    """

    score: NDArray[np.float64]
    words: NDArray[np.int32]
    sentences: Hashes
    keys: Hashes

    @classmethod
    def of(cls, pairs: InParts) -> "Facts":
        """Go through pairs once."""
        rows = len(pairs)
        score, words = np.empty(rows), np.empty((2, rows), dtype=np.int32)
        sentences = np.empty((2, rows), dtype=np.uint64)
        start = 0
        for part in pairs.parts():
            place = slice(start, start := start + len(part))
            score[place] = part.score
            texts = (part.sentence1, part.sentence2)
            for side, (column, same) in enumerate(zip(texts, part.sentence_keys, strict=True)):
                words[side, place] = [len(text.split()) for text in column]
                sentences[side, place] = hashes(same)
        low, high = sentences.min(axis=0), sentences.max(axis=0)
        keys = pd.util.hash_array(pd.util.hash_array(low) + high)
        return cls(score, words, sentences, keys)

    def with_sentence_of(self, *others: "Facts") -> NDArray[np.bool_]:
        """Whether a sentence of a pair occurs in one of `others`, in any pair, on either side: bool
        (pairs,).
        """
        known = np.concatenate([other.sentences.ravel() for other in others])
        known.sort()
        first, second = (_among(known, side) for side in self.sentences)
        found: NDArray[np.bool_] = first | second
        return found

    def with_pair_of(self, *others: "Facts") -> NDArray[np.bool_]:
        """Whether the pair stands in one of `others`, in either order: bool (pairs,)."""
        return _among(np.sort(np.concatenate([other.keys for other in others])), self.keys)


def _among(known: Hashes, wanted: Hashes) -> NDArray[np.bool_]:
    """Which of `wanted` are in `known`, which is sorted and not empty. It takes less memory than
    `np.isin`, which sorts both.
    """
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == wanted
    return found


def repeated_scores(*facts: Facts) -> list[NDArray[np.float64]]:
    """The gold scores of each pair that stands in several rows of all together, in their order; the
    pairs in the order in which each first stands there.
    """
    keys = np.concatenate([one.keys for one in facts])
    score = np.concatenate([one.score for one in facts])
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(keys)))
    several = np.flatnonzero(sizes > 1)
    by_first = several[np.argsort(order[starts[several]], kind="stable")]
    return [score[order[starts[group] : starts[group] + sizes[group]]] for group in by_first]
