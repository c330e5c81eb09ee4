"""Sparse vectors as files: Parquet, and what search engines take.

- Elasticsearch: newline-delimited JSON for its bulk API, an action and a document for each vector,
  and the mapping of the index with a `sparse_vector` field, whose values are positive
  (elastic.co/docs/reference/elasticsearch/mapping-reference/sparse-vector). Terms with a dot, such
  as the full stop, are taken by the releases since elasticsearch#111981 (September 2024).
- OpenSearch: the same with a `rank_features` field, as its page on neural sparse search with raw
  vectors says (docs.opensearch.org, vector-search/ai-search/neural-sparse-with-raw-vectors).
  Both want ids of at most 512 bytes (docs.opensearch.org, api-reference/document-apis/bulk).
- Qdrant: bodies of `PUT /collections/NAME/points`, and that of `PUT /collections/NAME`. A point has
  a whole number as id, here `Row.number`, and the row's own id in its payload
  (qdrant.tech/documentation/manage-data/points, …/vectors).
- Anserini and Pyserini: a `JsonVectorCollection` for `-impact -pretokenized`, with whole numbers as
  weights (castorini/anserini, io/anserini/collection/JsonVectorCollection.java).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from splade_sts.apply.rows import Row
from splade_sts.errors import UserError, shown

# The field of an engine's document, or the name of a point's vector.
FIELD = "vector"
# Largest id of a document in Elasticsearch and OpenSearch, in bytes.
LONGEST_ID = 512
# With 8 bits a weight is a multiple of 1/64 up to 255/64 = 3.98: that of a logit of 52, which heads
# of masked language models do not reach. The step is the same for all models and rows, so that
# vectors of several runs, and queries, fit each other.
STEPS, LARGEST = 64, 255
# Weights of Anserini are hundredths, as those of naver/splade and Pyserini are.
HUNDREDTHS = 100


@dataclass(frozen=True)
class Vectors:
    """Sparse vectors, one after the other.

    Attributes:
        starts: where each begins, and where the last one ends; int64 (vectors + 1,).
        indices: entries of the vocabulary, ascending in each vector; int32.
        values: their weights, positive: float32, or uint8 in units of 1/`STEPS`.
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def where(self, kept: NDArray[np.bool_]) -> "Vectors":
        """The entries for which `kept` is true."""
        before = np.concatenate([[0], np.cumsum(kept)])
        return Vectors(before[self.starts], self.indices[kept], self.values[kept])

    def in_8_bits(self) -> tuple["Vectors", int]:
        """Weights rounded to multiples of 1/`STEPS`, and how many were larger than the largest one.

        What rounds to 0 is left out.
        """
        steps = np.rint(self.values * STEPS)
        cut = int((steps > LARGEST).sum())
        rounded = Vectors(self.starts, self.indices, np.minimum(steps, LARGEST).astype(np.uint8))
        return rounded.where(rounded.values > 0), cut

    def weights(self) -> NDArray[np.float32]:
        """The weights as numbers."""
        if self.values.dtype == np.uint8:
            return (self.values / STEPS).astype(np.float32)
        return self.values

    def rows(self, entries: list[str]) -> Iterator[list[str]]:
        """`entries`, one for each entry of all vectors, in a list for each vector."""
        for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield entries[start:end]


@dataclass(frozen=True)
class Written:
    """What is written as a file: rows, their vectors, and the terms of the vocabulary."""

    rows: list[Row]
    vectors: Vectors
    vocabulary: list[str]

    def documents(self, weights: list[str]) -> Iterator[str]:
        """For each row `{"term": weight, …}`; `weights` are those of all entries, as JSON."""
        terms = [quoted(term) for term in self.vocabulary]
        entries = [
            f"{terms[index]}:{weight}"
            for index, weight in zip(self.vectors.indices.tolist(), weights, strict=True)
        ]
        for row in self.vectors.rows(entries):
            yield f"{{{','.join(row)}}}"


def quoted(text: str) -> str:
    """A text as JSON."""
    return json.dumps(text, ensure_ascii=False)


