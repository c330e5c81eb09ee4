"""The report's tables."""

from dataclasses import replace

import pytest

from splade_sts.comparison.compare import compare
from splade_sts.evaluation.results import Retrieval
from splade_sts.report.sections import Section, sections
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    SEEN,
    comparison_of,
    repeated,
    split_results,
    two_genres,
)

SEARCHED = Retrieval(5, 20, mrr_at_10=0.5, ndcg_at_10=0.6, recall_at_10=0.9)


@pytest.fixture(scope="module")
def found() -> dict[str, Section]:
    """All sections by title, of a comparison that has everything."""
    results = two_genres()
    searched = split_results(
        results.base, results.finetuned, (SEARCHED, replace(SEARCHED, mrr_at_10=0.4))
    )
    results = replace(
        results,
        base_evaluation=searched.base_evaluation,
        finetuned_evaluation=searched.finetuned_evaluation,
    )
    all_sections = sections(compare({"test": results}, SEEN, BOOTSTRAP))
    return {section.title: section for section in all_sections}


def test_each_question_has_its_table(found):
    """Rows as wide as the header, with a sentence on how to read them."""
    assert list(found) == [
        "Numbers",
        "Against words alone",
        "Without what training has seen",
        "Did it stay a retriever?",
        "Slices of test",
    ]
    for section in found.values():
        assert section.reading.endswith(".")
        assert {len(row) for row in section.rows} == {len(section.columns)}


def test_numbers():
    """Every metric of both models, the change, and the interval of a correlation's change."""
    comparison = comparison_of(repeated(BASE), repeated(FINETUNED))
    rows = {row[1]: row for row in sections(comparison)[0].rows}
    assert rows["active dims"] == ["test", "active dims", "10.0", "5.0", "-5.0", ""]
    assert rows["index bytes"][2:] == ["80", "40", "-40", ""]
    change = comparison.splits["test"].spearman
    assert rows["Spearman"][2:] == [
        f"{change.base.value:.4f}",
        f"{change.finetuned.value:.4f}",
        f"{change.gain.value:+.4f}",
        f"{change.gain.low:+.4f} to {change.gain.high:+.4f}",
    ]


def test_small_slices_are_named_and_left_out(found):
    """Too few pairs for a number."""
    section = found["Slices of test"]
    assert "genre forum | odd (20)" in section.reading
    assert not [row for row in section.rows if row[1] == "forum | odd"]
    assert found["Slices of test"].columns[-1] == "95 % interval"


def test_retrieval(found):
    """Before, after and the change, and how large the search was."""
    retrieval = found["Did it stay a retriever?"]
    assert ["test", "MRR@10", "0.5000", "0.4000", "-0.1000"] in retrieval.rows
    assert retrieval.reading.startswith("5 sentences search ")
    assert "among 20 sentences" in retrieval.reading


def test_no_retrieval_in_one_evaluation():
    """Nothing is compared with nothing; a control that says nothing has no table either."""
    results = split_results(repeated(BASE), repeated(FINETUNED), (SEARCHED, None))
    titles = [found.title for found in sections(compare({"test": results}, NOTHING, BOOTSTRAP))]
    assert titles == ["Numbers", "Without what training has seen"]


def test_controls(found):
    """Those whose scores vary, by their names for people."""
    assert [row[1] for row in found["Against words alone"].rows] == [
        "word overlap (Jaccard)",
        "TF-IDF cosine",
    ]
