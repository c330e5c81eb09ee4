"""The report's tables."""

import re
from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.compare import SearchResults, SplitResults, compare
from splade_sts.comparison.evidence import Comparison
from splade_sts.comparison.suite import SetScores, make_suite
from splade_sts.data.pairs import Pairs
from splade_sts.data.search import SearchOrigin
from splade_sts.evaluation.results import Retrieval, SearchEvaluation
from splade_sts.report import names
from splade_sts.report.sections import Section, sections, shared_sentences, without_seen
from tests.support.results import (
    BASE,
    BOOTSTRAP,
    FINETUNED,
    NOTHING,
    SEEN,
    comparison_of,
    queries,
    repeated,
    split_results,
    two_genres,
)

BETTER = queries(np.array([0.5, 1.0] * 20))
WORSE = queries(np.array([0.5, 0.8] * 20))
FEW = queries(np.array([1.0, 0.5]))


def search_results() -> SearchResults:
    """A set of two queries, searched with both models."""
    found = [SearchEvaluation(Retrieval.of(FEW, 9), 3.0, dims) for dims in (30.0, 40.0)]
    return SearchResults(SearchOrigin("a/b", "e" * 40, 2, 9, {}), *found, FEW, FEW)


@pytest.fixture(scope="module")
def found() -> dict[str, Section]:
    """All sections by title, of a comparison that has everything."""
    results = two_genres()
    searched = split_results(results.base, results.finetuned, (BETTER, WORSE))
    results = replace(
        results,
        base_evaluation=searched.base_evaluation,
        finetuned_evaluation=searched.finetuned_evaluation,
        paraphrases=searched.paraphrases,
    )
    compared = compare({"test": results}, SEEN, BOOTSTRAP, {"Nano": search_results()}, margin=0.05)
    return {section.title: section for section in sections(compared)}


