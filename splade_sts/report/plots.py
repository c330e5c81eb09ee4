"""The tables behind `dvc plots`: long, so that a plot can tell models and commits apart.

The names of the columns are what .dvc/plots/*.json and dvc.yaml refer to.
"""

import re
from pathlib import Path

import pandas as pd

from splade_sts.comparison.evidence import Comparison
from splade_sts.report import names
from splade_sts.report.pictures import PlotTables


def write_plots(folder: Path, comparison: Comparison, tables: PlotTables) -> None:
    """Write predictions.csv, errors.csv, active_dims.csv (of test) and gains.csv into `folder`."""
    found = {
        "predictions": _by_model(tables.prediction_table, ["gold"], "cosine"),
        "errors": _by_model(tables.error_by_band, ["band", "pairs"], "error"),
        "active_dims": _by_model(tables.active_dims_histogram, ["active_dims"], "sentences"),
        "gains": gains(comparison),
    }
    for name, table in found.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def _by_model(table: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """One row for each row and model: `keys`, `model` and `value`."""
    long = table.melt(id_vars=keys, var_name="model", value_name=value)
    return long.assign(model=long["model"].map(names.MODELS))


def gains(comparison: Comparison) -> pd.DataFrame:
    """What fine-tuning added to Spearman, and what the fine-tuned model adds over each control.

    Returns:
        `split`, `group` (`fine-tuned minus base`, the same `by slice`, whose intervals hold
        together, or `fine-tuned minus a control`), `name` (of the part or control; it holds nothing
        but letters, digits and spaces, since a plot's page does not escape it), `pairs`, `gain`,
        `low` and `high`.
    """
    rows = []
    for split, values in comparison.splits.items():
        parts = [("all pairs", values.whole)]
        if values.seen.pairs:  # else all of them are unseen
            parts += [("seen in train", values.seen), ("unseen in train", values.unseen)]
        for name, part in parts:
            if part.spearman is not None:
                gain = part.spearman.gain
                row = (split, "fine-tuned minus base", name, part.pairs)
                rows.append((*row, gain.value, gain.low, gain.high))
        for found in values.slices:
            if (within := found.spearman) is not None:
                row = (
                    split,
                    "fine-tuned minus base by slice",
                    f"{found.by} {found.name}",
                    found.pairs,
                )
                rows.append((*row, within.gain, within.low, within.high))
        for control in values.controls:
            gain = control.spearman_gain
            row = (split, "fine-tuned minus a control", names.CONTROLS[control.name], values.pairs)
            rows.append((*row, gain.value, gain.low, gain.high))
    return pd.DataFrame(
        [(split, group, _plain(name), *numbers) for split, group, name, *numbers in rows],
        columns=["split", "group", "name", "pairs", "gain", "low", "high"],
    )


def _plain(name: str) -> str:
    return " ".join(re.findall(r"[\w.+()-]+", name))[:60]
