"""What the heads of CPU and GPU share: the activation, and how many tokens are scored at once."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Tokens whose vocabulary scores are held at once: 1024 x 30522 x 4 bytes are 125 MB.
CHUNK_TOKENS = 1024


def saturated(scores: Tensor, double_log: bool) -> Tensor:
    """log(1 + relu), once or twice."""
    result = scores.relu().log1p_()
    return result.log1p_() if double_log else result


def slope(positive: Tensor, double_log: bool) -> Tensor:
    """The derivative of `saturated` at positive scores."""
    result = 1 / (1 + positive)
    return result / (1 + positive.log1p()) if double_log else result


def groups(lengths: list[int]) -> Iterator[list[int]]:
    """Cut consecutive sentences into groups of at most CHUNK_TOKENS tokens.

    A longer sentence stands alone.

    Args:
        lengths: tokens of each sentence.

    Returns:
        The lengths of each group's sentences.
    """
    group: list[int] = []
    tokens = 0
    for length in lengths:
        if group and tokens + length > CHUNK_TOKENS:
            yield group
            group, tokens = [], 0
        group.append(length)
        tokens += length
    if group:
        yield group


def segments(
    hidden: Tensor, weight: Tensor, lengths: list[int]
) -> Iterator[tuple[int, slice, Tensor]]:
    """Score the vocabulary for sentence after sentence, with one product for each of `groups`.

    Args:
        hidden: float (tokens, dimensions), the states of all sentences, one after the other.
        weight: float (vocabulary, dimensions); its dtype is that of the product.
        lengths: tokens of each sentence; they sum to `tokens`.

    Returns:
        For each sentence its number, its tokens, and their scores (tokens of the sentence,
        vocabulary).
    """
    sentence = start = 0
    for group in groups(lengths):
        scores = hidden[start : start + sum(group)].to(weight.dtype) @ weight.T
        for segment in torch.split(scores, group):
            yield sentence, slice(start, start + len(segment)), segment
            start += len(segment)
            sentence += 1
