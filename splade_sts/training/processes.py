"""The processes that train one model together: how they find each other, and what they say."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from splade_sts.errors import UserError
from splade_sts.training.environment import check_one_process, starts_one_process

T = TypeVar("T")

# What torchrun, and all that start processes as it does, tell each of them.
RENDEZVOUS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# How long one process waits for the others: the first one may validate, write to a slow disk or
# wait for the checkpoints of an earlier run. One that ends is noticed at once, by its connections.
PATIENCE = timedelta(days=7)
# How long torchrun may take to answer the processes that it has started. It listens before it
# starts them: one that does not answer has ended.
ANSWER = timedelta(minutes=1)
# What gloo says when another process has ended.
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed")


@dataclass(frozen=True)
class Processes:
    """The processes of a training, as one of them sees them.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first one, which alone validates, writes and prints."""
        return self.rank == 0


def in_group() -> bool:
    """Whether this process has joined a group, be it the only one in it."""
    joined: bool = dist.is_initialized()
    return joined


def current() -> Processes:
    """The processes of the group that this one has joined; itself alone where it has not."""
    if in_group():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


def launched(launcher: str) -> Processes:
    """The processes that `launcher` has started, by what it has put into the environment.

    Args:
        launcher: the start of the command, `train.launcher`.

    Raises:
        UserError: processes were started by something else, or not in the way of torchrun; or what
            should start several has started one alone.
    """
    if _started_group(launcher):
        return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    check_one_process(launcher)
    if not starts_one_process(launcher):
        raise UserError(
            f"train.launcher is {launcher!r}, but it has started one process alone, which belongs "
            "to no group: accelerate launch starts several on GPUs only, with --multi_gpu; "
            "torchrun --standalone --nproc-per-node 2 does it everywhere. For one process, end "
            "train.launcher in python"
        )
    return Processes()


def _started_group(launcher: str) -> bool:
    return not starts_one_process(launcher) and all(name in os.environ for name in RENDEZVOUS)


@contextmanager
def joined(launcher: str) -> Iterator[Processes]:
    """Within the block the processes that `launcher` has started are one group.

    They talk over gloo on a CPU, and over NCCL on GPUs, each with a GPU of its own.

    Raises:
        UserError: as `launched`; there are more processes than GPUs; or another process has ended
            within the block.
    """
    processes = launched(launcher)
    if not _started_group(launcher):
        yield processes
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        _take_gpu(int(os.environ["LOCAL_RANK"]))
    # accelerate takes another number of threads where this is not set
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    store = _meet(processes, launcher)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=processes.rank,
            world_size=processes.count,
            timeout=PATIENCE,
        )
        with warnings.catch_warnings():  # accelerate's call of DistributedDataParallel
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            yield processes
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(words in str(error) for words in LOST):
            raise UserError(
                f"another process of this training has ended, so process {processes.rank} of "
                f"{processes.count} cannot go on; what the other one said tells why. Run again: "
                "training goes on from the last checkpoint"
            ) from error
        raise
    dist.destroy_process_group()


def _meet(processes: Processes, launcher: str) -> dist.Store:
    """Where the processes find each other: at torchrun, or at the first of them, which may be
    waiting for an earlier run.

    Raises:
        UserError: torchrun, which has started this process, has ended.
    """
    at_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=ANSWER if at_torchrun else PATIENCE))
    except dist.DistError as error:
        raise UserError(
            f"what started process {processes.rank} of {processes.count} ({launcher}) has ended. "
            "Run again: training goes on from the last checkpoint"
        ) from error
    store.set_timeout(PATIENCE)
    return store


def _take_gpu(number: int) -> None:
    """Let this process compute on its own GPU.

    Raises:
        UserError: there is none for it.
    """
    if number >= (count := torch.cuda.device_count()):
        raise UserError(
            f"train.launcher starts more processes on this machine than it has GPUs ({count}); "
            f"start {count}"
        )
    torch.cuda.set_device(number)


def first_says(compute: Callable[[], T]) -> T:
    """What `compute` gives in the first process, in all of them; the others wait for it."""
    processes = current()
    said: list[Any] = [compute() if processes.leads else None]
    if processes.count > 1:
        dist.broadcast_object_list(said)
    found: T = said[0]
    return found


def wait_for_all() -> None:
    """Go on once all processes have come here."""
    if current().count > 1:
        dist.barrier()


def check_alike(facts: dict[str, str]) -> None:
    """Check that what decides the numbers is the same in all processes, as on several machines it
    may not be.

    Raises:
        UserError: names what differs.
    """
    processes = current()
    if processes.count == 1:
        return
    found: list[dict[str, str]] = [{} for _ in range(processes.count)]
    dist.all_gather_object(found, facts)
    names = sorted(set().union(*found))
    different = [name for name in names if len({one.get(name) for one in found}) > 1]
    if different:
        said = "; ".join(
            f"{name}: {', '.join(sorted({str(one.get(name)) for one in found}))}"
            for name in different
        )
        raise UserError(
            f"the processes of this training are not alike ({said}); the numbers would depend on "
            "which of them computes what. Start them on machines of one kind, with the same "
            "packages and settings"
        )
