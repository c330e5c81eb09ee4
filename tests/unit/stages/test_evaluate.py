"""evaluate: what it leaves for compare."""

import shutil
import sys

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.data.search import SearchOrigin, find_tables, search_of, write_origins
from splade_sts.data.sets import write_names
from splade_sts.evaluation.results import Evaluation, QueryResults
from stages import compare, evaluate
from tests.support.projects import write_params
from tests.support.searches import write_search


@pytest.fixture
def evaluated(tmp_path, monkeypatch, capsys, tiny_splade, pairs) -> str:
    """Both models on the same pairs, test without paraphrases, and on a set; one of them is the
    other. What the stages printed.
    """
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, evaluate__retrieval_set="mine")
    layout.SET_NAMES.parent.mkdir(parents=True)
    write_names(layout.NORMALIZED, [])
    pairs.write(layout.normalized("validation"))
    pairs.select(pairs.score < 0.8).write(layout.normalized("test"))
    write_search(tmp_path / "mine", pairs)
    search = search_of(find_tables(tmp_path / "mine", "mine"), "mine")
    search.write(layout.search("mine"))
    write_origins({"mine": SearchOrigin("mine", None, 30, 30, {})}, layout.SEARCH_ORIGINS)
    for name in layout.MODELS:
        shutil.copytree(tiny_splade, layout.model(name))
        monkeypatch.setattr(sys, "argv", ["evaluate", name])
        evaluate.main()
    return capsys.readouterr().out


def test_what_is_searched(evaluated):
    """Every split with paraphrases, and the set, each with a file of its queries."""
    found = Evaluation.read("base")
    assert "no retrieval metrics: test has no pair" in evaluated
    assert found.splits["test"].retrieval is None
    assert {path.name for path in layout.predictions("base").iterdir()} == {
        "validation.parquet",
        "test.parquet",
        "retrieval-validation.parquet",
        "search-mine.parquet",
    }
    for path, means in (
        (layout.paraphrase_queries("base", "validation"), found.splits["validation"].retrieval),
        (layout.search_queries("base", "mine"), found.searches["mine"].retrieval),
    ):
        queries = QueryResults.read(path)
        assert means.queries == len(queries.query)
        assert means.ndcg_at_10 == pytest.approx(queries.ndcg_at_10.mean())
    assert len(np.unique(queries.group)) == 30


def test_compare_reads_it(evaluated):
    """The queries of both models, and where the set came from."""
    found = {name: Evaluation.read(name) for name in layout.MODELS}
    searches = compare.read_searches(found)
    assert searches["mine"].origin.documents == 30
    assert searches["mine"].base_queries.query == searches["mine"].finetuned_queries.query
    assert searches["mine"].base == searches["mine"].finetuned
    base, finetuned = compare.read_paraphrases(found, "validation")
    assert base.queries.mrr_at_10.mean() == pytest.approx(base.means.mrr_at_10)
    assert base.means == found["base"].splits["validation"].retrieval == finetuned.means
    assert compare.read_paraphrases(found, "test") is None
