"""Differences of searches, with intervals over groups of queries."""

from dataclasses import replace

import numpy as np
import pytest

from splade_sts.comparison.retrieval import RetrievalResults, compare_retrieval, mean_over_groups
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.errors import UserError
from splade_sts.evaluation.results import QueryResults, Retrieval
from tests.support.results import queries

BOOTSTRAP = Bootstrap(resamples=2000, confidence=0.95, seed=0)


def results(found: QueryResults, documents: int = 50) -> RetrievalResults:
    return RetrievalResults(Retrieval.of(found, documents), found)


def test_groups_of_one_are_the_plain_bootstrap():
    """The interval of a mean: about two standard errors to each side."""
    values = np.random.default_rng(0).normal(size=400)
    (found,) = mean_over_groups(values[None], np.arange(400), BOOTSTRAP)
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (found.value - 1.96 * error, found.value + 1.96 * error), abs=0.15 * error
    )


def test_copies_within_a_group_say_nothing_new():
    """Each query ten times in a group of its own: the interval is that of the queries once. Taken
    for independent, they would give one a third as wide.
    """
    values = np.random.default_rng(0).normal(size=60)
    (once,) = mean_over_groups(values[None], np.arange(60), BOOTSTRAP)
    (copies,) = mean_over_groups(np.tile(values, 10)[None], np.tile(np.arange(60), 10), BOOTSTRAP)
    (independent,) = mean_over_groups(np.tile(values, 10)[None], np.arange(600), BOOTSTRAP)
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))
    assert independent.high - independent.low < 0.4 * (once.high - once.low)


def test_large_groups_weigh_more():
    """The mean is that of queries, not of groups, in resamples too."""
    group = np.repeat(np.arange(12), [89, *[1] * 11])
    values = np.where(group == 0, 1.0, 0.0)
    (found,) = mean_over_groups(values[None], group, BOOTSTRAP)
    assert found.value == pytest.approx(0.89)
    assert found.percentile_low == 0.0
    assert found.percentile_high > 0.95


def test_coverage():
    """Of groups with an effect in common, nineteen in twenty intervals hold the true mean."""
    generator = np.random.default_rng(1)
    few = replace(BOOTSTRAP, resamples=400)
    group = np.repeat(np.arange(40), 5)
    held = 0
    for _ in range(200):
        values = generator.normal(size=40)[group] + 0.5 * generator.normal(size=200)
        (found,) = mean_over_groups(values[None], group, few)
        held += found.low <= 0 <= found.high
    assert 0.89 <= held / 200 <= 0.985


def test_a_comparison():
    """Paired: what is the same in both does not widen the interval."""
    ranks = np.random.default_rng(0).choice([1.0, 0.5, 0.2, 0.0], size=40)
    base, finetuned = results(queries(ranks, 20)), results(queries(ranks * 0.98, 20))
    found = compare_retrieval("test", base, finetuned, BOOTSTRAP, margin=0.02)
    assert (found.queries, found.documents, found.groups) == (40, 50, 20)
    change = found.mrr_at_10
    assert change.base == pytest.approx(ranks.mean())
    assert change.gain.value == pytest.approx(-0.02 * ranks.mean())
    assert change.gain.low > -0.02
    assert change.not_inferior is True
    assert found.recall_at_10.not_inferior is None
    narrow = compare_retrieval("test", base, finetuned, BOOTSTRAP, margin=0.001)
    assert narrow.mrr_at_10.not_inferior is False
    assert (
        compare_retrieval("test", base, finetuned, BOOTSTRAP, None).mrr_at_10.not_inferior is None
    )


def test_few_groups():
    """No interval, and nothing said of the margin; the numbers are there."""
    found = results(queries(np.linspace(0, 1, 90), groups=9))
    change = compare_retrieval("test", found, found, BOOTSTRAP, 0.01).mrr_at_10
    assert (change.gain, change.not_inferior) == (None, None)
    assert change.base == pytest.approx(0.5)
    more = results(queries(np.linspace(0, 1, 90), groups=10))
    assert compare_retrieval("test", more, more, BOOTSTRAP, 0.01).mrr_at_10.gain is not None


@pytest.mark.parametrize("other", ["query", "group", "documents"])
def test_other_searches_are_refused(other):
    """Two models that did not search the same."""
    found = queries(np.linspace(0, 1, 20))
    changed = {
        "query": results(replace(found, query=found.query[::-1])),
        "group": results(replace(found, group=found.group // 2)),
        "documents": results(found, 51),
    }[other]
    with pytest.raises(
        UserError, match=r"NanoNQ: base .* other queries or documents; run dvc repro"
    ):
        compare_retrieval("NanoNQ", results(found), changed, BOOTSTRAP, None)
