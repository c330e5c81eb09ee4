"""Batches of pairs of similar length."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.trainer_pt_utils import get_length_grouped_indices

from splade_sts.training.processes import Processes
from splade_sts.training.sampler import LengthGroupedBatchSampler, PartBatchSampler


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 20), st.integers(0, 1000)
)
def test_length_grouped_batches(lengths, batch_size, seed):
    """Every row once, batches of the right size, and the seed decides."""

    def batches(drop_last=False):
        generator = torch.Generator()
        return list(LengthGroupedBatchSampler(lengths, batch_size, drop_last, generator, seed))

    found = batches()
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert sorted(map(len, found), reverse=True)[:-1] == [batch_size] * (len(found) - 1)
    assert found == batches()
    assert all(len(batch) == batch_size for batch in batches(drop_last=True))


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 20), st.integers(0, 1000)
)
def test_the_order_is_that_of_transformers(lengths, batch_size, seed):
    """Row for row, without a list of Python numbers."""
    one, other = (torch.Generator().manual_seed(seed) for _ in range(2))
    expected = get_length_grouped_indices(lengths, batch_size, generator=one)
    sampler = LengthGroupedBatchSampler(lengths, batch_size, False, other)
    batches = [expected[at : at + batch_size] for at in range(0, len(lengths), batch_size)]
    order = torch.randperm(len(batches), generator=one).tolist()
    assert [*sampler.batches()] == [batches[number] for number in order]


@given(st.integers(1, 100), st.integers(1, 20), st.integers(1, 6), st.integers(0, 3))
def test_the_parts_of_several_processes(rows, batch_size, count, epoch):
    """Together they are the batches of one process, in the same order; all are equally long."""

    def batches():
        return LengthGroupedBatchSampler([*range(rows)], batch_size, False, torch.Generator(), 1)

    whole = batches()
    whole.set_epoch(epoch)
    parts = []
    for rank in range(count):
        sampler = PartBatchSampler(batches(), Processes(rank, count), blank=rows)
        sampler.set_epoch(epoch)
        parts.append([*sampler])
        assert len(sampler) == len(parts[-1]) == len(whole)
    for batch, *shares in zip(whole, *parts, strict=True):
        assert len({len(share) for share in shares}) == 1
        found = [row for share in shares for row in share if row != rows]
        assert sorted(found) == sorted(batch)
        assert sum(map(len, shares)) - len(found) < count


def test_length_grouping_saves_padding():
    """On lengths as sentences have them, most of what random batches pad is gone."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(4000, generator=generator).exp() * 10 + 3).int().tolist()

    def padded(batches):
        return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)

    grouped = LengthGroupedBatchSampler(lengths, 16, False, generator)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    shuffled = [order[i : i + 16] for i in range(0, len(order), 16)]
    assert padded(grouped) < 0.6 * padded(shuffled)
    some = [max(lengths[i] for i in batch) for batch in list(grouped)[:40]]
    assert some != sorted(some, reverse=True)
