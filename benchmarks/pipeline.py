"""What the pipeline costs beside its work: a no-op `dvc repro`, and stages that only read tables.

    python -m benchmarks.pipeline [--workspace DIR] [--rounds 5] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run and whose workspace is unchanged since.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import ROOT, report
from benchmarks.tiny import environment

COMMANDS = {
    "dvc --version": ["-m", "dvc", "--version"],
    "dvc status": ["-m", "dvc", "status"],
    "dvc repro, nothing changed": ["-m", "dvc", "repro"],
    "python -m stages.normalize": ["-m", "stages.normalize"],
    "python -m stages.controls": ["-m", "stages.controls"],
    "python -m stages.compare": ["-m", "stages.compare"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, help="folder for the figures as JSON")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *command],
                cwd=arguments.workspace,
                env=environment(),
                check=True,
                capture_output=True,
            )
            times[name].append(time.perf_counter() - started)
    rows = [
        {
            "command": name,
            "seconds (median)": statistics.median(found),
            "seconds (fastest)": min(found),
        }
        for name, found in times.items()
    ]
    report("pipeline", rows, arguments.results)


if __name__ == "__main__":
    main()
