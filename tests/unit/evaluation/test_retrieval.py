"""Searches, against their definitions and the library's evaluator."""

import numpy as np
import pytest
import torch
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

from splade_sts.data.pairs import Pairs
from splade_sts.data.search import Search
from splade_sts.errors import UserError
from splade_sts.evaluation import retrieval
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.results import MEASURES, QueryResults
from splade_sts.evaluation.retrieval import (
    evaluate_search,
    paraphrases,
    relevant_partners,
    search_paraphrases,
)
from splade_sts.model.encoder import load_encoder
from tests.support.tiny import tiny_params


def made(*rows: tuple[str, str, float]) -> Pairs:
    first, second, score = zip(*rows, strict=True)
    return Pairs(list(first), list(second), np.array(score))


def test_relevant_partners():
    """From 0.8 on, both ways, several partners; a sentence is no partner of itself."""
    pairs = made(("a", "b", 0.8), ("c", "a", 1.0), ("d", "e", 0.79), ("f", "f", 1.0))
    assert relevant_partners(pairs) == {"a": {"b", "c"}, "b": {"a"}, "c": {"a"}}


def by_hand(vectors: dict[str, np.ndarray], pairs: Pairs) -> np.ndarray:
    """MRR@10, nDCG@10 and recall@10 of each query from their definitions: (queries, 3)."""

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
    return np.array(values)


@pytest.fixture(scope="module")
def model(tiny_splade):
    return load_encoder(tiny_splade, device="cpu")


def random_search() -> tuple[dict[str, np.ndarray], Pairs, EncodedSentences]:
    """Forty sentences of random vectors, and pairs of them."""
    generator = np.random.default_rng(0)
    names = [f"s{number:02}" for number in range(40)]
    values = generator.uniform(size=(40, 30)) * (generator.uniform(size=(40, 30)) < 0.3)
    rows = values.astype("float32")
    pairs = made(*((names[n], names[(n * 7 + 3) % 40], (n % 5) / 4) for n in range(40)))
    encoded = EncodedSentences(names, torch.from_numpy(rows).to_sparse(), 0.0)
    return dict(zip(names, rows, strict=True)), pairs, encoded


@pytest.mark.parametrize("scores", [2**22, 1, 250], ids=["one block", "of one document", "of few"])
def test_by_hand(model, monkeypatch, scores):
    """The definitions' values on random vectors, for each query and in the mean, however large the
    blocks; and no block has more scores than is said.
    """
    monkeypatch.setattr(retrieval, "SCORES", scores)
    blocks = []

    def scored(queries, documents):
        blocks.append(len(queries) * len(documents))
        return cos_sim(queries, documents)

    cos_sim = retrieval.cos_sim
    monkeypatch.setattr(retrieval, "cos_sim", scored)
    vectors, pairs, encoded = random_search()
    means, queries = search_paraphrases(model, pairs, encoded)
    expected = by_hand(vectors, pairs)
    assert queries.query == [*relevant_partners(pairs)]
    assert np.stack([queries.measures[name] for name in MEASURES], axis=1) == pytest.approx(
        expected
    )
    assert [getattr(means, name) for name in MEASURES] == pytest.approx(expected.mean(axis=0))
    assert (means.queries, means.documents) == (len(expected), 40)
    assert sum(blocks) == 40 * len(expected)
    assert max(blocks) <= max(scores, len(expected))


@pytest.mark.parametrize(
    "rows", [[("a", "b", 0.79)] * 12, [("a", "a", 1.0)] * 12], ids=["no paraphrase", "the same"]
)
def test_nothing_to_find(model, rows):
    """No metrics."""
    encoded = EncodedSentences([], torch.empty(0, 30).to_sparse(), 0.0)
    assert search_paraphrases(model, made(*rows), encoded) is None


def test_two_spellings_are_one_sentence(model):
    """One of them is no partner of the other, nor a document that stands before the partner."""
    pairs = made(("A cat", "a  cat", 1.0), ("a cat", "cats", 1.0), ("a  cat", "dog", 0.1))
    names = ["A cat", "cats", "dog"]
    vectors = torch.zeros(3, 30)
    vectors[:, 0] = torch.tensor([1.0, 0.5, 0.1])
    vectors[1, 1], vectors[2, 2] = 0.5, 1.0
    encoded = EncodedSentences(names, vectors.to_sparse(), 0.0)
    means, _ = search_paraphrases(model, pairs, encoded)
    assert (means.queries, means.documents, means.mrr_at_10) == (2, 3, 1.0)


