"""Evaluations as they are handed on."""

import json

import pytest

from splade_sts import layout
from splade_sts.evaluation.results import Evaluation, Retrieval
from tests.support.results import BASE, FINETUNED, evaluation


@pytest.mark.parametrize("retrieval", [None, Retrieval(5, 20, 0.5, 0.6, 0.9)])
def test_evidence_gives_back_what_was_written(tmp_path, monkeypatch, retrieval):
    """To the last bit; the headlines hold a part of it."""
    monkeypatch.chdir(tmp_path)
    written = Evaluation({"validation": evaluation(BASE, retrieval), "test": evaluation(FINETUNED)})
    written.write("base")
    assert Evaluation.read("base") == written
    headlines = json.loads(layout.metrics("base").read_text())
    metrics = written.splits["test"].metrics
    assert headlines["base"]["test"] == {
        "spearman": metrics.spearman,
        "active_dims": metrics.active_dims,
        "flops": written.splits["test"].cost.flops,
    }
