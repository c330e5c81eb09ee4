"""Batches of pairs of similar length, so that little of what is computed is padding."""

from collections.abc import Iterator

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from transformers import PreTrainedTokenizerBase
from transformers.trainer_pt_utils import get_length_grouped_indices


def pair_lengths(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[int]:
    """Tokens of the longer sentence of each pair: what the pair is padded to at least."""
    lengths = [
        [min(len(ids), max_length) for ids in tokenizer(dataset[column][:])["input_ids"]]
        for column in ("sentence1", "sentence2")
    ]
    return [max(pair) for pair in zip(*lengths, strict=True)]


class EpochBatchSampler(DefaultBatchSampler):
    """The library's batch sampler, with an order that the seed and the number of the epoch alone
    decide.

    So a training that resumes within an epoch finds the batches of that epoch.
    """

    generator: torch.Generator

    def __iter__(self) -> Iterator[list[int]]:
        self.generator.manual_seed(self.seed + self.epoch)
        yield from self.batches()

    def batches(self) -> Iterator[list[int]]:
        """The batches of one epoch, from the state of `generator`."""
        return super().__iter__()


class LengthGroupedBatchSampler(EpochBatchSampler):
    """Random batches of pairs of similar length, in random order.

    The rows are shuffled, cut into groups of 50 batches and sorted by length within each group
    (transformers' `get_length_grouped_indices`); the batches are then shuffled, so that their
    length says nothing about when they come. An epoch sees every row once. The same seed and epoch
    give the same batches.
    """

    def __init__(
        self,
        lengths: list[int],
        batch_size: int,
        drop_last: bool,
        generator: torch.Generator,
        seed: int = 0,
    ):
        super().__init__(
            range(len(lengths)),
            batch_size=batch_size,
            drop_last=drop_last,
            generator=generator,
            seed=seed,
        )
        self.lengths = lengths

    def batches(self) -> Iterator[list[int]]:
        indices: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self.lengths, self.batch_size, generator=self.generator
        )
        batches = [
            indices[start : start + self.batch_size]
            for start in range(0, len(indices), self.batch_size)
        ]
        if self.drop_last and len(batches[-1]) < self.batch_size:
            batches.pop()
        for number in torch.randperm(len(batches), generator=self.generator).tolist():
            yield batches[number]