def numbers(values: NDArray[Any]) -> list[str]:
    """Numbers as JSON, with the fewest digits that give the same float32 back."""
    found: list[str] = values.astype(str).tolist()
    return found


def write_parquet(written: Written, path: Path, terms: bool = False) -> None:
    """Columns `id`, `indices` (list<int32>), `values` (list<float32>, or list<uint8> in units of
    1/`STEPS`) and, where `terms`, `terms` (list<string>).
    """
    vectors = written.vectors
    starts = pa.array(vectors.starts, pa.int32())
    columns = {
        "id": pa.array([row.name for row in written.rows], pa.string()),
        "indices": pa.ListArray.from_arrays(starts, pa.array(vectors.indices)),
        "values": pa.ListArray.from_arrays(starts, pa.array(vectors.values)),
    }
    if terms:
        named = pa.array(written.vocabulary, pa.string()).take(pa.array(vectors.indices))
        columns["terms"] = pa.ListArray.from_arrays(starts, named)
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_bulk(written: Written, path: Path) -> None:
    """Bodies for `POST /INDEX/_bulk`: `{"index":{"_id":…}}`, then `{"vector":{term: weight}}`."""
    documents = written.documents(numbers(written.vectors.weights()))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, document in zip(written.rows, documents, strict=True):
            if len(row.name.encode()) > LONGEST_ID:
                raise UserError(
                    f"the id {shown(row.name[:40])}… of row {row.number} (from 0) has more than "
                    f"{LONGEST_ID} bytes; engines take none so long. Give another --id"
                )
            file.write(f'{{"index":{{"_id":{quoted(row.name)}}}}}\n{{"{FIELD}":{document}}}\n')


def write_points(written: Written, path: Path) -> None:
    """The body of `PUT /collections/NAME/points`, with a point in each line of its list."""
    vectors = written.vectors
    indices, values = numbers(vectors.indices), numbers(vectors.weights())
    points = zip(written.rows, vectors.rows(indices), vectors.rows(values), strict=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"points":[')
        for place, (row, entries, weights) in enumerate(points):
            file.write(
                f'{"," if place else ""}\n{{"id":{row.number},"vector":{{"{FIELD}":{{"indices":'
                f'[{",".join(entries)}],"values":[{",".join(weights)}]}}}},'
                f'"payload":{{"id":{quoted(row.name)}}}}}'
            )
        file.write("\n]}\n")


def write_impacts(written: Written, path: Path) -> None:
    """JSON Lines: `{"id": …, "contents": …, "vector": {term: whole number}}`.

    The numbers are hundredths; those of 8 bits stay as they are.
    """
    vectors = written.vectors
    if vectors.values.dtype != np.uint8:
        whole = np.rint(vectors.values * HUNDREDTHS).astype(np.int64)
        vectors = Vectors(vectors.starts, vectors.indices, whole).where(whole > 0)
    rounded = Written(written.rows, vectors, written.vocabulary)
    documents = rounded.documents(numbers(vectors.values))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, document in zip(written.rows, documents, strict=True):
            file.write(
                f'{{"id":{quoted(row.name)},"contents":{quoted(row.texts[0])},'
                f'"vector":{document}}}\n'
            )


@dataclass(frozen=True)
class Format:
    """A format of the shards.

    Attributes:
        ending: of their files.
        write: writes one.
        files: what goes with them, by name, as JSON.
    """

    ending: str
    write: Callable[[Written, Path], None]
    files: Mapping[str, Any] = field(default_factory=dict)


def _mapping(kind: str) -> dict[str, Any]:
    return {"mapping.json": {"mappings": {"properties": {FIELD: {"type": kind}}}}}


FORMATS = {
    "parquet": Format(".parquet", write_parquet),
    "elasticsearch": Format(".ndjson", write_bulk, _mapping("sparse_vector")),
    "opensearch": Format(".ndjson", write_bulk, _mapping("rank_features")),
    "qdrant": Format(
        ".json",
        write_points,
        {"collection.json": {"vectors": {}, "sparse_vectors": {FIELD: {}}}},
    ),
    "anserini": Format(".jsonl", write_impacts),
}
