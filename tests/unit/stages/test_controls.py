"""controls: which there are, and what is written of them."""

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.controls.scores import ControlScores
from splade_sts.data.pairs import Pairs
from splade_sts.files import read_json
from stages import controls
from tests.support.projects import write_params


@pytest.mark.parametrize("dense", [False, True])
def test_what_it_writes(tmp_path, monkeypatch, pairs, tiny_bert, dense):
    """Scores for every held-out pair, their correlations, and Spearman as the headline; a control
    that scores every pair alike has none. The dense reference only where it is wanted.
    """
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, controls__dense_model=str(tiny_bert) if dense else None)
    layout.NORMALIZED.mkdir(parents=True)
    pairs.write(layout.normalized("train"))
    pairs.write(layout.normalized("validation"))
    Pairs(["xyz", "xyz"], ["zzz", "abc"], np.array([0.0, 1.0])).write(layout.normalized("test"))
    controls.main()
    names = ["jaccard", "tfidf", "bm25"] + ["dense"] * dense
    for split in layout.HELD_OUT:
        assert list(ControlScores.read(layout.CONTROLS / f"{split}.parquet").scores) == names
    headlines, evidence = (
        read_json(path("controls")) for path in (layout.metrics, layout.evidence)
    )
    assert list(headlines["validation"]) == names
    assert headlines["validation"]["jaccard"] == evidence["validation"]["jaccard"]["spearman"] > 0.9
    assert "jaccard" not in headlines["test"]
