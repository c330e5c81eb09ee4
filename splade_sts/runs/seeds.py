"""Several runs that differ in their seed alone, summed up: what yet another seed would give."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from splade_sts.errors import UserError
from splade_sts.runs.record import FREE_PARAMS, OUTPUT_TAG, Record, collect, project_root, revision_reader
from splade_sts.tracking.sync import experiments

SEED = "train.seed"
SHOWN = ("spearman_cosine", "pearson_cosine", "active_dims", "flops", "index_bytes", "retrieval.mrr_at_10")
# Outputs that runs which differ in their seed have in common.
COMMON = ("data/normalized", "models/base")


def read_run(root: Path, name: str) -> Record:
    """The record of a DVC experiment, or of another Git revision.

    Raises:
        UserError: there is no such experiment or revision, or the pipeline has not run to its end there.
    """
    known = experiments(root)
    revision = known[name][0] if name in known else name
    resolved = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
        cwd=root, capture_output=True, text=True,
    )
    if resolved.returncode:
        raise UserError(f"no DVC experiment or Git revision {name}; experiments there are: {', '.join(known) or 'none'}")
    try:
        return collect(revision_reader(root, resolved.stdout.strip()))
    except FileNotFoundError as error:
        raise UserError(f"{name}: the pipeline has not run to its end there ({Path(str(error)).name} is missing)") from None


def check_only_seeds_differ(runs: dict[str, Record]) -> None:
    """Check that the runs make a summary over seeds.

    Raises:
        UserError: fewer than two runs, other parameters than the seed differ, the data or the base model differ, or two
            runs have the same seed.
    """
    if len(runs) < 2:
        raise UserError("one run has no spread: name at least two that differ in train.seed")
    first, *others = runs
    for other in others:
        one, two = runs[first].params, runs[other].params
        different = [
            f"{name}: {one.get(name)!r} and {two.get(name)!r}" for name in sorted({*one, *two})
            if one.get(name) != two.get(name) and name != SEED and not name.startswith(FREE_PARAMS)
        ]
        one, two = runs[first].tags, runs[other].tags
        different += [
            f"the content of {path}" for path in COMMON if one.get(OUTPUT_TAG + path) != two.get(OUTPUT_TAG + path)
        ]
        if different:
            raise UserError(
                f"{first} and {other} differ in more than {SEED}, so their spread is not that of seeds:\n  "
                + "\n  ".join(different)
            )
    seeds = {name: record.params[SEED] for name, record in runs.items()}
    if len(set(seeds.values())) < len(seeds):
        raise UserError("the same seed twice: " + ", ".join(f"{name} has {seed}" for name, seed in seeds.items()))


def summarize(runs: dict[str, Record], confidence: float) -> dict[str, Any]:
    """Mean, standard deviation and interval over seeds of every metric in `SHOWN`.

    The interval is Student's for the mean of the seeds (t with runs - 1 degrees of freedom): it speaks of other seeds on the
    same pairs, as the bootstrap of `compare` speaks of other pairs with the same model.

    Args:
        runs: records by name, see `check_only_seeds_differ`.
        confidence: level of the interval, between 0 and 1.

    Returns:
        `{seeds: {name: seed}, confidence, metrics: {metric: {base, values: {name: value}, mean, sd, low, high}}}`, the metrics
        named as in metrics/finetuned.json; `base` is what all runs start from.
    """
    count = len(runs)
    metrics = {}
    first = next(iter(runs.values())).metrics
    for split in ("validation", "test"):
        for name in (f"{split}.{metric}" for metric in SHOWN):
            if not all(f"finetuned.{name}" in record.metrics for record in runs.values()):
                continue
            values = {run: record.metrics[f"finetuned.{name}"] for run, record in runs.items()}
            mean, sd = float(np.mean(list(values.values()))), float(np.std(list(values.values()), ddof=1))
            half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * sd / math.sqrt(count)
            metrics[name] = {
                "base": first[f"base.{name}"], "values": values, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half,
            }
    return {"seeds": {name: record.params[SEED] for name, record in runs.items()}, "confidence": confidence, "metrics": metrics}


def seed_summary(names: list[str], confidence: float) -> dict[str, Any]:
    """`summarize` for DVC experiments or Git revisions by name.

    Raises:
        UserError: a run is missing, or the runs differ in more than their seed.
    """
    root = project_root()
    if len(set(names)) < len(names):
        raise UserError(f"a run is named twice: {', '.join(names)}")
    runs = {name: read_run(root, name) for name in names}
    check_only_seeds_differ(runs)
    return summarize(runs, confidence)


def as_text(summary: dict[str, Any]) -> str:
    """A table with a column for each run, and a sentence on how to read it."""
    names = list(summary["seeds"])
    def shown(metric: str, value: float) -> str:
        return f"{value:.1f}" if metric.endswith(("active_dims", "index_bytes")) else f"{value:.4f}"

    rows = [
        [metric, *(shown(metric, values[key]) for key in ("base", "mean", "sd")),
         f"{shown(metric, values['low'])} to {shown(metric, values['high'])}",
         *(shown(metric, values["values"][name]) for name in names)]
        for metric, values in summary["metrics"].items()
    ]
    level = f"{summary['confidence']:.0%} interval"
    headers = ["fine-tuned", "base", "mean", "sd", level, *(f"{name} (seed {seed})" for name, seed in summary["seeds"].items())]
    table = pd.DataFrame(rows, columns=headers).to_markdown(
        index=False, disable_numparse=True, colalign=["left"] + ["right"] * (len(headers) - 1)
    )
    return (
        f"{table}\n\nThe result is the mean over {len(names)} seeds, whichever of them did best; the interval is for that mean "
        "(Student's t), over seeds and not over pairs."
    )


def as_json(summary: dict[str, Any]) -> str:
    return json.dumps(summary, indent=2, ensure_ascii=False)
