"""The report's tables."""

import re
from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.compare import compare
from splade_sts.comparison.suite import SetScores, make_suite
from splade_sts.evaluation.results import Retrieval
from splade_sts.report import names
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
    assert rows["active dims"] == ["test", "active dims", "10.0", "5.0", "-5.0", "", ""]
    assert rows["index bytes"][2:] == ["80", "40", "-40", "", ""]
    change = comparison.splits["test"].spearman
    assert rows["Spearman"][2:] == [
        f"{change.base.value:.4f}",
        f"{change.finetuned.value:.4f}",
        f"{change.gain.value:+.4f}",
        " to ".join(names.ends(change.gain, "+")),
        "0.01",
    ]


def test_percentile_intervals_are_marked():
    """Where BCa has no interval, the one that stands for it has a mark, and the table a footnote;
    the others have neither.
    """
    comparison = comparison_of(repeated(BASE), repeated(BASE))
    found = sections(comparison)[0]
    rows = {row[1]: row for row in found.rows}
    assert rows["Spearman"][-2:] == ["+0.0000 to +0.0000 †", "1"]
    assert found.reading.endswith(names.PERCENTILE_NOTE)
    other = sections(comparison_of(repeated(BASE), repeated(FINETUNED)))[0]
    assert "†" not in other.reading + str(other.rows)


def test_seen_and_unseen_pairs():
    """Both gains, and how far they are apart; nothing is called memory."""
    results = two_genres()
    seen = results.pairs.select(np.arange(200) < 100)
    comparison = compare({"test": results}, seen, BOOTSTRAP)
    section = next(s for s in sections(comparison) if s.title == "Without what training has seen")
    assert [row[1:3] for row in section.rows] == [
        ["as published", "200"],
        ["seen in train", "100"],
        ["unseen in train", "100"],
        ["seen minus unseen", ""],
    ]
    difference = comparison.splits["test"].seen_minus_unseen.spearman
    expected = [f"{difference.value:+.4f}", " to ".join(names.ends(difference, "+"))]
    assert section.rows[-1][-2:] == expected
    assert "does not show" in section.reading
    assert "drop_sentences_from_train" in section.reading
    assert "memory" not in section.reading


def test_small_slices_are_named_and_left_out(found):
    """Too few pairs for a number."""
    section = found["Slices of test"]
    assert "genre forum | odd (20)" in section.reading
    assert not [row for row in section.rows if row[1] == "forum | odd"]
    assert section.columns[-1] == "95 % interval, all together"


def test_slices_have_the_digits_of_their_intervals(found):
    """One number of decimals in a row: that which the resamples carry."""
    for row in found["Slices of test"].rows:
        numbers = re.findall(r"\d\.(\d+)", " ".join(row[3:]))
        assert len(numbers) == 5
        assert len({len(digits) for digits in numbers}) == 1
        assert len(numbers[0]) <= 2


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


def suite_tables() -> dict[str, Section]:
    """The tables of two sets, one of which has genres and shares pairs with train."""
    results = two_genres()
    scores = {
        "base": results.base.cosine,
        "finetuned": results.finetuned.cosine,
        "tfidf": results.controls.scores["tfidf"] + results.base.cosine / 2,
    }
    pairs = replace(
        results.pairs, sentence1=[f"other {text}" for text in results.pairs.sentence1], genre=None
    )
    sets = {"test": SetScores(pairs, scores), "MORE": SetScores(results.pairs, scores)}
    train = results.pairs.select(np.arange(200) < 50)
    suite = make_suite(sets, train, "tfidf", BOOTSTRAP)
    comparison = replace(comparison_of(repeated(BASE), repeated(FINETUNED)), suite=suite)
    found = [table for table in sections(comparison) if "est sets" in table.title]
    return {table.title: table for table in found}


def test_further_test_sets():
    """Each model on each set with its interval; the same without what train holds, with how much
    that is and what is left of the change; genres by themselves.
    """
    tables = suite_tables()
    whole, without, genres = tables.values()
    assert list(tables) == [
        "Test sets",
        "Test sets without what train holds",
        "Genres of test sets",
    ]
    assert whole.columns == ["model", "test", "MORE", "mean"]
    assert [row[0] for row in whole.rows] == ["base", "fine-tuned", "TF-IDF cosine", "change"]
    cell = re.compile(r"[+-]?0\.\d{4} \([+-]?\d\.\d+ to [+-]?\d\.\d+\)( †)?")
    assert all(cell.fullmatch(text) for row in whole.rows for text in row[1:])
    assert all(text.startswith("+") for text in whole.rows[-1][1:])
    left_out = [row for row in without.rows if row[1] == "left out"]
    assert left_out == [
        ["no pairs of train", "left out", "0 of 200 (0 %)", "50 of 200 (25 %)", ""],
        ["no sentences of train", "left out", *left_out[1][2:]],
    ]
    assert next(row[2] for row in without.rows if row[1] == "of the change") == "100 %"
    assert next(row[2:] for row in without.rows if row[1] == "base")[0] == whole.rows[0][1]
    assert [row[:3] for row in genres.rows] == [
        ["MORE", "forum | odd", "20"],
        ["MORE", "news", "180"],
    ]
    for table in tables.values():
        assert table.reading.endswith(".")
        assert {len(row) for row in table.rows} == {len(table.columns)}
