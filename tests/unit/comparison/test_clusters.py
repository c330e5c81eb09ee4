"""Pairs that share sentences are drawn together."""

import numpy as np
import pytest

from splade_sts.comparison.clusters import Clusters, cluster_of
from splade_sts.comparison.compare import by_cluster
from splade_sts.comparison.statistics import GAIN, Bootstrap, Sample, estimates
from splade_sts.data.pairs import Pairs


def pairs_of(*sides: tuple[str, str]) -> Pairs:
    first, second = zip(*sides, strict=True)
    return Pairs(list(first), list(second), np.linspace(0, 1, len(sides)))


def test_clusters():
    """A chain of shared sentences is one cluster, on either side and in any spelling; a pair of a
    sentence with itself is a pair like others.
    """
    found = cluster_of(
        pairs_of(
            ("a", "b"), ("x", "y"), ("c", "B "), ("C", "d"), ("e", "e"), ("f", "g"), ("y", "z")
        )
    )
    assert found.tolist() == [found[0], found[1], found[0], found[0], found[4], found[5], found[1]]
    assert sorted(set(found)) == [0, 1, 2, 3]
    clusters = Clusters.of(found)
    assert (clusters.number, clusters.largest) == (4, 3)
    assert clusters.effective == pytest.approx(49 / (9 + 4 + 1 + 1))
    assert not clusters.enough
    assert Clusters.of(np.arange(30)) == Clusters(30, 1, 30.0)
    assert Clusters.of(np.arange(30)).enough


def draw(pairs: int) -> Sample:
    generator = np.random.default_rng(5)
    gold, shared, one, other = generator.normal(size=(4, pairs))
    return Sample(gold, gold + shared + one, gold + 0.5 * (shared + other))


BOOTSTRAP = Bootstrap(2000, 0.95, 0)


def test_pairs_that_share_nothing():
    """Clusters of one pair are pairs: the same intervals, to the last digit that counts."""
    sample = draw(80)
    plain = estimates(sample.gold, sample.predictions, GAIN, BOOTSTRAP)
    found = estimates(sample.gold, sample.predictions, GAIN, BOOTSTRAP, np.arange(80))
    for name, both in plain.items():
        for key in ("pearson", "spearman"):
            expected, other = getattr(both, key), getattr(found[name], key)
            assert (other.value, other.method) == (expected.value, expected.method)
            assert [other.low, other.high] == pytest.approx([expected.low, expected.high], abs=1e-9)


def test_repeated_pairs_are_no_evidence():
    """Every pair four times over: the interval from clusters is that of the pairs once, the plain
    one is half as wide.
    """
    once = draw(150)
    cluster = np.tile(np.arange(150), 4)
    many = Sample(*(np.tile(values, 4) for values in (once.gold, once.base, once.finetuned)))
    alone = estimates(once.gold, once.predictions, GAIN, BOOTSTRAP)
    plain = estimates(many.gold, many.predictions, GAIN, BOOTSTRAP)
    found = estimates(many.gold, many.predictions, GAIN, BOOTSTRAP, cluster)
    for name in ("base", "finetuned", "gain"):
        for key in ("pearson", "spearman"):
            one, other, right = (getattr(made[name], key) for made in (plain, found, alone))
            assert other.value == pytest.approx(right.value, abs=1e-3)
            for end in ("low", "high", "percentile_low", "percentile_high"):
                assert getattr(other, end) == pytest.approx(getattr(right, end), abs=2e-3)
            assert other.method == "bca"
            widths = (one.high - one.low) / (other.high - other.low)
            assert widths == pytest.approx(0.5, abs=0.05)


def test_one_cluster_says_nothing():
    """All pairs hang together: there is nothing to draw, and no interval of zero width."""
    sample = draw(20)
    chain = pairs_of(*((f"s{number}", f"s{number + 1}") for number in range(20)))
    found = by_cluster(sample, chain, BOOTSTRAP)
    assert found.clusters == Clusters(1, 20, 1.0)
    assert (found.whole.pairs, found.whole.spearman) == (20, None)
    apart = pairs_of(*((f"s{number}", f"t{number}") for number in range(20)))
    assert by_cluster(sample, apart, BOOTSTRAP).whole.spearman is not None
