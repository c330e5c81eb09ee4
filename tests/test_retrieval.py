"""The vectors of an evaluation: retrieval and cost from them, without encoding again."""

import numpy as np
import pandas as pd
import pytest
import torch

from splade_sts.model.encoder import load_encoder
from splade_sts.evaluation.correlation import evaluate_split
from splade_sts.evaluation.retrieval import relevant_partners, retrieval_metrics
from splade_sts.evaluation.encoded import Vectors, cost, tokens_per_second

PAIR = ["sentence1", "sentence2", "score"]


@pytest.fixture(scope="module")
def model(tiny_splade):
    return load_encoder(tiny_splade, device="cpu")


def test_relevant_partners():
    """From 0.8 on, both ways, several partners; a sentence is no partner of itself."""
    pairs = pd.DataFrame([("a", "b", 0.8), ("c", "a", 1.0), ("d", "e", 0.79), ("f", "f", 1.0)], columns=PAIR)
    assert relevant_partners(pairs) == {"a": {"b", "c"}, "b": {"a"}, "c": {"a"}}


def by_hand(vectors: dict[str, np.ndarray], pairs: pd.DataFrame) -> tuple[float, float, float]:
    """MRR@10, nDCG@10 and recall@10 from their definitions."""
    partners = relevant_partners(pairs)
    values = []
    for query, wanted in partners.items():
        others = [sentence for sentence in vectors if sentence != query]
        a = vectors[query]
        order = sorted(others, key=lambda s: -(a @ vectors[s]) / (np.linalg.norm(a) * np.linalg.norm(vectors[s]) + 1e-12))[:10]
        hits = [place for place, sentence in enumerate(order, start=1) if sentence in wanted]
        ideal = sum(1 / np.log2(place + 1) for place in range(1, min(10, len(wanted)) + 1))
        gain = sum(1 / np.log2(place + 1) for place in hits)
        values.append((1 / hits[0] if hits else 0, gain / ideal, len(hits) / len(wanted)))
    return tuple(np.mean(values, axis=0))


def test_retrieval_by_hand(model):
    """The library's evaluator on kept vectors gives the definitions' values on random vectors."""
    generator = np.random.default_rng(0)
    names = [f"s{number:02}" for number in range(40)]
    table = {name: (generator.uniform(size=30) * (generator.uniform(size=30) < 0.3)).astype("float32") for name in names}
    pairs = pd.DataFrame([(names[n], names[(n * 7 + 3) % 40], (n % 5) / 4) for n in range(40)], columns=PAIR)
    vectors = Vectors()
    for part in (names[:15], names[15:]):  # as two splits leave them
        dense = torch.from_numpy(np.stack([table[name] for name in part]))
        vectors.add(part, dense.to_sparse())
    found = retrieval_metrics(model, pairs, vectors)
    assert [found[f"{name}_at_10"] for name in ("mrr", "ndcg", "recall")] == pytest.approx(by_hand(table, pairs))
    assert found["queries"] == len(relevant_partners(pairs)) and found["documents"] == 40


def test_no_relevant_pair(model, pairs):
    """Nothing to find: no metrics."""
    assert retrieval_metrics(model, pairs.assign(score=0.79), Vectors()) is None
    same = pd.DataFrame([("a", "a", 1.0)] * 12, columns=PAIR)
    assert retrieval_metrics(model, same, Vectors()) is None


def test_cost_by_hand():
    """Shares of active entries, multiplied and summed; 8 bytes for each active entry."""
    vectors = Vectors()
    vectors.add(["a", "b", "c"], torch.tensor([[1.0, 0, 2], [0.0, 3, 0], [1.0, 1, 1]]).to_sparse())
    pairs = pd.DataFrame([("a", "b", 0.0), ("b", "c", 0.5)], columns=PAIR)
    # first sentences a, b: shares 1/2, 1/2, 1/2; second b, c: 1/2, 1, 1/2
    assert cost(pairs, vectors) == {"flops": 0.25 + 0.5 + 0.25, "index_bytes": 8 * (2 + 1 + 1 + 3) / 4}


def test_vectors_of_an_evaluation(model, pairs):
    """They are those of `encode`, for every sentence, each encoded once."""
    vectors = Vectors()
    metrics, _ = evaluate_split(model, pairs, "test", 8, 0.0, vectors=vectors)
    assert sorted(vectors.encoded) == sorted({*pairs["sentence1"], *pairs["sentence2"]})
    sentences = pairs["sentence1"].tolist()
    expected = model.encode(sentences, convert_to_sparse_tensor=True, show_progress_bar=False).to_dense()
    assert torch.allclose(vectors.of(sentences).to_dense(), expected, atol=1e-5)
    assert cost(pairs, vectors)["index_bytes"] == pytest.approx(8 * metrics["active_dims"])
    assert retrieval_metrics(model, pairs, vectors)["documents"] == len({*sentences, *pairs["sentence2"]})
    assert vectors.seconds > 0 and tokens_per_second(model, vectors) > 0
