"""What the controls say of each pair, as the stages hand it on."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from splade_sts.data.pairs import Pairs

# Every control there may be; the last one only where there is a `reference.dense_encoder`.
DENSE = "dense"
NAMES = ("jaccard", "tfidf", "char_tfidf", "bm25", DENSE)


@dataclass(frozen=True, eq=False)
class ControlScores:
    """The pairs of a split and, by the name of a control, its score for each of them: float64
    (pairs,).
    """

    pairs: Pairs
    scores: dict[str, NDArray[np.float64]]

    def write(self, path: Path) -> None:
        """Write a table with a column for each control (Parquet)."""
        self.pairs.table().assign(**self.scores).to_parquet(path, index=False)

    @classmethod
    def read(cls, path: Path | BinaryIO) -> "ControlScores":
        """Read what `write` wrote."""
        table = pd.read_parquet(path)
        scores = {name: table[name].to_numpy("float64") for name in NAMES if name in table}
        return cls(Pairs.from_table(table), scores)
