"""Which process writes a run, so that others can tell later whether it still lives."""

import hashlib
import uuid

import psutil


def owner() -> str:
    """This machine (hashed), this process and when it started."""
    process = psutil.Process()
    return f"{_machine()}:{process.pid}:{process.create_time():.2f}"


def alive(named: str) -> bool:
    """Whether an `owner` still lives; those of other machines are not ours to judge and count as
    alive.
    """
    machine, pid, created = named.split(":")
    if machine != _machine():
        return True
    try:
        process = psutil.Process(int(pid))
        return (
            f"{process.create_time():.2f}" == created and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    return hashlib.sha256(str(uuid.getnode()).encode()).hexdigest()[:12]
