"""Several processes that have joined one group, forked from that of a test."""

import os
import pickle
import socket
import time
from collections.abc import Callable
from multiprocessing import connection, get_context
from typing import Any

from splade_sts.training.processes import joined


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def rendezvous(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def in_processes(count: int, job: Callable[[], Any], patience: float = 120) -> list[Any]:
    """Run `job` in `count` processes that are one group; return what each gave, by rank: its
    result, or the exception that ended it.
    """
    port, context = free_port(), get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]

    def work(rank: int) -> None:
        os.environ.update(rendezvous(rank, count, port))
        try:
            with joined("torchrun"):
                result = job()
        except Exception as error:
            result = error
        # by value: multiprocessing's own pickles share a tensor's memory with a process that ends
        pipes[rank][1].send_bytes(pickle.dumps(result))

    workers = [context.Process(target=work, args=(rank,)) for rank in range(count)]
    for worker in workers:
        worker.start()
    try:
        return _collect({pipe[0]: rank for rank, pipe in enumerate(pipes)}, workers, patience)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _collect(waiting: dict[Any, int], workers: list[Any], patience: float) -> list[Any]:
    found: dict[int, Any] = {}
    deadline = time.monotonic() + patience
    while waiting:
        ready = connection.wait(waiting, timeout=1)
        for pipe in ready:
            found[waiting.pop(pipe)] = pickle.loads(pipe.recv_bytes())
        for pipe, rank in list(waiting.items()):
            if not workers[rank].is_alive() and not pipe.poll():
                raise AssertionError(f"process {rank} died with {workers[rank].exitcode}")
        assert time.monotonic() < deadline, f"waited too long for {sorted(waiting.values())}"
    return [found[rank] for rank in sorted(found)]
