"""The one sentence."""

from dataclasses import replace
from typing import Literal

import pytest

from splade_sts.comparison.evidence import ControlResult
from splade_sts.comparison.statistics import Estimate
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
    gain = comparison.splits["test"].spearman.gain
    note = f" {names.PERCENTILE_NOTE}" if names.mark(gain) else ""
    assert said.endswith(f"{cost}.{note}")
    interval = ", ".join(names.ends(gain, "+"))
    p = names.p_value(comparison.splits["test"].spearman_test)
    assert f"({gain.value:+.4f} [{interval}]{names.mark(gain)}, {p}), " in said


def estimate(value: float, method: Literal["bca", "percentile"] = "bca") -> Estimate:
    return Estimate(value, value - 0.1, value + 0.1, value - 0.1, value + 0.1, method, 0.0)


def test_intervals_that_fell_back():
    """Each is marked, and what the mark means is said once."""
    found = comparison_of(MANY_BASE, MANY_FINETUNED)
    test = found.splits["test"]
    assert "†" not in verdict(found)
    for over, end in (
        (0.3, "that is 0.3000 [0.2000, 0.4000] † above BM25 (0.6000)"),
        (-0.3, "that is 0.3000 [0.2000, 0.4000] † below BM25 (0.6000)"),
        (0.02, "it cannot be told from BM25 (0.6000; difference +0.0200 [-0.0800, +0.1200] †)"),
    ):
        control = replace(reference("bm25", 0.6, over), spearman_gain=estimate(over, "percentile"))
        spearman = replace(test.spearman, gain=estimate(0.2, "percentile"))
        whole = replace(test.whole, spearman=spearman)
        marked = replace(test, whole=whole, controls=(control,))
        said = verdict(replace(found, splits={"test": marked}))
        assert "(+0.2000 [+0.1000, +0.3000] †, p" in said
        assert said.endswith(f"; {end}. {names.PERCENTILE_NOTE}")
        assert said.count(names.PERCENTILE_NOTE) == 1


def reference(name: str, spearman: float, over: float) -> ControlResult:
    return ControlResult(
        name, estimate(spearman), estimate(spearman), estimate(over), estimate(over)
    )


@pytest.mark.parametrize(
    ("controls", "end"),
    [
        ((reference("bm25", 0.6, 0.2),), "that is 0.2000 [0.1000, 0.3000] above BM25 (0.6000)."),
        (
            (reference("dense", 0.5, -0.3), reference("bm25", 0.6, 0.2)),
            "that is 0.3000 [0.2000, 0.4000] below the dense encoder (0.5000).",
        ),
        (
            (reference("tfidf", 0.5, 0.02), reference("bm25", 0.4, 0.2)),
            "it cannot be told from TF-IDF cosine (0.5000; difference +0.0200 [-0.0800, +0.1200]).",
        ),
        ((), "active dims per sentence (5.0)."),
    ],
)
def test_what_gives_a_gain_its_size(controls, end):
    """The dense encoder, else the best by words alone; a difference only where there is one."""
    found = comparison_of(MANY_BASE, MANY_FINETUNED)
    test = replace(found.splits["test"], controls=controls)
    assert verdict(replace(found, splits={"test": test})).endswith(end)
