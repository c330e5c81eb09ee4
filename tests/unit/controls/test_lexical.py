"""Words and characters alone: overlap, TF-IDF and BM25."""

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from splade_sts.controls.lexical import Bm25, TfIdf, fit, overlap
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError


def made(*pairs: tuple[str, str]) -> Pairs:
    first, second = zip(*pairs, strict=True)
    return Pairs(list(first), list(second), np.zeros(len(pairs)))


TRAIN = made(
    ("a cat sat on the mat", "the cat sat"),
    ("a dog ran", "the dog ran far away"),
    ("birds fly", "fish swim"),
)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a cat", "A cat!", 1),
        ("a cat", "a dog", 1 / 3),
        ("a a a cat", "cat a", 1),
        ("x", "y", 0),
        ("!", "?", 0),
        ("!", "x", 0),
    ],
)
def test_overlap(first, second, expected):
    """Sets of words, both ways the same."""
    assert overlap(made((first, second), (second, first))).tolist() == [expected] * 2


def test_tfidf_is_scikit_learns():
    """Cosines of its vectors; words that train lacks count nothing."""
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit(TRAIN.sentences)
    first, second = vectorizer.transform(["the cat ran zzz", "a cat sat"]).toarray()
    tfidf = TfIdf(TRAIN.sentences)
    found = tfidf.scores(made(("the cat ran zzz", "a cat sat"), ("zzz", "zzz"), ("dog", "the dog")))
    assert found[0] == pytest.approx(first @ second)
    assert found[1] == 0
    assert tfidf.scores(made(("the dog", "dog the")))[0] == pytest.approx(1)


def test_tfidf_of_characters():
    """Runs of 2 to 5 characters within words: word forms have much in common; runs that train lacks
    count nothing.
    """
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    first, second = vectorizer.fit(TRAIN.sentences).transform(["birds fly", "a bird flies"])
    tfidf = TfIdf(TRAIN.sentences, characters=True)
    pairs = made(("birds fly", "a bird flies"), ("BIRDS", "birds"), ("qqq", "qqq"), ("cat", "fish"))
    found = tfidf.scores(pairs)
    assert found[0] == pytest.approx((first @ second.T).sum())
    assert TfIdf(TRAIN.sentences).scores(pairs)[0] == 0 < 0.3 < found[0]
    assert found[1:] == pytest.approx([1, 0, 0])
    assert "cat" in tfidf.vectorizer.vocabulary_
    assert max(map(len, tfidf.vectorizer.vocabulary_)) == 5


def test_bm25_by_hand():
    """One shared word, computed from the formula: N = 6 sentences, "cat" in 2 of them, mean length
    21 / 6.
    """
    bm25 = Bm25(TRAIN.sentences)
    assert (bm25.sentences, bm25.containing["cat"], bm25.mean_length) == (6, 2, 21 / 6)
    weight = math.log(1 + (6 - 2 + 0.5) / (2 + 0.5))
    expected = weight * 2 * 2.2 / (2 + 1.2 * (1 - 0.75 + 0.75 * 3 / 3.5))
    assert bm25.score("my cat", "cat and cat") == pytest.approx(expected)


def test_bm25_of_a_library():
    """bm25s 0.3.16, method "lucene", k1 1.2, b 0.75, gave these; Lucene leaves out the constant
    factor k1 + 1.
    """
    documents = [
        "a cat is a feline and likes to purr",
        "a dog is the human's best friend and loves to play",
        "a bird is a beautiful animal that can fly",
        "a fish is a creature that lives in water and swims",
    ]
    bm25, query = Bm25(documents), "does the fish purr like a cat"
    found = [bm25.score(query, document) / 2.2 for document in documents]
    assert found == pytest.approx([1.2201818, 0.55629706, 0.06818913, 0.5958776])


def test_bm25_of_pairs():
    """Symmetric, 1 for equal sentences of any length, 0 without a shared word or without words."""
    long = "the dog ran far away from home"
    pairs = made(
        ("a cat", "a cat"), (long, long), ("birds", "fish"), ("?", "!"), ("a cat sat", "the cat")
    )
    swapped = Pairs(pairs.sentence2, pairs.sentence1, pairs.score)
    found = Bm25(TRAIN.sentences).scores(pairs)
    assert found[:4] == pytest.approx([1, 1, 0, 0])
    assert 0 < found[4] < 1
    assert Bm25(TRAIN.sentences).scores(swapped) == pytest.approx(found)


def test_statistics_come_from_train_alone():
    """What else is in a split does not change the score of a pair."""
    pair, other = ("the cat ran", "a cat sat"), ("cat cat cat", "ran")
    controls = fit(TRAIN)
    assert list(controls) == ["jaccard", "tfidf", "char_tfidf", "bm25"]
    for scores in controls.values():
        assert scores(made(pair))[0] == scores(made(pair, *[other] * 20))[0]


def test_train_without_words():
    """One message instead of scikit-learn's."""
    with pytest.raises(UserError, match="no sentence of train holds a word"):
        fit(made(("!", "?")))
