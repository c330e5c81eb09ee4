"""Paraphrase search, against its definitions."""

import numpy as np
import pytest
import torch

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.retrieval import relevant_partners, retrieval
from splade_sts.model.encoder import load_encoder


def made(*rows: tuple[str, str, float]) -> Pairs:
    first, second, score = zip(*rows, strict=True)
    return Pairs(list(first), list(second), np.array(score))


def test_relevant_partners():
    """From 0.8 on, both ways, several partners; a sentence is no partner of itself."""
    pairs = made(("a", "b", 0.8), ("c", "a", 1.0), ("d", "e", 0.79), ("f", "f", 1.0))
    assert relevant_partners(pairs) == {"a": {"b", "c"}, "b": {"a"}, "c": {"a"}}


def by_hand(vectors: dict[str, np.ndarray], pairs: Pairs) -> list[float]:
    """MRR@10, nDCG@10 and recall@10 from their definitions."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12)

    def gain(places) -> float:
        return sum(1 / np.log2(place + 1) for place in places)

    values = []
    for query, wanted in relevant_partners(pairs).items():
        others = [sentence for sentence in vectors if sentence != query]
        order = sorted(others, key=lambda other: -cosine(vectors[query], vectors[other]))[:10]
        hits = [place for place, sentence in enumerate(order, start=1) if sentence in wanted]
        ideal = gain(range(1, min(10, len(wanted)) + 1))
        values.append((1 / hits[0] if hits else 0, gain(hits) / ideal, len(hits) / len(wanted)))
    return np.mean(values, axis=0).tolist()


@pytest.fixture(scope="module")
def model(tiny_splade):
    return load_encoder(tiny_splade, device="cpu")


def test_by_hand(model):
    """The library's evaluator gives the definitions' values on random vectors."""
    generator = np.random.default_rng(0)
    names = [f"s{number:02}" for number in range(40)]
    values = generator.uniform(size=(40, 30)) * (generator.uniform(size=(40, 30)) < 0.3)
    rows = values.astype("float32")
    pairs = made(*((names[n], names[(n * 7 + 3) % 40], (n % 5) / 4) for n in range(40)))
    encoded = EncodedSentences(names, torch.from_numpy(rows).to_sparse(), 0.0)
    found = retrieval(model, pairs, encoded)
    measures = [found.mrr_at_10, found.ndcg_at_10, found.recall_at_10]
    assert measures == pytest.approx(by_hand(dict(zip(names, rows, strict=True)), pairs))
    assert (found.queries, found.documents) == (len(relevant_partners(pairs)), 40)


@pytest.mark.parametrize(
    "rows", [[("a", "b", 0.79)] * 12, [("a", "a", 1.0)] * 12], ids=["no paraphrase", "the same"]
)
def test_nothing_to_find(model, rows):
    """No metrics."""
    encoded = EncodedSentences([], torch.empty(0, 30).to_sparse(), 0.0)
    assert retrieval(model, made(*rows), encoded) is None


def test_two_spellings_are_one_sentence(model):
    """One of them is no partner of the other, nor a document that stands before the partner."""
    pairs = made(("A cat", "a  cat", 1.0), ("a cat", "cats", 1.0), ("a  cat", "dog", 0.1))
    names = ["A cat", "cats", "dog"]
    vectors = torch.zeros(3, 30)
    vectors[:, 0] = torch.tensor([1.0, 0.5, 0.1])
    vectors[1, 1], vectors[2, 2] = 0.5, 1.0
    found = retrieval(model, pairs, EncodedSentences(names, vectors.to_sparse(), 0.0))
    assert (found.queries, found.documents, found.mrr_at_10) == (2, 3, 1.0)
