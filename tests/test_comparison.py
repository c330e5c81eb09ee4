"""The comparison, from tables of predictions alone."""

import pandas as pd
import pytest
from scipy.stats import spearmanr

from splade_sts.comparison import changed_pairs, compare, markdown_report, metrics_table
from splade_sts.errors import UserError


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
