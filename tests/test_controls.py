"""Words alone: overlap, TF-IDF, BM25, and the dense reference."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from splade_sts.controls.lexical import Bm25, TfIdf, dense_scores, overlap, score_pairs, words
from splade_sts.errors import UserError
from splade_sts.params import ControlsParams
from stages.controls import dense_folder

TRAIN = pd.DataFrame(
    [("a cat sat on the mat", "the cat sat", 0.8), ("a dog ran", "the dog ran far away", 0.7), ("birds fly", "fish swim", 0.0)],
    columns=["sentence1", "sentence2", "score"],
)
SENTENCES = [*TRAIN["sentence1"], *TRAIN["sentence2"]]


def test_words():
    """Case folded, split at everything that is no letter, digit or underscore; other scripts are letters, too."""
    assert words("The STRASSE, the Straße: 3.5!") == ["the", "strasse", "the", "strasse", "3", "5"]
    assert words("Кот спит") == ["кот", "спит"] and words("!? …") == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("a cat", "A cat!", 1), ("a cat", "a dog", 1 / 3), ("a a a cat", "cat a", 1), ("x", "y", 0), ("!", "?", 0), ("!", "x", 0)],
)
def test_overlap(first, second, expected):
    """Sets of words, both ways the same."""
    assert overlap(first, second) == overlap(second, first) == expected


def test_tfidf_is_scikit_learns():
    """Cosines of its vectors; words that train lacks count nothing."""
    vectors = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit(SENTENCES).transform(["the cat ran zzz", "a cat sat"]).toarray()
    assert TfIdf(SENTENCES).scores(["the cat ran zzz"], ["a cat sat"]) == pytest.approx([vectors[0] @ vectors[1]])
    assert TfIdf(SENTENCES).scores(["zzz", "the dog"], ["zzz", "the dog"]) == pytest.approx([0, 1])


def test_bm25_by_hand():
    """One shared word, computed from the formula: N = 6 sentences, "cat" in 2 of them, mean length 21 / 6."""
    bm25 = Bm25(SENTENCES)
    assert bm25.sentences == 6 and bm25.containing["cat"] == 2 and bm25.mean_length == 21 / 6
    weight = math.log(1 + (6 - 2 + 0.5) / (2 + 0.5))
    expected = weight * 2 * 2.2 / (2 + 1.2 * (1 - 0.75 + 0.75 * 3 / 3.5))
    assert bm25.score("my cat", "cat and cat") == pytest.approx(expected)


def test_bm25_of_a_library():
    """bm25s 0.3.16, method "lucene", k1 1.2, b 0.75, gave these; Lucene leaves out the constant factor k1 + 1."""
    documents = [
        "a cat is a feline and likes to purr", "a dog is the human's best friend and loves to play",
        "a bird is a beautiful animal that can fly", "a fish is a creature that lives in water and swims",
    ]
    bm25 = Bm25(documents)
    found = [bm25.score("does the fish purr like a cat", document) / 2.2 for document in documents]
    assert found == pytest.approx([1.2201818, 0.55629706, 0.06818913, 0.5958776])


def test_bm25_of_pairs():
    """Symmetric, 1 for equal sentences of any length, 0 without a shared word or without words."""
    first = ["a cat", "the dog ran far away from home", "birds", "?", "a cat sat"]
    second = ["a cat", "the dog ran far away from home", "fish", "!", "the cat"]
    found = Bm25(SENTENCES).scores(first, second)
    assert found[:4] == pytest.approx([1, 1, 0, 0]) and 0 < found[4] < 1
    assert Bm25(SENTENCES).scores(second, first) == pytest.approx(found)


def test_statistics_come_from_train_alone():
    """What else is in a split does not change the score of a pair."""
    pair = pd.DataFrame([("the cat ran", "a cat sat", 0.5)], columns=["sentence1", "sentence2", "score"])
    more = pd.concat([pair, pd.DataFrame([("cat cat cat", "ran", 0.1)] * 20, columns=pair.columns)], ignore_index=True)
    alone, among = (score_pairs(TRAIN, {"test": table})["test"] for table in (pair, more))
    assert alone.iloc[0].tolist() == among.iloc[0].tolist()
    assert list(alone.columns) == ["sentence1", "sentence2", "gold", "jaccard", "tfidf", "bm25"]


def test_train_without_words():
    """One message instead of scikit-learn's."""
    train = pd.DataFrame([("!", "?", 0.5)], columns=["sentence1", "sentence2", "score"])
    with pytest.raises(UserError, match="no sentence of train holds a word"):
        score_pairs(train, {"test": TRAIN})


def test_dense_reference(tiny_bert, tmp_path):
    """The cosine of a dense encoder's vectors; a folder without a model is refused by the name of the parameter."""
    from sentence_transformers import SentenceTransformer

    rows = [("the dog runs", "a red car", 0.2), ("the cat", "the cat", 1.0)]
    pairs = pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])
    found = score_pairs(pairs, {"test": pairs}, str(tiny_bert))["test"]["dense"]
    model = SentenceTransformer(str(tiny_bert))
    expected = model.similarity_pairwise(model.encode(pairs["sentence1"].tolist()), model.encode(pairs["sentence2"].tolist()))
    assert np.allclose(found, expected, atol=1e-5) and found[1] == pytest.approx(1, abs=1e-5)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="controls.dense_model: .* cannot be loaded"):
        dense_scores(str(tmp_path), pairs)


def test_where_the_dense_model_lies(tmp_path):
    """None by default; a folder as it is; one that does not exist is told by the parameter's name."""
    assert dense_folder(ControlsParams(dense_model=None, dense_revision=None)) is None
    assert dense_folder(ControlsParams(dense_model=str(tmp_path), dense_revision=None)) == str(tmp_path)
    missing = ControlsParams(dense_model=str(tmp_path / "nowhere"), dense_revision=None)
    with pytest.raises(UserError, match="controls.dense_model .*: .*nowhere not found"):
        dense_folder(missing)
