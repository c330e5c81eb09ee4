"""What the interval of a difference says of a loss that does not matter (`compare.margin`)."""

from typing import Literal

Verdict = Literal["superior", "equivalent", "not inferior", "inferior", "not shown"]


def verdict(low: float, high: float, margin: float) -> Verdict:
    """What the interval of a difference says, given the largest loss that does not matter.

    `superior`: the interval holds only gains of the margin and more; `inferior`: only such losses.
    `equivalent`: neither such gains nor such losses; `not inferior`: no such losses. Else `not
    shown`.
    """
    if low >= margin:
        return "superior"
    if high <= -margin:
        return "inferior"
    if low <= -margin:
        return "not shown"
    return "equivalent" if high < margin else "not inferior"
