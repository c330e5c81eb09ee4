import os
import subprocess

from splade_sts.tracking.owner import SILENT_SECONDS, alive, owner

NOW = 1e9


def test_owner() -> None:
    """A process that lives, one that is gone, another one under its number, and one of another
    machine, with signs of life and without.
    """
    machine, pid, created = owner().split(":")
    assert pid == str(os.getpid())
    assert alive(owner(), None, NOW)
    done = subprocess.Popen(["true"])
    done.wait()
    assert not alive(f"{machine}:{done.pid}:{created}", NOW, NOW)
    assert not alive(f"{machine}:{pid}:1.00", NOW, NOW)
    another = f"another:{pid}:1.00"
    assert alive(another, None, NOW)
    assert alive(another, NOW - SILENT_SECONDS + 1, NOW)
    assert not alive(another, NOW - SILENT_SECONDS, NOW)
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    import psutil

    assert not alive(
        f"{machine}:{zombie.pid}:{psutil.Process(zombie.pid).create_time():.2f}", NOW, NOW
    )
    zombie.wait()
