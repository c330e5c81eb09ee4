"""The tables behind `dvc plots`."""

import pandas as pd
import pytest

from splade_sts.comparison.compare import compare
from splade_sts.report.pictures import PlotTables
from splade_sts.report.plots import gains, write_plots
from tests.support.results import BOOTSTRAP, NOTHING, SEEN, two_genres


@pytest.fixture(scope="module")
def comparison():
    return compare({"test": two_genres()}, SEEN, BOOTSTRAP)


def test_tables(comparison, tmp_path):
    """One row for each value and model; no cell that a spreadsheet would take for a formula."""
    results = two_genres()
    write_plots(tmp_path, comparison, PlotTables.of(results.base, results.finetuned))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "active_dims.csv",
        "errors.csv",
        "gains.csv",
        "predictions.csv",
    ]
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 400
    for path in tmp_path.iterdir():
        table = pd.read_csv(path)
        assert set(table.get("model", ["base", "fine-tuned"])) == {"base", "fine-tuned"}
        for column in table.select_dtypes(exclude="number"):
            assert not table[column].astype(str).str.match(r"[=+\-@\t]").any()


def test_gains(comparison):
    """Over the base on all pairs, unseen ones and slices, and over each control, with intervals."""
    found = gains(comparison).set_index("name")
    assert not found.index.duplicated().any()
    assert found.loc["all pairs", "gain"] == comparison.splits["test"].spearman.gain.value
    assert found.loc["unseen in train", "pairs"] == 197
    assert "seen in train" not in found.index  # three pairs
    everywhere = gains(compare({"test": two_genres()}, NOTHING, BOOTSTRAP)).set_index("name")
    assert "unseen in train" not in everywhere.index  # all pairs are
    news = next(part for part in comparison.splits["test"].slices if part.name == "news")
    assert found.loc["genre news", "low"] == news.spearman.low
    assert found.loc["genre news", "group"] == "fine-tuned minus base by slice"
    assert found.loc["TF-IDF cosine", "high"] < 0
    assert "genre news" in found.index
    assert not any("odd" in name for name in found.index)  # too small
    assert (found["low"] <= found["gain"]).all()
    assert (found["gain"] <= found["high"]).all()


def test_names_hold_no_markup(comparison):
    """A genre is anybody's text, and the page of a plot does not escape it."""
    results = two_genres()
    genre = [name.replace("news", "<b>n|ws</b>") for name in results.pairs.genre]
    pairs = type(results.pairs)(
        results.pairs.sentence1, results.pairs.sentence2, results.pairs.score, genre
    )
    odd = type(results)(**{**vars(results), "pairs": pairs})
    names = gains(compare({"test": odd}, SEEN, BOOTSTRAP))["name"]
    assert names.str.fullmatch(r"[\w.+() -]+").all()
