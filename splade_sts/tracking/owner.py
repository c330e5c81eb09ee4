"""Which process writes a run, so that others can tell later whether it still lives."""

import hashlib
import socket
import uuid

import psutil

# Seconds between two signs of life of a writer, and after how many without one it counts as dead.
# Clocks of machines may differ by minutes; no writer is silent for that long.
SIGN_SECONDS = 60.0
SILENT_SECONDS = 1800.0


def owner() -> str:
    """This machine (hashed), this process and when it started."""
    process = psutil.Process()
    return f"{_machine()}:{process.pid}:{process.create_time():.2f}"


def alive(named: str, seen: float | None, now: float) -> bool:
    """Whether an `owner` still lives.

    A process of this machine can be looked up. One of another machine lives as long as it gives
    signs of life.

    Args:
        named: the `owner`.
        seen: its last sign of life, in seconds since the epoch; None for a writer that gives none,
            which on another machine counts as alive.
        now: in seconds since the epoch.
    """
    machine, pid, created = named.split(":")
    if machine != _machine():
        return seen is None or now - seen < SILENT_SECONDS
    try:
        process = psutil.Process(int(pid))
        return (
            f"{process.create_time():.2f}" == created and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    # containers of several machines may have the same hardware address
    named = f"{socket.gethostname()} {uuid.getnode()}"
    return hashlib.sha256(named.encode()).hexdigest()[:12]
