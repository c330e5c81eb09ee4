"""Did it stay a retriever? Each sentence searches its paraphrases among all sentences of a split."""

import pandas as pd
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from splade_sts.evaluation.encoded import Vectors

RELEVANT = 0.8  # gold score (of 1) from which a partner is a relevant document: 4 of 5, "mostly equivalent" in STS
DEPTH = 10


def relevant_partners(pairs: pd.DataFrame) -> dict[str, set[str]]:
    """For each sentence with one, the other sentences it is paired with at a score of at least `RELEVANT`."""
    partners: dict[str, set[str]] = {}
    close = pairs[(pairs["score"] >= RELEVANT) & (pairs["sentence1"] != pairs["sentence2"])]
    for first, second in zip(close["sentence1"], close["sentence2"], strict=True):
        partners.setdefault(first, set()).add(second)
        partners.setdefault(second, set()).add(first)
    return partners


class _Evaluator(SparseInformationRetrievalEvaluator):
    """The library's evaluator on vectors that are there already; a query never finds itself."""

    def __init__(self, vectors: Vectors, sentences: list[str], partners: dict[str, set[str]]):
        self.vectors = vectors
        place = {sentence: number for number, sentence in enumerate(sentences)}
        own = torch.tensor([place[query] for query in partners])

        def cosine(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
            scores = cos_sim(queries, documents)
            scores[torch.arange(len(own)), own] = -torch.inf
            return scores

        super().__init__(
            queries={query: query for query in partners}, corpus={sentence: sentence for sentence in sentences},
            relevant_docs=partners, corpus_chunk_size=len(sentences), mrr_at_k=[DEPTH], ndcg_at_k=[DEPTH],
            precision_recall_at_k=[DEPTH], accuracy_at_k=[DEPTH], map_at_k=[DEPTH], score_functions={"cosine": cosine},
            write_csv=False,
        )

    def embed_inputs(self, model: SparseEncoder, sentences: list[str], **kwargs) -> torch.Tensor:
        return self.vectors.of(sentences)


def retrieval_metrics(model: SparseEncoder, pairs: pd.DataFrame, vectors: Vectors) -> dict[str, float] | None:
    """Search among the distinct sentences of `pairs` with every sentence that has a relevant partner.

    Args:
        model: whose vectors they are.
        pairs: `sentence1`, `sentence2`, `score` in [0, 1].
        vectors: the vectors of those sentences.

    Returns:
        `mrr_at_10`, `ndcg_at_10`, `recall_at_10` (in [0, 1], means over the queries, by sentence-transformers'
        `SparseInformationRetrievalEvaluator` with cosine), `queries` and `documents` (their numbers); None where no pair
        of different sentences has a score of at least `RELEVANT`.
    """
    partners = relevant_partners(pairs)
    if not partners:
        return None
    sentences = list(dict.fromkeys([*pairs["sentence1"], *pairs["sentence2"]]))
    found = _Evaluator(vectors, sentences, partners).compute_all_metrics(model)["cosine"]
    return {
        **{f"{name}_at_{DEPTH}": float(found[f"{name}@k"][DEPTH]) for name in ("mrr", "ndcg", "recall")},
        "queries": len(partners), "documents": len(sentences),
    }
