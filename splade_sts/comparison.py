"""Base against fine-tuned, from the two tables of predictions alone (no model, no torch)."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from splade_sts.errors import UserError
from splade_sts.statistics import MINIMUM_PAIRS, evidence

MODELS = ("base", "finetuned")


def split_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """The evaluator's metrics, recomputed from predictions.

    Same names and definitions as `splade_sts.evaluation`: correlations of `predicted` with `gold`, the mean of both
    sides' active dimensions, and 1 - active dims / vocabulary size.
    """
    active_dims = (predictions["active_dims1"].mean() + predictions["active_dims2"].mean()) / 2
    return {
        "pearson_cosine": float(pearsonr(predictions["gold"], predictions["predicted"])[0]),
        "spearman_cosine": float(spearmanr(predictions["gold"], predictions["predicted"])[0]),
        "active_dims": float(active_dims),
        "sparsity_ratio": float(1 - active_dims / predictions.attrs["vocabulary_size"]),
    }


def compare(base: dict[str, pd.DataFrame], finetuned: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """`{split: {base, finetuned, delta: {metric: value}}}`, delta being finetuned minus base.

    Raises:
        UserError: the two tables of a split hold different pairs.
    """
    result = {}
    for split in base:
        _check_same_pairs(base[split], finetuned[split], split)
        metrics = {"base": split_metrics(base[split]), "finetuned": split_metrics(finetuned[split])}
        delta = {name: metrics["finetuned"][name] - metrics["base"][name] for name in metrics["base"]}
        result[split] = {**metrics, "delta": delta}
    return result


def add_evidence(
    comparison: dict[str, Any], base: dict[str, pd.DataFrame], finetuned: dict[str, pd.DataFrame],
    resamples: int, confidence: float, seed: int,
) -> None:
    """Add `evidence` (see `splade_sts.statistics.evidence`) to every split of `comparison`.

    Raises:
        UserError: a split has fewer than ten pairs, or a column of scores that is constant or not finite.
    """
    for split in comparison:
        columns = {
            "gold": base[split]["gold"], "base predictions": base[split]["predicted"],
            "finetuned predictions": finetuned[split]["predicted"],
        }
        if len(base[split]) < MINIMUM_PAIRS:
            raise UserError(f"{split} has {len(base[split])} pairs; intervals need at least {MINIMUM_PAIRS}: use a larger split")
        arrays = [column.to_numpy("float64") for column in columns.values()]
        for name, array in zip(columns, arrays, strict=True):
            if not np.isfinite(array).all():
                raise UserError(f"{split}: the {name} hold values that are not finite; run dvc repro --force evaluate")
            if (array == array[0]).all():
                raise UserError(f"{split}: the {name} are all {array[0]:g}: no correlation can be computed; check the data and the model")
        comparison[split]["evidence"] = evidence(*arrays, resamples, confidence, seed)


def _check_same_pairs(base: pd.DataFrame, finetuned: pd.DataFrame, split: str) -> None:
    columns = ["sentence1", "sentence2", "gold"]
    if not base[columns].equals(finetuned[columns]):
        raise UserError(
            f"{split}: the predictions of base and finetuned are of different pairs; "
            "run dvc repro, which evaluates both models on the same data"
        )


def changed_pairs(base: pd.DataFrame, finetuned: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs whose error |predicted - gold| fell most, and those where it rose most.

    Returns:
        Two tables of at most `count` rows, largest change first: `sentence1`, `sentence2`, `gold`, `base`,
        `finetuned` (predictions), `gain` (error before minus error after), `base_terms`, `finetuned_terms` (shared
        terms with their shares of the cosine).
    """
    table = pd.DataFrame(
        {
            "sentence1": base["sentence1"],
            "sentence2": base["sentence2"],
            "gold": base["gold"],
            "base": base["predicted"].astype("float64"),
            "finetuned": finetuned["predicted"].astype("float64"),
        }
    )
    table["gain"] = (table["base"] - table["gold"]).abs() - (table["finetuned"] - table["gold"]).abs()
    for name, predictions in zip(MODELS, (base, finetuned), strict=True):
        pairs = zip(predictions["shared_terms"], predictions["shared_weights"], strict=True)
        table[f"{name}_terms"] = [
            ", ".join(f"{term} {weight:.2f}" for term, weight in list(zip(terms, weights, strict=True))[:8])
            for terms, weights in pairs
        ]
    ranked = table.sort_values("gain", ascending=False, kind="stable")
    gained = ranked[ranked["gain"] > 0].head(count)
    lost = table[table["gain"] < 0].sort_values("gain", kind="stable").head(count)
    return gained, lost


def metrics_table(comparison: dict[str, Any]) -> str:
    """The comparison as a Markdown table, with the intervals of the differences where `add_evidence` found them."""
    rows = [
        {
            "split": split,
            "metric": metric,
            **{name: _number(metric, values[name][metric]) for name in MODELS},
            "delta": _number(metric, values["delta"][metric], sign="+"),
            "interval": _interval(values.get("evidence", {}).get(metric)),
        }
        for split, values in comparison.items()
        for metric in values["base"]
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True, colalign=("left", "left") + ("right",) * 4)


def _interval(found: dict[str, Any] | None) -> str:
    return f"{found['delta']['low']:+.4f} to {found['delta']['high']:+.4f}" if found else ""


def _number(metric: str, value: float, sign: str = "") -> str:
    return format(value, f"{sign}.1f" if metric == "active_dims" else f"{sign}.4f")


def markdown_report(
    verdict: str, comparison: dict[str, Any], changed: dict[str, tuple[pd.DataFrame, pd.DataFrame]]
) -> str:
    """The report for pull requests: the verdict in one line, the table, then the pairs that changed most on each split."""
    parts = ["# Base against fine-tuned", "", verdict, "", metrics_table(comparison), ""]
    for split, tables in changed.items():
        for title, table in zip(("gained", "lost"), tables, strict=True):
            parts += [f"## {split}: pairs that {title} most", ""]
            if table.empty:
                parts += ["None.", ""]
                continue
            shown = table.copy()
            for column in ("gold", "base", "finetuned", "gain"):
                shown[column] = shown[column].map("{:.2f}".format)
            for column in ("sentence1", "sentence2", "base_terms", "finetuned_terms"):
                shown[column] = shown[column].map(_cell)
            parts += [shown.to_markdown(index=False, disable_numparse=True), ""]
    parts.append("`gain` is how much closer to the gold score the prediction came; terms are shown with their share of the cosine.")
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """`text` as it may stand in a Markdown table: one line, nothing read as markup."""
    for character in "\\`*_{}[]<>|#&~$":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
