"""What DVC starts: `python -m stages.NAME`, each under the name it has in dvc.yaml."""

import os

# OpenMP's threads spin while they wait, and keep the cores from whoever else computes: two
# trainings at once take twice as long as one after the other. After 1,000 looks they sleep. That
# changes no byte and costs nothing alone (benchmarks/sharing.py). libgomp reads it once, when torch
# is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
