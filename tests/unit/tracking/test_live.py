import subprocess
import sys

from splade_sts.tracking.live import LiveRun, Silent, live_run
from tests.support.commands import ROOT
from tests.support.records import TRAINING
from tests.support.tiny import tiny_params


def test_tracking_that_is_off() -> None:
    """The same calls, and nothing happens."""
    settings = tiny_params()
    assert isinstance(live_run(settings, {}), LiveRun)
    off = settings.model_copy(
        update={"track": settings.track.model_copy(update={"enabled": False})}
    )
    with live_run(off, {}) as live:
        assert isinstance(live, Silent)
        live.point(TRAINING[0])
        live.finish("id", 1.0)


def test_the_training_imports_no_mlflow() -> None:
    """Its end of the pipe does without, and so does everything else that the command line imports
    at once.
    """
    code = (
        "import sys, splade_sts.cli, splade_sts.tracking.live, splade_sts.tracking.sync\n"
        "print('mlflow' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
