"""What words alone say about a pair: token overlap, TF-IDF and BM25, to see what an encoder adds over them."""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from splade_sts.errors import UserError

NAMES = ("jaccard", "tfidf", "bm25")
# The usual values: Robertson & Zaragoza 2009, section 3.5, recommend 1.2 < k1 < 2 and 0.5 < b < 0.8.
K1, B = 1.2, 0.75


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, case folded."""
    return re.findall(r"\w+", text.casefold())


def overlap(first: str, second: str) -> float:
    """Jaccard index of the two sets of words, in [0, 1]; 0 where neither has a word."""
    one, other = set(words(first)), set(words(second))
    return len(one & other) / max(1, len(one | other))


class TfIdf:
    """Cosine of TF-IDF vectors (scikit-learn's `TfidfVectorizer`), fitted on `sentences`; other words count nothing.

    Raises:
        UserError: no sentence has a word.
    """

    def __init__(self, sentences: list[str]):
        if not any(map(words, sentences)):
            raise UserError("controls: no sentence of train holds a word (a letter or digit), so no control can be fitted")
        self.vectorizer = TfidfVectorizer(analyzer=words).fit(sentences)

    def scores(self, first: list[str], second: list[str]) -> np.ndarray:
        """Cosine of each pair: float64 (pairs,), in [0, 1]."""
        products = self.vectorizer.transform(first).multiply(self.vectorizer.transform(second))
        return np.asarray(products.sum(axis=1)).ravel()


class Bm25:
    """BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", equation 3.15).

    The statistics of words and lengths come from `sentences` alone. The weight of a word is Lucene's
    log(1 + (N - n + 0.5) / (n + 0.5)), which is never negative. BM25 has a query and a document, a pair has neither: the
    score is the mean of both directions, each as a share of what the query scores against itself, so that equal
    sentences score 1 and long ones do not score higher for being long.
    """

    def __init__(self, sentences: list[str]):
        bags = [Counter(words(sentence)) for sentence in sentences]
        self.sentences = len(bags)
        self.containing = Counter(word for bag in bags for word in bag)
        self.mean_length = sum(bag.total() for bag in bags) / len(bags)

    def score(self, query: str, document: str) -> float:
        """The plain BM25 score of `document` for `query`, a sum over the distinct words of the query; at least 0."""
        bag = Counter(words(document))
        length = K1 * (1 - B + B * bag.total() / self.mean_length)
        total = 0.0
        for word in dict.fromkeys(words(query)):  # no set: the order of a sum decides its last digit
            known = self.containing[word]
            weight = math.log(1 + (self.sentences - known + 0.5) / (known + 0.5))
            total += weight * bag[word] * (K1 + 1) / (bag[word] + length)
        return total

    def scores(self, first: list[str], second: list[str]) -> np.ndarray:
        """Symmetric score of each pair: float64 (pairs,)."""
        def share(query: str, document: str) -> float:
            own = self.score(query, query)
            return self.score(query, document) / own if own else 0.0

        return np.array([(share(a, b) + share(b, a)) / 2 for a, b in zip(first, second, strict=True)])


def dense_scores(folder: str, pairs: pd.DataFrame) -> np.ndarray:
    """Cosine by the dense `SentenceTransformer` in `folder` for each pair: float64 (pairs,). No network, no custom code.

    Raises:
        UserError: the folder holds no such model.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import pairwise_cos_sim

    import splade_sts.model.encoder  # noqa: F401 (quiets the libraries)

    try:
        model = SentenceTransformer(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UserError(f"controls.dense_model: {folder} cannot be loaded as a dense encoder: {error}") from None
    first, second = (
        model.encode(pairs[column].tolist(), convert_to_tensor=True, show_progress_bar=False)
        for column in ("sentence1", "sentence2")
    )
    return pairwise_cos_sim(first, second).cpu().numpy().astype("float64")


def score_pairs(train: pd.DataFrame, splits: dict[str, pd.DataFrame], dense_folder: str | None = None) -> dict[str, pd.DataFrame]:
    """Score the pairs of every split with each control, fitted on the distinct sentences of `train`.

    Returns:
        For each split `sentence1`, `sentence2`, `gold`, `jaccard`, `tfidf`, `bm25` and, where `dense_folder` is given,
        `dense`; float64.

    Raises:
        UserError: train holds no word, or `dense_folder` no dense encoder.
    """
    sentences = list(dict.fromkeys([*train["sentence1"], *train["sentence2"]]))
    tfidf, bm25 = TfIdf(sentences), Bm25(sentences)
    result = {}
    for split, pairs in splits.items():
        first, second = pairs["sentence1"].tolist(), pairs["sentence2"].tolist()
        scored = pairs[["sentence1", "sentence2"]].assign(
            gold=pairs["score"],
            jaccard=[overlap(a, b) for a, b in zip(first, second, strict=True)],
            tfidf=tfidf.scores(first, second),
            bm25=bm25.scores(first, second),
        )
        result[split] = scored.assign(dense=dense_scores(dense_folder, pairs)) if dense_folder else scored
    return result
