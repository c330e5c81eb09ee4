"""Nothing that a model or data set brings is run, nothing listens beyond loopback, and no secret is written down.

The payloads are our own and harmless: they would make a file.
"""

import os
import subprocess
import sys


from tests.conftest import ROOT

CANARY = "hf_" + "Canary" * 6  # in two parts, so that this file does not hold it


def test_a_traceback_names_no_secret(tmp_path):
    """Where a bug of ours ends a stage, too."""
    script = (
        "from splade_sts.errors import run_stage\n"
        f"def main(): raise RuntimeError('GET http://me:{CANARY}@host/ with {CANARY}')\nrun_stage(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_TOKEN": CANARY}
    )
    assert done.returncode == 1 and "Traceback" in done.stderr and "RuntimeError" in done.stderr and CANARY not in done.stderr


def test_plots_hold_no_text_of_the_data(project):
    """A cell of a CSV file of ours is a number, or a word that is no formula."""
    for path in [*(project / "plots").glob("*.csv"), *(project / "metrics").glob("*.csv")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            for cell in line.split(","):
                try:
                    float(cell)
                except ValueError:
                    assert not cell.startswith(("=", "+", "-", "@", "\t")), (path, cell)
