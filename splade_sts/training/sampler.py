"""Batches of pairs of similar length, so that little of what is computed is padding."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import BatchSampler
from transformers import PreTrainedTokenizerBase

from splade_sts.training.processes import Processes

# Pairs that are tokenized at once.
TOKENIZED = 2**12
# A group of pairs of similar length has so many batches, or fewer where there would not be so many
# groups.
BATCHES, GROUPS = 50, 4


def pair_lengths(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> NDArray[np.int32]:
    """Tokens of the longer sentence of each pair, what it is padded to at least: (pairs,)."""
    lengths = np.empty(len(dataset), dtype=np.int32)
    start = 0
    for rows in dataset.iter(TOKENIZED):
        sides = [tokenizer(rows[side])["input_ids"] for side in ("sentence1", "sentence2")]
        longer = [max(len(one), len(other)) for one, other in zip(*sides, strict=True)]
        lengths[start : start + len(longer)] = np.minimum(longer, max_length)
        start += len(longer)
    return lengths


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
        lengths: Sequence[int] | NDArray[np.int32],
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
        self.lengths = np.asarray(lengths, dtype=np.int32)

    def batches(self) -> Iterator[list[int]]:
        indices = self._grouped()
        count, rest = divmod(len(indices), self.batch_size)
        count += bool(rest) and not self.drop_last
        for number in torch.randperm(count, generator=self.generator).tolist():
            start = number * self.batch_size
            yield indices[start : start + self.batch_size].tolist()

    def _grouped(self) -> NDArray[np.int64]:
        """The rows in groups, the longest first in each and of all: transformers'
        `get_length_grouped_indices`, without a Python number for every row.
        """
        rows = len(self.lengths)
        size = self.batch_size * max(1, min(rows // (self.batch_size * GROUPS), BATCHES))
        indices: NDArray[np.int64] = torch.randperm(rows, generator=self.generator).numpy()
        firsts = range(0, rows, size)
        for start in firsts:
            group = indices[start : start + size]
            group[:] = group[np.argsort(-self.lengths[group], kind="stable")]
        longest = firsts[int(np.argmax(self.lengths[indices[::size]]))]
        indices[[0, longest]] = indices[[longest, 0]]
        return indices


class PartBatchSampler(BatchSampler):
    """The part that one process has of each batch, of the same batches in all processes.

    Rows are dealt out in turn, so that each process has long and short ones. All parts of a batch
    have as many rows; blanks make up for what is missing.
    """

    def __init__(self, batches: EpochBatchSampler, processes: Processes, blank: int):
        """Args:
        batches: the whole batches.
        processes: those that share them.
        blank: the row that stands for none.
        """
        self.batches, self.processes, self.blank = batches, processes, blank
        self.batch_size, self.drop_last = batches.batch_size, batches.drop_last

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            part = batch[self.processes.rank :: self.processes.count]
            rows = math.ceil(len(batch) / self.processes.count)
            yield part + [self.blank] * (rows - len(part))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.batches.set_epoch(epoch)


def with_blank(dataset: Dataset) -> Dataset:
    """`dataset` and, as its last row, a blank for `PartBatchSampler`: its shortest pair again, with
    NaN as score.
    """
    sizes = [
        len(first) + len(second)
        for rows in dataset.iter(TOKENIZED)
        for first, second in zip(rows["sentence1"], rows["sentence2"], strict=True)
    ]
    shortest = dataset[sizes.index(min(sizes))]
    return dataset.add_item({**shortest, "score": math.nan})
