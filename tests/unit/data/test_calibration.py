"""The sentences on which a conversion is calibrated."""

import pytest

from splade_sts import layout
from splade_sts.data.calibration import calibrated_on, read_sentences, write_sentences


@pytest.mark.parametrize(("distinct", "step"), [(2048, 1), (2049, 2), (5000, 3)])
def test_at_most_2048_at_equal_steps(distinct, step):
    """In their order."""
    numbers = [*range(distinct)]
    assert [*calibrated_on(distinct)] == numbers[::step]


def test_file(tmp_path, monkeypatch):
    """Any text comes back."""
    monkeypatch.chdir(tmp_path)
    for sentences in ([], ["Ä \n\u2028", '"']):
        write_sentences(sentences)
        assert read_sentences() == sentences
    assert layout.CALIBRATION.exists()
