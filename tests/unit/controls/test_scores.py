"""Scores as they are handed on."""

import numpy as np
import pytest

from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs


@pytest.mark.parametrize("names", [["jaccard", "tfidf", "bm25"], ["jaccard", "dense"]])
def test_a_file_gives_back_what_was_written(tmp_path, names):
    """Which controls there are, and their scores to the last bit."""
    pairs = Pairs(["a", "b"], ["c", "d"], np.array([0.1, 1 / 3]), ["x", "y"])
    written = ControlScores(
        pairs, {name: np.random.default_rng(0).uniform(size=2) for name in names}
    )
    written.write(tmp_path / "scores.parquet")
    read = ControlScores.read(tmp_path / "scores.parquet")
    assert read.pairs.same_as(pairs)
    assert {name: values.tolist() for name, values in read.scores.items()} == {
        name: values.tolist() for name, values in written.scores.items()
    }
