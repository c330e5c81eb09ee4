import os
import subprocess

from splade_sts.tracking.owner import alive, owner


def test_owner() -> None:
    """A process that lives, one that is gone, another one under its number, and one of another
    machine.
    """
    machine, pid, created = owner().split(":")
    assert pid == str(os.getpid())
    assert alive(owner())
    done = subprocess.Popen(["true"])
    done.wait()
    assert not alive(f"{machine}:{done.pid}:{created}")
    assert not alive(f"{machine}:{pid}:1.00")
    assert alive(f"another:{pid}:1.00")
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    import psutil

    assert not alive(f"{machine}:{zombie.pid}:{psutil.Process(zombie.pid).create_time():.2f}")
    zombie.wait()
