"""The pairs of a split where there may be too many to hold: in parts, from the file."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from splade_sts.data.pairs import InParts, Pairs

PART = 2**16  # pairs that are held at once


@dataclass(frozen=True)
class StoredPairs:
    """The pairs in a file that `Pairs.write` wrote."""

    path: Path

    def __len__(self) -> int:
        rows: int = pq.read_metadata(self.path).num_rows
        return rows

    def parts(self) -> Iterator[Pairs]:
        """See `InParts`; at most `PART` pairs at a time."""
        return map(Pairs.from_table, read_frames(self.path))


def read_frames(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, at most `PART` at a time; an index with a name is kept."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(PART):
            yield batch.to_pandas()


def write_parts(parts: Iterable[Pairs], path: Path) -> None:
    """Write pairs as Parquet, a row group a part that is not empty; one part as `Pairs.write`
    does.
    """
    with ExitStack() as stack:
        writer = None
        for part in filter(len, parts):
            table = pa.Table.from_pandas(part.table(), preserve_index=False)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


class DistinctSentences:
    """The distinct sentences of pairs, in the order of `Pairs.sentences`. They are numbered from 0;
    what is held of each is its hash.

    Two sentences of the same 64 bits would count as one. Among 20 million sentences the chance of
    that is 1 in 100,000, and then one sentence less is counted.
    """

    def __init__(self, pairs: InParts):
        self.pairs = pairs
        found = np.empty((2, len(pairs)), dtype=np.uint64)
        start = 0
        for part in pairs.parts():
            for side, texts in enumerate((part.sentence1, part.sentence2)):
                found[side, start : start + len(part)] = hashes(texts)
            start += len(part)
        _, places = np.unique(found, return_index=True)
        self._places: NDArray[np.int64] = np.sort(places)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, numbers: Sequence[int]) -> list[str]:
        """The sentences of these numbers, in their order."""
        side, row = np.divmod(self._places[list(numbers)], len(self.pairs))
        found = [""] * len(numbers)
        start = 0
        for part in self.pairs.parts():
            for place in np.flatnonzero((row >= start) & (row < start + len(part))):
                column = part.sentence2 if side[place] else part.sentence1
                found[place] = column[row[place] - start]
            start += len(part)
        return found


def hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of each text, the same everywhere."""
    return pd.util.hash_array(np.array(texts, dtype=object), categorize=False)
