"""The one sentence."""

import pytest

from splade_sts.report import names
from splade_sts.report.verdict import verdict
from tests.support.results import BASE, FINETUNED, comparison_of, repeated

MANY_BASE, MANY_FINETUNED = repeated(BASE), repeated(FINETUNED)


@pytest.mark.parametrize(
    ("base", "finetuned", "start", "cost"),
    [
        (
            MANY_BASE,
            MANY_FINETUNED,
            "raised test Spearman from ",
            "with 5.0 fewer active dims per sentence (5.0)",
        ),
        (
            MANY_FINETUNED,
            MANY_BASE,
            "lowered test Spearman from ",
            "with 5.0 more active dims per sentence (10.0)",
        ),
        (
            MANY_BASE,
            MANY_BASE,
            "made no significant difference to test Spearman: from ",
            "with the same number of active dims per sentence (10.0)",
        ),
    ],
    ids=["better", "worse", "the same"],
)
def test_what_fine_tuning_did(base, finetuned, start, cost):
    """A gain is called one only where its interval says so; interval, p value and cost stand in
    it.
    """
    comparison = comparison_of(base, finetuned)
    said = verdict(comparison)
    assert said.startswith(f"Fine-tuning {start}")
    assert said.endswith(f"{cost}.")
    gain = comparison.splits["test"].spearman.gain
    interval = ", ".join(names.ends(gain, "+"))
    p = names.p_value(comparison.splits["test"].spearman_test)
    assert f"({gain.value:+.4f} [{interval}], {p}), " in said
