"""Did it stay a retriever? Each sentence searches its paraphrases, and queries search documents."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from sentence_transformers.util import cos_sim
from torch import Tensor

from splade_sts.data.pairs import Pairs
from splade_sts.data.search import Search
from splade_sts.evaluation.encoded import EncodedSentences, encode
from splade_sts.evaluation.health import check_finite
from splade_sts.evaluation.results import (
    RELEVANT,
    QueryResults,
    Retrieval,
    SearchEvaluation,
)
from splade_sts.model.head.swap import fused
from splade_sts.params import EvaluateParams

DEPTH = 10
# Scores of a block of documents with all queries, at most; they are held as float32.
SCORES = 2**22
# Documents of a block, at most; they are encoded together and held as sparse vectors.
DOCUMENTS = 2**14


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


def paraphrases(pairs: Pairs) -> Search | None:
    """The search of every sentence that has a relevant partner among the distinct sentences of
    `pairs`; None where none has. Two spellings of a sentence (`Pairs.spelled_alike`) are one.
    """
    pairs = pairs.spelled_alike()
    partners = relevant_partners(pairs)
    if not partners:
        return None
    documents = {sentence: sentence for sentence in pairs.sentences}
    return Search({query: query for query in partners}, documents, partners, own=True)


class RankingEvaluator(SparseInformationRetrievalEvaluator):
    """The library's evaluator with cosine, which keeps what each query found.

    Queries and documents are scored in blocks, so that the scores of all queries with all documents
    are never held together. `embed` gives the vectors of texts: coalesced sparse float32 (texts,
    vocabulary). It is called with all queries first, then with each block of documents.
    """

    def __init__(self, search: Search, embed: Callable[[list[str]], Tensor]):
        self.search, self.embed = search, embed
        self.ranked: list[list[str]] = []
        # one more than is looked at, where a query may stand among what it finds
        depth = [DEPTH + search.own]
        super().__init__(
            queries=search.queries,
            corpus=search.documents,
            relevant_docs=search.relevant,
            corpus_chunk_size=max(1, min(DOCUMENTS, SCORES // len(search.queries))),
            mrr_at_k=depth,
            ndcg_at_k=depth,
            precision_recall_at_k=depth,
            accuracy_at_k=depth,
            map_at_k=depth,
            score_functions={"cosine": cos_sim},
            write_csv=False,
        )

    def embed_inputs(  # type: ignore[override]  # the library's own signatures differ
        self, model: SparseEncoder, sentences: list[str], **kwargs: Any
    ) -> Tensor:
        return self.embed(sentences)

    def compute_metrics(self, queries_result_list: list[Any]) -> dict[str, Any]:
        """Keep the ids of the first `DEPTH` documents of each query; equal scores in the order of
        the ids, as the library has it.
        """
        for query, hits in zip(self.queries_ids, queries_result_list, strict=True):
            ordered = sorted(hits, key=lambda hit: (-hit["score"], hit["corpus_id"]))
            found = [hit["corpus_id"] for hit in ordered]
            if self.search.own:
                found = [document for document in found if document != query]
            self.ranked.append(found[:DEPTH])
        return {}

    def output_scores(self, scores: dict[str, Any]) -> None:
        """None: `query_results` makes them."""


def ranked_documents(
    model: SparseEncoder, search: Search, embed: Callable[[list[str]], Tensor]
) -> list[list[str]]:
    """The first `DEPTH` documents that each query finds by cosine, best first, as ids."""
    evaluator = RankingEvaluator(search, embed)
    evaluator.compute_all_metrics(model)
    return evaluator.ranked


def query_results(search: Search, ranked: list[list[str]]) -> QueryResults:
    """The measures of each query, as sentence-transformers' `SparseInformationRetrievalEvaluator`
    defines them at `DEPTH`: relevant is relevant, without degrees.

    With h_i = 1 where the document on place i is relevant, and R relevant documents: the reciprocal
    of the first i with h_i = 1, or 0; sum_i h_i / log2(i + 1) divided by what it is where the first
    min(R, DEPTH) places are relevant (Järvelin & Kekäläinen 2002, "Cumulated Gain-based Evaluation
    of IR Techniques"); and sum_i h_i / R.
    """
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    reciprocal_ranks, gains, recalls = [], [], []
    for found, wanted in zip(ranked, search.relevant.values(), strict=True):
        hits = np.array([document in wanted for document in found])
        reciprocal_ranks.append(1 / (hits.argmax() + 1) if hits.any() else 0.0)
        gains.append(discounts[: len(hits)] @ hits / discounts[: len(wanted)].sum())
        recalls.append(hits.sum() / len(wanted))
    return QueryResults(
        query=list(search.queries),
        group=search.groups,
        mrr_at_10=np.array(reciprocal_ranks, dtype=np.float64),
        ndcg_at_10=np.array(gains, dtype=np.float64),
        recall_at_10=np.array(recalls, dtype=np.float64),
    )


def search_paraphrases(
    model: SparseEncoder, pairs: Pairs, encoded: EncodedSentences
) -> tuple[Retrieval, QueryResults] | None:
    """Search among the distinct sentences of `pairs` with every sentence that has a relevant
    partner (`paraphrases`).

    Args:
        model: whose vectors they are.
        pairs: the pairs of the split.
        encoded: the vectors of their sentences.

    Returns:
        The means over the queries, and the queries; None where no pair of different sentences has a
        score of at least `RELEVANT`.
    """
    search = paraphrases(pairs)
    if search is None:
        return None
    queries = query_results(search, ranked_documents(model, search, encoded.of))
    return Retrieval.of(queries, len(search.documents)), queries


def evaluate_search(
    model: SparseEncoder, search: Search, name: str, params: EvaluateParams
) -> tuple[SearchEvaluation, QueryResults]:
    """Search the documents of a set with its queries.

    Args:
        model: the encoder.
        search: the set.
        name: its name, for messages.
        params: batch size and precision.

    Raises:
        UserError: vectors hold values that are not finite.
    """
    parts: list[tuple[int, int]] = []  # texts and active entries of each call
    bf16 = params.precision == "bf16"

    def embed(texts: list[str]) -> Tensor:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            encoded = encode(model, texts, params.batch_size, show_progress_bar=True)
        check_finite(encoded.vectors, name)
        vectors = encoded.of(texts)
        parts.append((len(texts), int(vectors.values().count_nonzero())))
        return vectors

    with fused(model):
        ranked = ranked_documents(model, search, embed)
    queries = query_results(search, ranked)
    (asked, of_queries), *blocks = parts
    evaluation = SearchEvaluation(
        retrieval=Retrieval.of(queries, len(search.documents)),
        query_active_dims=of_queries / asked,
        document_active_dims=sum(active for _, active in blocks) / len(search.documents),
    )
    return evaluation, queries
