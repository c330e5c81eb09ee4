"""The comparison, from tables of predictions alone."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from splade_sts.comparison.compare import add_evidence, changed_pairs, check_scores, compare, markdown_report, metrics_table, split_metrics
from splade_sts.errors import UserError
from splade_sts.report.html import verdict


def predictions(predicted: list[float], active_dims: int) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "sentence1": ["a | b", "<script>alert(1)</script>", "c", "d"],
            "sentence2": ["e", "f", "g\nh", "i"],
            "gold": [0.0, 0.4, 0.7, 1.0],
            "predicted": predicted,
            "active_dims1": [active_dims] * 4,
            "active_dims2": [active_dims + 2] * 4,
            "shared_terms": [["x", "y"], [], ["z"], ["q"]],
            "shared_weights": [[0.2, 0.1], [], [0.5], [0.9]],
        }
    )
    table.attrs["vocabulary_size"] = 1000
    return table


BASE, FINETUNED = predictions([0.5, 0.4, 0.3, 0.9], 9), predictions([0.1, 0.5, 0.6, 0.9], 4)


def test_metrics_and_delta():
    """delta is finetuned minus base, for every metric."""
    result = compare({"test": BASE}, {"test": FINETUNED})["test"]
    assert result["base"]["spearman_cosine"] == spearmanr(BASE["gold"], BASE["predicted"])[0]
    assert result["base"]["active_dims"] == 10 and result["base"]["sparsity_ratio"] == pytest.approx(0.99)
    for name, delta in result["delta"].items():
        assert delta == result["finetuned"][name] - result["base"][name]
    assert "| test    | active_dims     |   10.0 |         5.0 |    -5.0 |" in metrics_table({"test": result})


def many(table: pd.DataFrame, repeats: int = 5) -> pd.DataFrame:
    """The pairs several times, with a little noise of their own in the predictions."""
    result = pd.concat([table] * repeats, ignore_index=True)
    noise = np.random.default_rng(0).normal(scale=0.02, size=len(result))
    result = result.assign(predicted=result["predicted"] + noise)
    result.attrs = table.attrs
    return result


def test_evidence_and_verdict():
    """Intervals for both coefficients, a sentence that carries them, and the column in the table."""
    base, finetuned = {"test": many(BASE)}, {"test": many(FINETUNED)}
    comparison = compare(base, finetuned)
    add_evidence(comparison, base, finetuned, 500, 0.95, 0)
    interval = comparison["test"]["evidence"]["spearman_cosine"]["delta"]
    assert interval["low"] < comparison["test"]["delta"]["spearman_cosine"] < interval["high"]
    assert f"{interval['low']:+.4f} to {interval['high']:+.4f}" in metrics_table(comparison)
    text = verdict(comparison, 0.95)
    assert text.startswith("Fine-tuning raised test Spearman from ") and f"[{interval['low']:+.4f}, " in text
    assert "5.0 fewer active dims" in text


def test_no_gain_is_called_no_gain():
    """A model that did not change: no significant difference."""
    base = {"test": many(BASE)}
    comparison = compare(base, base)
    add_evidence(comparison, base, base, 500, 0.95, 0)
    assert verdict(comparison, 0.95).startswith("Fine-tuning made no significant difference to test Spearman: from ")


@pytest.mark.parametrize(
    ("base", "finetuned", "message"),
    [
        (BASE, FINETUNED, "test has 4 pairs; intervals need at least 10"),
        (many(BASE).assign(predicted=0.5), many(FINETUNED), "base predictions are all 0.5"),
        (many(BASE), many(FINETUNED).assign(predicted=float("nan")), "finetuned predictions hold values that are not finite"),
        (many(BASE).assign(gold=1.0), many(FINETUNED).assign(gold=1.0), "gold scores are all 1"),
    ],
)
def test_no_evidence_from_nothing(base, finetuned, message):
    """Too few pairs, constant or undefined scores: one clear message."""
    with pytest.raises(UserError, match=message):
        check_scores(base, finetuned, "test")


def test_almost_constant_scores_give_no_interval():
    """One pair differs from all others: most resamples have no correlation, and the message says why."""
    gold = [1.0] + [0.0] * 19
    base, finetuned = ({"test": many(table).assign(gold=gold)} for table in (BASE, FINETUNED))
    check_scores(base["test"], finetuned["test"], "test")
    with pytest.raises(UserError, match="test: 20 pairs with almost all scores the same give no intervals"):
        add_evidence(compare(base, finetuned), base, finetuned, 200, 0.95, 0)


def test_predictions_of_different_pairs_are_refused():
    """Two files that do not belong together."""
    with pytest.raises(UserError, match="test: the predictions .* different pairs"):
        compare({"test": BASE}, {"test": FINETUNED.assign(gold=[0.0, 0.4, 0.7, 0.9])})


def test_changed_pairs():
    """Gains fall from the largest, losses from the worst; an unchanged pair is neither."""
    gained, lost = changed_pairs(BASE, FINETUNED, 10)
    assert gained["gain"].tolist() == pytest.approx([0.4, 0.3]) and lost["gain"].tolist() == pytest.approx([-0.1])
    assert gained["base_terms"].iloc[0] == "x 0.20, y 0.10"
    assert len(changed_pairs(BASE, FINETUNED, 1)[0]) == 1


def test_report_escapes_text():
    """Sentences cannot break the table or bring markup into it."""
    report = markdown_report("Better.", compare({"test": BASE}, {"test": FINETUNED}), {"test": changed_pairs(BASE, FINETUNED, 3)})
    assert "a \\| b" in report and "<script>" not in report.replace("\\<script\\>", "") and "g h" in report


@pytest.mark.parametrize("table", [BASE, FINETUNED])
def test_metrics_are_those_of_scipy(table):
    """Both correlations, unrounded; sparsity from the mean of both sides."""
    found = split_metrics(table)
    assert found["pearson_cosine"] == pearsonr(table["gold"], table["predicted"])[0]
    assert found["spearman_cosine"] == spearmanr(table["gold"], table["predicted"])[0]
    assert found["active_dims"] == (table["active_dims1"].mean() + table["active_dims2"].mean()) / 2
    assert found["sparsity_ratio"] == pytest.approx(1 - found["active_dims"] / 1000)


def test_delta_signs():
    """Better correlation is positive, fewer active dimensions negative; swapped models swap every sign."""
    delta = compare({"test": BASE}, {"test": FINETUNED})["test"]["delta"]
    assert delta["spearman_cosine"] > 0 and delta["active_dims"] == -5 and delta["sparsity_ratio"] > 0
    back = compare({"test": FINETUNED}, {"test": BASE})["test"]["delta"]
    assert back == {name: -value for name, value in delta.items()}


@pytest.mark.parametrize(
    "other",
    [FINETUNED[:3], FINETUNED.iloc[::-1].reset_index(drop=True), FINETUNED.assign(sentence1="x"), FINETUNED.assign(sentence2="x")],
    ids=["fewer", "other order", "sentence1", "sentence2"],
)
def test_every_difference_of_pairs_is_refused(other):
    """Fewer rows, another order, another sentence; the second split is checked, too."""
    with pytest.raises(UserError, match="^test: the predictions .* different pairs"):
        compare({"validation": BASE, "test": BASE}, {"validation": FINETUNED, "test": other})


def test_order_of_losses():
    """Swapped models: the gains become losses, worst first; terms belong to their model."""
    gained, lost = changed_pairs(FINETUNED, BASE, 10)
    assert lost["gain"].tolist() == pytest.approx([-0.4, -0.3]) and gained["gain"].tolist() == pytest.approx([0.1])
    assert lost["sentence1"].tolist() == ["a | b", "c"]
    assert lost[["gold", "base", "finetuned"]].iloc[0].tolist() == [0.0, 0.1, 0.5]
    assert changed_pairs(BASE, BASE, 10)[0].empty and changed_pairs(BASE, BASE, 10)[1].empty


@pytest.mark.parametrize("text", ["a | b", "<b>x</b>", "back\\|slash", "two\nlines", "*x* _y_ `z` [l](u) # h"])
def test_a_sentence_stays_one_cell(text):
    """Whatever it holds, each row has as many cells as the header, and no bare markup."""
    base, finetuned = BASE.assign(sentence1=text, sentence2=text), FINETUNED.assign(sentence1=text, sentence2=text)
    report = markdown_report("Same.", compare({"test": base}, {"test": finetuned}), {"test": changed_pairs(base, finetuned, 3)})
    part = report.split("## test: pairs that gained most")[1].split("##")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    unescaped = [re.sub(r"\\.", "", row) for row in rows]
    assert {row.count("|") for row in unescaped} == {unescaped[0].count("|")}
    assert not any(character in row for row in unescaped[2:] for character in "<>*`[]#")


def test_report_without_changes():
    """Says so instead of an empty table."""
    report = markdown_report("Same.", compare({"test": BASE}, {"test": BASE}), {"test": changed_pairs(BASE, BASE, 3)})
    assert report.count("None.") == 2 and "Same." in report
