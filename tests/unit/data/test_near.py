"""Sentences that have almost the words of another one."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_sts.data.near import nearly_known
from splade_sts.text import words


@pytest.mark.parametrize(
    ("text", "other", "near"),
    [
        ("a b c d e", "e d c b", True),
        ("a b c d", "a b c d e", True),
        ("a b c d e", "a b c d f", False),
        ("a b c d e f g h i", "a b c d e f g h j", True),
        ("a b c d e f g h", "a b c d e f g x", False),
        ("The dog.", "the DOG!", True),
        ("...", "...", False),
        ("a", "b", False),
    ],
)
def test_by_hand(text, other, near):
    """A Jaccard index of at least 4/5, of sets of words: 4 of 5, 8 of 10, not 4 of 6, 7 of 9."""
    assert nearly_known([text, "z y x"], [other]) == ({text} if near else set())


TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=10).map(" ".join), max_size=8)


@given(TEXTS, TEXTS)
def test_against_every_two(sentences, known):
    """The same as comparing every two."""

    def near(first: str, second: str) -> bool:
        left, right = set(words(first)), set(words(second))
        return bool(left) and Fraction(len(left & right), len(left | right)) >= Fraction(4, 5)

    expected = {text for text in sentences if any(near(text, other) for other in known)}
    assert nearly_known(sentences, known) == expected
