"""What words and characters alone say about a pair: token overlap, TF-IDF and BM25, to see what an
encoder adds over them.
"""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.text import words

# The usual values: Robertson & Zaragoza 2009, section 3.5, recommend 1.2 < k1 < 2 and 0.5 < b <
# 0.8.
K1, B = 1.2, 0.75

Scores = NDArray[np.float64]


def overlap(pairs: Pairs) -> Scores:
    """Jaccard index of the two sets of words of each pair, in [0, 1]; 0 where neither has a word:
    (pairs,).
    """

    def one(first: str, second: str) -> float:
        left, right = set(words(first)), set(words(second))
        return len(left & right) / max(1, len(left | right))

    return np.array([one(a, b) for a, b in zip(pairs.sentence1, pairs.sentence2, strict=True)])


# Lengths of the character n-grams, in characters.
SHORTEST, LONGEST = 2, 5


class TfIdf:
    """Cosine of TF-IDF vectors (scikit-learn's `TfidfVectorizer`), fitted on `sentences`; what
    occurs in none of them counts nothing.

    Args:
        sentences: any number of sentences.
        characters: False weighs words; True runs of 2 to 5 characters within a word and the space
            around it (`char_wb`), each by 1 + log of its count in the sentence (`sublinear_tf`).

    Raises:
        UserError: no sentence has a word.
    """

    def __init__(self, sentences: list[str], characters: bool = False):
        if not any(map(words, sentences)):
            raise UserError(
                "controls: no sentence of train holds a word (a letter or digit), so no control "
                "can be fitted"
            )
        if characters:
            vectorizer = TfidfVectorizer(
                analyzer="char_wb", ngram_range=(SHORTEST, LONGEST), sublinear_tf=True
            )
        else:
            vectorizer = TfidfVectorizer(analyzer=words)
        self.vectorizer = vectorizer.fit(sentences)

    def scores(self, pairs: Pairs) -> Scores:
        """Cosine of each pair, in [0, 1]: (pairs,)."""
        first, second = (
            self.vectorizer.transform(side) for side in (pairs.sentence1, pairs.sentence2)
        )
        found: Scores = np.asarray(first.multiply(second).sum(axis=1)).ravel()
        return found


class Bm25:
    """BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond",
    equation 3.15).

    The statistics of words and lengths come from `sentences` alone. The weight of a word is
    Lucene's log(1 + (N - n + 0.5) / (n + 0.5)), which is never negative. BM25 has a query and a
    document, a pair has neither: the score is the mean of both directions, each as a share of what
    the query scores against itself, so that equal sentences score 1 and long ones do not score
    higher for being long.
    """

    def __init__(self, sentences: list[str]):
        bags = [Counter(words(sentence)) for sentence in sentences]
        self.sentences = len(bags)
        self.containing = Counter(word for bag in bags for word in bag)
        self.mean_length = sum(bag.total() for bag in bags) / len(bags)

    def score(self, query: str, document: str) -> float:
        """The plain BM25 score of `document` for `query`, a sum over the distinct words of the
        query; at least 0.
        """
        bag = Counter(words(document))
        length = K1 * (1 - B + B * bag.total() / self.mean_length)
        total = 0.0
        for word in dict.fromkeys(
            words(query)
        ):  # no set: the order of a sum decides its last digit
            known = self.containing[word]
            weight = math.log(1 + (self.sentences - known + 0.5) / (known + 0.5))
            total += weight * bag[word] * (K1 + 1) / (bag[word] + length)
        return total

    def scores(self, pairs: Pairs) -> Scores:
        """Symmetric score of each pair: (pairs,)."""

        def share(query: str, document: str) -> float:
            own = self.score(query, query)
            return self.score(query, document) / own if own else 0.0

        both = zip(pairs.sentence1, pairs.sentence2, strict=True)
        return np.array([(share(a, b) + share(b, a)) / 2 for a, b in both])


def fit(train: Pairs) -> dict[str, Callable[[Pairs], Scores]]:
    """The controls by name, fitted on the distinct sentences of `train`: each gives a score for
    every pair.

    Raises:
        UserError: train holds no word.
    """
    sentences = train.sentences
    return {
        "jaccard": overlap,
        "tfidf": TfIdf(sentences).scores,
        "char_tfidf": TfIdf(sentences, characters=True).scores,
        "bm25": Bm25(sentences).scores,
    }
