"""Pairs to begin with, from the sample data's validation split."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A pair of data/sample/validation.csv.

    Attributes:
        kind: what it shows.
        sentence1: the first sentence.
        sentence2: the second.
        gold: its score, from 0 to `GOLD_MAX`.
    """

    kind: str
    sentence1: str
    sentence2: str
    gold: float


GOLD_MAX = 5
EXAMPLES = (
    Example(
        "nearly the same",
        "A cat sits on a closed laptop.",
        "A cat is lying on a computer.",
        3.8,
    ),
    Example(
        "same meaning, other words",
        "If a sluggish disk is what's holding the machine back, extra memory makes no difference.",
        "Adding more RAM won't help if your real bottleneck is the slow hard drive.",
        5.0,
    ),
    Example(
        "same words, other meaning",
        "Why is the sky red at sunset?",
        "Why is the sky blue?",
        2.0,
    ),
    Example(
        "unrelated",
        "A woman is knitting a blue scarf in a rocking chair.",
        "A rock climber hangs from an overhang by one hand.",
        0.0,
    ),
)
