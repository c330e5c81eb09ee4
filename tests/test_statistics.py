"""Intervals and tests, against worked examples and by simulation."""

import numpy as np
import pytest
from scipy import stats

from splade_sts.statistics import bootstrap, evidence, in_words, williams


@pytest.mark.parametrize(
    ("r12", "r13", "r23", "pairs", "t", "p"),
    [
        # Howell, Statistical Methods for Psychology, 6th edition, page 262
        (0.80, 0.72, 0.89, 26, 1.361, 0.187),
        # Steiger's example as in the documentation of R's psych::r.test
        (0.5, 0.4, 0.1, 103, 0.89, 0.37),
    ],
)
def test_williams_worked_examples(r12, r13, r23, pairs, t, p):
    """Published values, to the digits they were published with."""
    found_t, found_p = williams(r12, r13, r23, pairs)
    digits = 3 if t == 1.361 else 2
    assert round(found_t, digits) == t and round(found_p, digits) == p
    assert williams(r13, r12, r23, pairs)[0] == -found_t


def draw(generator: np.random.Generator, pairs: int, noise1: float = 0.5, noise2: float = 0.5) -> tuple[np.ndarray, ...]:
    gold = generator.normal(size=pairs)
    shared = generator.normal(size=pairs)
    return gold, gold + noise1 * (shared + generator.normal(size=pairs)), gold + noise2 * (shared + generator.normal(size=pairs))


def test_williams_keeps_its_level():
    """Where there is no difference, 5 % of the samples are called significant (Monte Carlo, 2,000 samples)."""
    generator = np.random.default_rng(0)
    rejected = 0
    for _ in range(2000):
        samples = draw(generator, 80)
        r = np.corrcoef(samples)
        rejected += williams(r[0, 1], r[0, 2], r[1, 2], 80)[1] < 0.05
    assert rejected / 2000 == pytest.approx(0.05, abs=0.015)


def test_bootstrap_covers():
    """95 % intervals of the difference hold the truth (zero) about 95 times in a hundred (Monte Carlo, 200 samples)."""
    generator = np.random.default_rng(1)
    held = 0
    for number in range(200):
        interval = bootstrap(*draw(generator, 100), resamples=400, confidence=0.95, seed=number)["spearman_cosine"]["delta"]
        held += interval["low"] <= 0 <= interval["high"]
    assert 0.90 <= held / 200 <= 0.99


def test_evidence():
    """A real difference is found; the intervals hold scipy's point values; the seed decides."""
    gold, base, finetuned = draw(np.random.default_rng(2), 300, noise1=1.0, noise2=0.3)
    found = evidence(gold, base, finetuned, 1000, 0.95, seed=3)
    spearman = found["spearman_cosine"]
    assert spearman["base"]["low"] < stats.spearmanr(gold, base)[0] < spearman["base"]["high"]
    assert spearman["delta"]["low"] > 0 and spearman["williams_p"] < 1e-4 and spearman["williams_t"] > 0
    assert found == evidence(gold, base, finetuned, 1000, 0.95, seed=3)
    assert found != evidence(gold, base, finetuned, 1000, 0.95, seed=4)


def test_no_difference_at_all():
    """Two models with the same predictions: an interval of zero width, p = 1, and words that say so."""
    gold, base, _ = draw(np.random.default_rng(4), 50)
    found = evidence(gold, base, base.copy(), 200, 0.95, seed=0)["spearman_cosine"]
    assert found["delta"]["low"] == found["delta"]["high"] == 0 and found["williams_p"] == 1
    assert in_words(0.0, found["delta"], 1.0, 0.95).endswith("no significant difference at the 95% level")


def test_words():
    """What a reader sees."""
    assert in_words(0.0472, {"low": 0.0333, "high": 0.0611}, 1e-9, 0.95) == "+0.0472 [+0.0333, +0.0611], p < 0.0001"
