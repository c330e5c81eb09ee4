"""What an evaluation finds, as the stages hand it on (no model, no torch)."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from splade_sts import layout
from splade_sts.data.pairs import Pairs
from splade_sts.files import read_json, write_json

# Gold score (of 1) from which a partner is a relevant document: 4 of 5, "mostly equivalent" in STS.
RELEVANT = 0.8
# What is measured of a search, as attributes of `Retrieval` and `QueryResults`.
MEASURES = ("mrr_at_10", "ndcg_at_10", "recall_at_10")
# A posting of an inverted index as it is counted here: the document's number (32 bits) and the
# weight (float32), as they are, without the compression that real engines add.
POSTING_BYTES = 4 + 4


@dataclass(frozen=True)
class Metrics:
    """How well cosine similarities follow gold scores, and how sparse the vectors are.

    Attributes:
        pearson, spearman: correlations of the cosine with the gold score, in [-1, 1].
        active_dims: mean number of vocabulary entries that are not zero in a sentence's vector.
        sparsity_ratio: 1 - active dims / size of the vocabulary.
    """

    pearson: float
    spearman: float
    active_dims: float
    sparsity_ratio: float


@dataclass(frozen=True)
class Cost:
    """What storing and scoring the sentences costs, see `splade_sts.evaluation.cost`.

    Attributes:
        flops: expected multiplications for the score of a pair.
        index_bytes: mean bytes of a sentence in an uncompressed inverted index: `POSTING_BYTES` for
            each active dimension.
    """

    flops: float
    index_bytes: float


@dataclass(frozen=True)
class Retrieval:
    """A search, see `splade_sts.evaluation.retrieval`: means over the queries."""

    queries: int
    documents: int
    mrr_at_10: float
    ndcg_at_10: float
    recall_at_10: float

    @classmethod
    def of(cls, found: "QueryResults", documents: int) -> "Retrieval":
        """The means of what each query found among so many documents."""
        means = {name: float(values.mean()) for name, values in found.measures.items()}
        return cls(len(found.query), documents, **means)


@dataclass(frozen=True)
class SearchEvaluation:
    """One model on a set that is searched in.

    Attributes:
        retrieval: what the queries found.
        query_active_dims, document_active_dims: mean active dims of a query and of a document.
    """

    retrieval: Retrieval
    query_active_dims: float
    document_active_dims: float


@dataclass(frozen=True)
class SplitEvaluation:
    """One model on one split; `retrieval` is None where no pair in it is a paraphrase."""

    pairs: int
    metrics: Metrics
    cost: Cost
    retrieval: Retrieval | None = None


@dataclass(frozen=True)
class Evaluation:
    """One model on all held-out splits, and on the sets that are searched in."""

    splits: dict[str, SplitEvaluation]
    searches: dict[str, SearchEvaluation] = field(default_factory=dict)

    def headlines(self, name: layout.Model) -> dict[str, Any]:
        """What `dvc metrics show` lists: where the checkpoint was chosen, and the result.

        DVC's tables name a value by its file too where two files have it, which takes four times
        the width. So those of the base model stand under `base`.
        """
        validation, test = self.splits["validation"], self.splits["test"]
        found = {
            "validation": {
                "spearman": validation.metrics.spearman,
                "active_dims": validation.metrics.active_dims,
                "flops": validation.cost.flops,
            },
            "test": {
                "spearman": test.metrics.spearman,
                "active_dims": test.metrics.active_dims,
                "flops": test.cost.flops,
            },
        }
        return found if name == "finetuned" else {name: found}

    def write(self, name: layout.Model) -> None:
        """Write metrics/NAME.json (headlines) and evidence/NAME.json (all of it)."""
        write_json(layout.metrics(name), self.headlines(name))
        write_json(layout.evidence(name), asdict(self))

    @classmethod
    def read(cls, name: layout.Model) -> "Evaluation":
        """Read what `write` wrote."""
        return TypeAdapter(cls).validate_python(read_json(layout.evidence(name)))


@dataclass(frozen=True, eq=False)
class QueryResults:
    """What each query of a search found with one model.

    Attributes:
        query: the queries' ids: their texts where sentences search paraphrases.
        group: queries of one group depend on the same texts (`Search.groups`); int64 (queries,).
        mrr_at_10: reciprocal rank of the first relevant document, 0 where none is among the first
            ten; float64 (queries,).
        ndcg_at_10, recall_at_10: of the first ten documents, in [0, 1]; float64 (queries,).
    """

    query: list[str]
    group: NDArray[np.int64]
    mrr_at_10: NDArray[np.float64]
    ndcg_at_10: NDArray[np.float64]
    recall_at_10: NDArray[np.float64]

    @property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """The values of all queries, by measure."""
        return {name: getattr(self, name) for name in MEASURES}

    def write(self, path: Path) -> None:
        """Write a table with one row a query (Parquet)."""
        columns: dict[str, Any] = {"query": self.query, "group": self.group, **self.measures}
        pd.DataFrame(columns).to_parquet(path, index=False)

    @classmethod
    def read(cls, path: Path | BinaryIO) -> "QueryResults":
        """Read what `write` wrote."""
        table = pd.read_parquet(path)
        return cls(
            table["query"].tolist(),
            table["group"].to_numpy("int64"),
            **{name: table[name].to_numpy("float64") for name in MEASURES},
        )


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of each pair of a split.

    Attributes:
        pairs: the pairs, without genre.
        cosine: float64 (pairs,), computed in float32.
        active_dims1, active_dims2: active dimensions of the two sentences, int64 (pairs,).
        terms: for each pair the terms that are active in both sentences with their shares of the
            cosine, largest first; the shares of a pair sum to its cosine.
    """

    pairs: Pairs
    cosine: NDArray[np.float64]
    active_dims1: NDArray[np.int64]
    active_dims2: NDArray[np.int64]
    terms: list[list[tuple[str, float]]]

    def write(self, path: Path) -> None:
        """Write a table with one row a pair (Parquet)."""
        columns: dict[str, Any] = {
            "cosine": self.cosine,
            "active_dims1": self.active_dims1,
            "active_dims2": self.active_dims2,
            "terms": pd.Series([[term for term, _ in found] for found in self.terms], dtype=object),
            "shares": pd.Series(
                [[share for _, share in found] for found in self.terms], dtype=object
            ),
        }
        self.pairs.table().assign(**columns).to_parquet(path, index=False)

    @classmethod
    def read(cls, path: Path | BinaryIO) -> "Predictions":
        """Read what `write` wrote."""
        table = pd.read_parquet(path)
        return cls(
            Pairs.from_table(table),
            table["cosine"].to_numpy("float64"),
            table["active_dims1"].to_numpy("int64"),
            table["active_dims2"].to_numpy("int64"),
            [
                list(zip(terms, shares, strict=True))
                for terms, shares in zip(table["terms"], table["shares"], strict=True)
            ],
        )
