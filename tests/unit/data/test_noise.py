"""What correlation the gold scores allow."""

import numpy as np
import pytest

from splade_sts import layout
from splade_sts.data.facts import Facts
from splade_sts.data.noise import LabelNoise, label_noise
from splade_sts.data.pairs import Pairs


def made(*rows: tuple[str, str, float]) -> Pairs:
    first, second, score = zip(*rows, strict=True)
    return Pairs(list(first), list(second), np.array(score))


def noise_of(splits: dict[str, Pairs]) -> LabelNoise:
    return label_noise({name: Facts.of(pairs) for name, pairs in splits.items()})


def test_deviation_within_pairs():
    """Groups reach over splits, orders and spellings; freedom is scores less groups."""
    train = made(("a", "b", 0.2), ("B", "A", 0.4), ("c", "d", 0.5), ("e", "f", 0.9))
    validation = made(("c", "d", 0.5), ("x", "y", 0.0), ("z", "y", 1.0))
    test = made(("a ", "b", 0.6), ("u", "v", 0.0), ("u", "w", 1.0))
    found = noise_of({"train": train, "validation": validation, "test": test})
    assert (found.repeated.groups, found.disagreeing.groups) == (2, 1)
    squares = 0.2**2 + 0 + 0.2**2
    assert found.repeated.deviation == pytest.approx(np.sqrt(squares / 3))
    assert found.disagreeing.deviation == pytest.approx(np.sqrt(squares / 2))
    assert (found.repeated.low, found.repeated.high) == (None, None)
    expected = np.sqrt(1 - squares / 3 / np.var(test.score, ddof=1))
    ceiling = found.repeated.ceilings["test"]
    assert (ceiling.value, ceiling.low, ceiling.high) == (pytest.approx(expected), None, None)


def labelled(generator: np.random.Generator, pairs: int, twice: int, noise: float):
    """True scores, a split of noisy ones, and other noisy ones of the first `twice` pairs."""
    truth = generator.normal(0.5, 0.25, pairs)
    one, other = truth + noise * generator.normal(size=(2, pairs))
    names = [f"s{number}" for number in range(pairs)]
    test = Pairs(names, [f"t{number}" for number in range(pairs)], one)
    train = Pairs(test.sentence2[:twice], test.sentence1[:twice], other[:twice])
    return truth, {"train": train, "validation": train, "test": test}


def test_ceiling_is_the_correlation_of_the_truth():
    """With noise of a known size: the ceiling is what the true scores reach, and its interval holds
    it; so does that of the deviation, about 95 times in a hundred.
    """
    generator = np.random.default_rng(0)
    truth, splits = labelled(generator, 5000, 2000, 0.1)
    splits["validation"] = splits["test"].select(np.zeros(5000, dtype=bool))
    noise = noise_of(splits).repeated
    reached = np.corrcoef(truth, splits["test"].score)[0, 1]
    assert noise.ceilings["test"].value == pytest.approx(reached, abs=0.005)
    assert noise.ceilings["test"].low < reached < noise.ceilings["test"].high
    held = 0
    for _ in range(200):
        _, splits = labelled(generator, 60, 50, 0.1)
        splits["validation"] = splits["test"].select(np.zeros(60, dtype=bool))
        found = noise_of(splits).repeated
        held += found.low <= 0.1 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_nothing_to_say():
    """No pair twice; or all twice with the same score, or with scores that do not vary at all."""
    once = made(("a", "b", 0.1), ("c", "d", 0.9))
    other = made(("e", "f", 0.1), ("g", "h", 0.9))
    alone = noise_of({"train": once, "validation": other, "test": made(("x", "y", 0.5))})
    assert (alone.repeated, alone.disagreeing) == (None, None)
    same = noise_of(dict.fromkeys(layout.SPLITS, once))
    assert (same.repeated.deviation, same.disagreeing) == (0, None)
    assert same.repeated.ceilings["test"].value == 1
    flat = noise_of(dict.fromkeys(layout.SPLITS, made(("a", "b", 0.5))))
    assert flat.repeated.ceilings == {}


def test_more_noise_than_scores_vary():
    """No ceiling below zero."""
    train = made(("a", "b", 0.0), ("a", "b", 1.0))
    test = made(("c", "d", 0.5), ("e", "f", 0.6))
    found = noise_of({"train": train, "validation": test, "test": test})
    assert found.disagreeing.ceilings["test"].value == 0
