"""The pairs that changed most."""

import pytest

from splade_sts.comparison.changed import changed_pairs
from tests.support.results import BASE, FINETUNED


def test_gains_and_losses():
    """Gains fall from the largest; an unchanged pair is neither; terms and cosines belong to their
    model.
    """
    found = changed_pairs(BASE, FINETUNED, 10)
    assert [pair.gain for pair in found.gained] == pytest.approx([0.4, 0.3])
    assert [pair.gain for pair in found.lost] == pytest.approx([-0.1])
    assert found.gained[0].base_terms == [("x", 0.2), ("y", 0.1)]
    assert len(changed_pairs(BASE, FINETUNED, 1).gained) == 1


def test_swapped_models():
    """The gains become losses, worst first."""
    found = changed_pairs(FINETUNED, BASE, 10)
    assert [pair.gain for pair in found.lost] == pytest.approx([-0.4, -0.3])
    assert [pair.gain for pair in found.gained] == pytest.approx([0.1])
    assert [pair.sentence1 for pair in found.lost] == ["a | b", "c"]
    worst = found.lost[0]
    assert (worst.gold, worst.base, worst.finetuned) == (0.0, 0.1, 0.5)


def test_the_same_model():
    """Nothing changed."""
    found = changed_pairs(BASE, BASE, 10)
    assert (found.gained, found.lost) == ([], [])
