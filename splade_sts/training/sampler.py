"""Batches of pairs of similar length, so that little of what is computed is padding."""

import math
from collections.abc import Iterator

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import BatchSampler
from transformers import PreTrainedTokenizerBase
from transformers.trainer_pt_utils import get_length_grouped_indices

from splade_sts.training.processes import Processes


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
        for first, second in zip(dataset["sentence1"], dataset["sentence2"], strict=True)
    ]
    shortest = dataset[sizes.index(min(sizes))]
    return dataset.add_item({**shortest, "score": math.nan})
