"""Did it stay a retriever? Each sentence searches its paraphrases among those of a split."""

from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from sentence_transformers.util import cos_sim
from torch import Tensor

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.results import RELEVANT, Retrieval

DEPTH = 10


def relevant_partners(pairs: Pairs) -> dict[str, set[str]]:
    """For each sentence with one, the other sentences it is paired with at a score of at least
    `RELEVANT`.
    """
    partners: dict[str, set[str]] = {}
    for first, second, score in zip(pairs.sentence1, pairs.sentence2, pairs.score, strict=True):
        if score >= RELEVANT and first != second:
            partners.setdefault(first, set()).add(second)
            partners.setdefault(second, set()).add(first)
    return partners


class EncodedRetrievalEvaluator(SparseInformationRetrievalEvaluator):
    """The library's evaluator on vectors that are there already; a query never finds itself."""

    def __init__(
        self, encoded: EncodedSentences, sentences: list[str], partners: dict[str, set[str]]
    ):
        self.encoded = encoded
        place = {sentence: number for number, sentence in enumerate(sentences)}
        own = torch.tensor([place[query] for query in partners])

        def cosine(queries: Tensor, documents: Tensor) -> Tensor:
            scores = cos_sim(queries, documents)
            scores[torch.arange(len(own)), own] = -torch.inf
            return scores

        super().__init__(
            queries={query: query for query in partners},
            corpus={sentence: sentence for sentence in sentences},
            relevant_docs=partners,
            corpus_chunk_size=len(sentences),
            mrr_at_k=[DEPTH],
            ndcg_at_k=[DEPTH],
            precision_recall_at_k=[DEPTH],
            accuracy_at_k=[DEPTH],
            map_at_k=[DEPTH],
            score_functions={"cosine": cosine},
            write_csv=False,
        )

    def embed_inputs(  # type: ignore[override]  # the library's own signatures differ
        self, model: SparseEncoder, sentences: list[str], **kwargs: Any
    ) -> Tensor:
        return self.encoded.of(sentences)


def retrieval(model: SparseEncoder, pairs: Pairs, encoded: EncodedSentences) -> Retrieval | None:
    """Search among the distinct sentences of `pairs` with every sentence that has a relevant
    partner. Two spellings of a sentence (`Pairs.spelled_alike`) are one.

    Args:
        model: whose vectors they are.
        pairs: the pairs of the split.
        encoded: the vectors of their sentences.

    Returns:
        Means over the queries (in [0, 1]) by sentence-transformers'
        `SparseInformationRetrievalEvaluator` with cosine; None where no pair of different sentences
        has a score of at least `RELEVANT`.
    """
    pairs = pairs.spelled_alike()
    partners = relevant_partners(pairs)
    if not partners:
        return None
    evaluator = EncodedRetrievalEvaluator(encoded, pairs.sentences, partners)
    metrics: Any = evaluator.compute_all_metrics(model)
    found = metrics["cosine"]
    mrr, ndcg, recall = (float(found[f"{name}@k"][DEPTH]) for name in ("mrr", "ndcg", "recall"))
    return Retrieval(
        len(partners), len(pairs.sentences), mrr_at_10=mrr, ndcg_at_10=ndcg, recall_at_10=recall
    )