def test_equal_scores(model):
    """A query whose vector is like all others still never finds itself, and the order of the others
    is that of their ids: the partner is the eleventh, so it is not found.
    """
    names = [f"s{number:02}" for number in range(12)]
    vectors = torch.zeros(12, 30)
    vectors[:, 0] = 1.0
    encoded = EncodedSentences(names, vectors.to_sparse(), 0.0)
    pairs = made(("s00", "s11", 1.0), *((name, "s00", 0.0) for name in names[1:11]))
    _, queries = search_paraphrases(model, pairs, encoded)
    assert queries.query == ["s00", "s11"]
    assert queries.mrr_at_10.tolist() == [0.0, 1.0]


def test_groups_of_paraphrases():
    """Sentences that partners link, over others too, are of one group."""
    pairs = made(("a", "b", 1.0), ("b", "c", 0.9), ("d", "e", 1.0), ("c", "d", 0.1))
    search = paraphrases(pairs)
    assert dict(zip(search.queries, search.groups.tolist(), strict=True)) == {
        "a": 0,
        "b": 0,
        "c": 0,
        "d": 1,
        "e": 1,
    }


@pytest.fixture(scope="module")
def search(pairs) -> Search:
    """Second sentences of `pairs` among all sentences but these, each with one or two relevant."""
    documents = {f"d{number}": text for number, text in enumerate(pairs.sentence1)}
    queries = {f"q{number}": text for number, text in enumerate(pairs.sentence2)}
    relevant = {
        f"q{number}": {f"d{number}", f"d{(number * 5) % 48}"} for number in range(len(pairs))
    }
    return Search(queries, documents, relevant)


@pytest.mark.parametrize("documents", [2**14, 7], ids=["one block", "blocks"])
def test_a_set_gives_the_librarys_numbers(model, search, monkeypatch, documents):
    """Means of the queries and active dims are those of the library's own evaluator, whether
    documents are encoded at once or in blocks.
    """
    monkeypatch.setattr(retrieval, "DOCUMENTS", documents)
    stock = SparseInformationRetrievalEvaluator(
        search.queries,
        search.documents,
        search.relevant,
        score_functions={"cosine": retrieval.cos_sim},
        write_csv=False,
    )(model)
    found, queries = evaluate_search(model, search, "tiny", tiny_params().evaluate)
    names = {"mrr_at_10": "mrr@10", "ndcg_at_10": "ndcg@10", "recall_at_10": "recall@10"}
    for name, theirs in names.items():
        assert getattr(found.retrieval, name) == pytest.approx(stock[f"cosine_{theirs}"], abs=1e-6)
        assert getattr(queries, name).mean() == pytest.approx(stock[f"cosine_{theirs}"], abs=1e-6)
    assert 0.1 < found.retrieval.mrr_at_10 < 1
    assert found.query_active_dims == pytest.approx(stock["query_active_dims"], rel=1e-3)
    assert found.document_active_dims == pytest.approx(stock["corpus_active_dims"], rel=1e-3)
    assert (found.retrieval.queries, found.retrieval.documents) == (48, 48)


def test_bf16_is_close(model, search):
    """Encoding alone is less exact; documents are scored in float32."""
    exact, _ = evaluate_search(model, search, "tiny", tiny_params().evaluate)
    settings = tiny_params().evaluate.model_copy(update={"precision": "bf16"})
    found, _ = evaluate_search(model, search, "tiny", settings)
    assert found.document_active_dims == pytest.approx(exact.document_active_dims, rel=0.02)
    assert found.retrieval.ndcg_at_10 == pytest.approx(exact.retrieval.ndcg_at_10, abs=0.05)
    assert found != exact


def test_a_model_that_is_not_finite(tiny_splade, search):
    """Its search is refused, by the name of the set."""
    broken = load_encoder(tiny_splade, device="cpu")
    with torch.no_grad():
        broken[0].model.cls.predictions.decoder.bias.fill_(torch.inf)
    with pytest.raises(UserError, match="tiny: the embeddings hold non-finite values"):
        evaluate_search(broken, search, "tiny", tiny_params().evaluate)


def test_queries_survive_parquet(model, tmp_path):
    """To the last bit."""
    _, pairs, encoded = random_search()
    _, written = search_paraphrases(model, pairs, encoded)
    written.write(tmp_path / "q.parquet")
    read = QueryResults.read(tmp_path / "q.parquet")
    assert read.query == written.query
    for name in ("group", *MEASURES):
        assert np.array_equal(getattr(read, name), getattr(written, name))