def test_each_question_has_its_table(found):
    """Rows as wide as the header, with a sentence on how to read them."""
    assert list(found) == [
        "Numbers",
        "Against words alone",
        "Without what training has seen",
        "Calibration",
        "Calibration by gold score",
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


def test_splits_without_seen_pairs():
    """Their unseen pairs are all pairs, which one row says."""
    rows = without_seen(compare({"test": two_genres()}, NOTHING, BOOTSTRAP)).rows
    assert [row[:3] for row in rows] == [
        ["test", "as published", "200"],
        ["test", "seen in train", "0"],
    ]


def test_readings():
    """How to read the slices is said once; nothing is markup, which neither report would show."""
    results = two_genres()
    comparison = compare({"validation": results, "test": results}, SEEN, BOOTSTRAP)
    found = {section.title: section.reading for section in sections(comparison)}
    assert found["Slices of validation"].startswith("Spearman within a part of the pairs.")
    assert found["Slices of test"].startswith("Read as the slices above.")
    assert "`" not in "".join(found.values())


def test_shared_sentences():
    """Both intervals side by side, and how many clusters they come from; a warning where these are
    few.
    """
    results = two_genres()
    sides = [f"s{number // 5}" for number in range(200)]
    comparison = compared(results, sides)
    section = shared_sentences(comparison)
    assert "test: 200 pairs in 40 clusters, the largest of 5 pairs" in section.reading
    assert "count like 40 clusters" in section.reading
    assert "do not trust" not in section.reading
    assert [row[1] for row in section.rows] == [
        *("Pearson, base", "Pearson, fine-tuned", "Pearson, change"),
        *("Spearman, base", "Spearman, fine-tuned", "Spearman, change"),
    ]
    plain, apart = comparison.splits["test"].spearman.gain, comparison.splits["test"].clustered
    assert section.rows[-1][3] == " to ".join(names.ends(plain, "+"))
    assert section.rows[-1][4] == " to ".join(names.ends(apart.whole.spearman.gain, "+"))
    assert apart.whole.spearman.gain != plain
    few = shared_sentences(compared(results, [f"s{number % 8}" for number in range(200)]))
    assert (
        "Fewer than 30 say little: do not trust the intervals from clusters of test;" in few.reading
    )
    one = shared_sentences(compared(results, ["s"] * 200))
    assert {row[4] for row in one.rows} == {"–"}
    assert shared_sentences(compared(results, [f"s{number}" for number in range(200)])).rows == []


def test_calibration():
    """Every model's error, the dense encoder's too where there is one; what is left with lines from
    validation; biases by band.
    """
    results = two_genres()
    scores = results.controls.scores | {"dense": results.pairs.score * 0.5}
    results = replace(results, controls=replace(results.controls, scores=scores))
    comparison = compare({"validation": results, "test": results}, SEEN, BOOTSTRAP)
    found = {section.title: section for section in sections(comparison)}
    rows = found["Calibration"].rows
    assert [row[:2] for row in rows[3:]] == [
        ["test", "base"],
        ["test", "fine-tuned"],
        ["test", "dense encoder"],
    ]
    base, _, dense = comparison.splits["test"].calibration.models
    assert rows[3][2] == f"{base.squared_error.value:.4f}"
    assert rows[3][4] == f"{base.finetuned_minus.value:+.4f}"
    assert rows[4][4:] == ["", ""]
    scale = found["Calibration: how much is a matter of scale?"]
    assert scale.rows[2][:4] == [
        "dense encoder",
        f"{dense.squared_error.value:.4f}",
        "0.0000",
        "0.0000",
    ]
    assert scale.rows[2][4] == f"{comparison.recalibration[1].linear.value:+.4f}"
    bands = found["Calibration by gold score"]
    assert len(bands.rows) == 10
    assert bands.columns[3:] == ["base", "fine-tuned", "dense encoder"]
    for row, band in zip(bands.rows[5:], comparison.splits["test"].calibration.bands, strict=True):
        assert row[1:3] == [band.band, str(band.pairs)]
        assert row[3:] == [
            f"{one.value:+.4f} ({' to '.join(names.ends(one, '+'))})" for one in band.bias.values()
        ]


def compared(results: SplitResults, first: list[str]) -> Comparison:
    """With other first sentences."""
    pairs = replace(results.pairs, sentence1=first)
    same = {
        name: replace(getattr(results, name), pairs=replace(pairs, genre=None))
        for name in ("base", "finetuned", "controls")
    }
    return compare({"test": replace(results, pairs=pairs, **same)}, NOTHING, BOOTSTRAP)


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
    """Before, after and the change with its interval, what the margin says of it, and how large the
    search was; no interval of two queries.
    """
    retrieval = found["Did it stay a retriever?"]
    rows = {(row[0], row[1]): row[2:] for row in retrieval.rows}
    mrr = rows["test, paraphrases", "MRR@10"]
    assert mrr[:3] == ["0.7500", "0.6500", "-0.1000"]
    assert mrr[4] == "no"
    low, high = map(float, mrr[3].split(" to "))
    assert -0.15 < low < -0.1 < high <= -0.05
    assert rows["test, paraphrases", "recall@10"][2:] == ["+0.0000", "+0.0000 to +0.0000 †", ""]
    assert rows["Nano", "nDCG@10"] == ["0.7500", "0.7500", "+0.0000", "–", ""]
    assert retrieval.columns[-1] == "loses less than 0.05"
    assert "test, paraphrases: 40 queries in 40 groups, 20 documents" in retrieval.reading
    assert f"Nano (a/b at {'e' * 40}) has 30.0 active dims with base and 40.0" in retrieval.reading


@pytest.mark.parametrize(("margin", "said"), [(0.2, "yes"), (0.1, "open"), (0.05, "no")])
def test_what_the_margin_says(margin, said):
    """Of a loss of 0.1: less than the margin, as much, more."""
    results = split_results(repeated(BASE), repeated(FINETUNED), (BETTER, WORSE))
    compared = compare({"test": results}, NOTHING, BOOTSTRAP, margin=margin)
    assert compared.splits["test"].retrieval.mrr_at_10.not_inferior is (said == "yes")
    rows = next(s for s in sections(compared) if s.title == "Did it stay a retriever?").rows
    assert [row[-1] for row in rows] == [said, said, ""]


def test_no_margin():
    """No such statement, and no column for it."""
    results = split_results(repeated(BASE), repeated(FINETUNED), (BETTER, WORSE))
    compared = compare({"test": results}, NOTHING, BOOTSTRAP)
    section = next(s for s in sections(compared) if s.title == "Did it stay a retriever?")
    assert section.columns[-1] == "95 % interval"
    assert "margin" not in section.reading
    assert {len(row) for row in section.rows} == {6}


def test_no_retrieval_in_one_evaluation():
    """Nothing is compared with nothing; a control that says nothing has no table either."""
    results = split_results(repeated(BASE), repeated(FINETUNED), (BETTER, None))
    titles = [found.title for found in sections(compare({"test": results}, NOTHING, BOOTSTRAP))]
    assert titles == [
        "Numbers",
        "Without what training has seen",
        "Pairs that share sentences",
        "Calibration",
        "Calibration by gold score",
    ]


def test_controls(found):
    """Those whose scores vary, by their names for people."""
    assert [row[1] for row in found["Against words alone"].rows] == [
        "word overlap (Jaccard)",
        "TF-IDF cosine",
    ]


def suite_tables(*more: str) -> dict[str, Section]:
    """The tables of two sets, one of which has genres and shares pairs with train, and of others
    like the first.
    """
    results = two_genres()
    scores = {
        "base": results.base.cosine,
        "finetuned": results.finetuned.cosine,
        "tfidf": results.controls.scores["tfidf"] + results.base.cosine / 2,
        "dense": results.pairs.score + results.base.cosine / 3,
    }
    pairs = replace(
        results.pairs, sentence1=[f"other {text}" for text in results.pairs.sentence1], genre=None
    )
    linked = replace(results.pairs, sentence2=[f"half {number // 2}" for number in range(200)])
    sets = {"test": SetScores(pairs, scores), "MORE": SetScores(linked, scores)}
    sets |= dict.fromkeys(more, sets["test"])
    train = linked.select(np.arange(200) < 50)
    suite = make_suite(sets, train, "tfidf", BOOTSTRAP)
    comparison = replace(comparison_of(repeated(BASE), repeated(FINETUNED)), suite=suite)
    found = [table for table in sections(comparison) if "est sets" in table.title]
    return {table.title: table for table in found}


def test_further_test_sets():
    """Each model on each set with its interval; the same without what train holds, with how much
    that is and what is left of the change; with clusters drawn; genres by themselves.
    """
    tables = suite_tables()
    whole, no_pairs, no_sentences, _, genres = tables.values()
    assert list(tables) == [
        "Test sets",
        "Test sets without pairs of train",
        "Test sets without sentences of train",
        "Test sets: pairs that share sentences",
        "Genres of test sets",
    ]
    models = ["base", "fine-tuned", "TF-IDF cosine", "dense encoder"]
    differences = ["change", "fine-tuned minus dense encoder"]
    assert whole.columns == ["set", "pairs", *models, *differences]
    assert [row[:2] for row in whole.rows] == [["test", "200"], ["MORE", "200"], ["mean", ""]]
    cell = re.compile(r"[+-]?0\.\d{4} \([+-]?\d\.\d+ to [+-]?\d\.\d+\)( †)?")
    assert all(cell.fullmatch(text) for row in whole.rows for text in row[2:])
    assert all(text[0] in "+-" for row in whole.rows for text in row[6:])
    assert all(text[0] == "0" for row in whole.rows for text in row[2:6])
    for table in (no_pairs, no_sentences):
        assert table.columns == ["set", "left out", *models, *differences, "of the change"]
        left_out = [row[1] for row in table.rows]
        assert left_out == ["0 of 200 (0 %)", "50 of 200 (25 %)", ""]
        assert table.rows[0][2:] == [*whole.rows[0][2:], "100 %"]
        assert table.rows[1][2] != whole.rows[1][2]
        assert re.fullmatch(r"\d+ %", table.rows[1][-1])
    assert [row[:3] for row in genres.rows] == [
        ["MORE", "forum | odd", "20"],
        ["MORE", "news", "180"],
    ]
    assert genres.columns == ["set", "genre", "pairs", *models]
    for table in tables.values():
        assert table.reading.endswith(".")
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_clusters_of_further_test_sets():
    """Both intervals side by side, of sets whose pairs share sentences and of the mean; too few
    clusters are named.
    """
    table = suite_tables()["Test sets: pairs that share sentences"]
    assert [row[:3] for row in table.rows] == [
        ["all", "MORE", "100 (like 100)"],
        ["all", "mean", ""],
        ["no pairs of train", "MORE", "75 (like 75)"],
        ["no pairs of train", "mean", ""],
        ["no sentences of train", "MORE", "75 (like 75)"],
        ["no sentences of train", "mean", ""],
    ]
    shown = ("fine-tuned", "change", "fine-tuned minus dense encoder")
    assert table.columns[3:] == [name for one in shown for name in (one, "clusters drawn")]
    whole = suite_tables()["Test sets"]
    for row, plain in zip(table.rows, whole.rows[1:], strict=False):
        assert row[3::2] == [plain[whole.columns.index(name)] for name in shown]
        assert all(re.fullmatch(r"[+-]?\d\.\d+ to [+-]?\d\.\d+", text) for text in row[4::2])
    assert "do not trust" not in table.reading


def test_few_clusters_of_a_further_test_set():
    """They are named with their pairs; one cluster has no interval."""
    results = two_genres()
    scores = {"base": results.base.cosine, "finetuned": results.finetuned.cosine}
    sets = {
        "test": SetScores(results.pairs, scores),
        "FEW": SetScores(
            replace(results.pairs, sentence2=[f"b{n % 8}" for n in range(200)], genre=None), scores
        ),
        "ONE": SetScores(replace(results.pairs, sentence2=["b"] * 200, genre=None), scores),
    }
    suite = make_suite(sets, NOTHING, None, BOOTSTRAP)
    comparison = replace(comparison_of(repeated(BASE), repeated(FINETUNED)), suite=suite)
    title = "Test sets: pairs that share sentences"
    table = next(one for one in sections(comparison) if one.title == title)
    assert "Fewer than 30 say little: do not trust" in table.reading
    assert "clusters of FEW (all), ONE (all), FEW (no pairs" in table.reading
    one = next(row for row in table.rows if row[1] == "ONE")
    assert one[2:] == ["1 (like 1)", one[3], "–", one[5], "–"]


def test_several_means_of_test_sets():
    """Each is named with the sets that it is over."""
    seven = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSb", "SICK-R")
    tables = suite_tables(*seven)
    whole = tables["Test sets"]
    assert [row[0] for row in whole.rows[-2:]] == ["mean of all 9", "mean of the usual 7"]
    assert whole.rows[-2][2] != whole.rows[-1][2]
    assert f"The usual 7 are {', '.join(seven)}." in whole.reading
    assert tables["Test sets without pairs of train"].rows[-1][0] == "mean of the usual 7"


def test_the_mean_of_sets_that_have_numbers():
    """Where one has too few pairs without what train holds."""
    results = two_genres()
    scores = {"base": results.base.cosine, "finetuned": results.finetuned.cosine}
    few = Pairs(*([f"few {s} {n}" for n in range(200)] for s in "ab"), results.pairs.score)
    sets = {"test": SetScores(results.pairs, scores), "FEW": SetScores(few, scores)}
    sets["MORE"] = sets["test"]
    suite = make_suite(sets, few.select(np.arange(200) < 150), None, BOOTSTRAP)
    comparison = replace(comparison_of(repeated(BASE), repeated(FINETUNED)), suite=suite)
    whole, without = (one for one in sections(comparison)[1:3])
    assert "2 sets have numbers in all three tables: test, MORE." in whole.reading
    assert [row[0] for row in without.rows[3:]] == ["mean of all 3", "mean of 2"]
    assert without.rows[1][1:4] == ["150 of 200 (75 %)", "–", "–"]
    assert without.rows[3][2] == "–"
    assert without.rows[4][2] == whole.rows[4][2] != "–"
