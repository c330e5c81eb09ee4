"""Base against fine-tuned, from tables of predictions alone (no model, no torch)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from splade_sts.errors import UserError
from splade_sts.comparison.slices import MINIMUM_SLICE, slices, unseen
from splade_sts.comparison.statistics import COEFFICIENTS, check_size, estimates, evidence

MODELS = ("base", "finetuned")
COSTS = ("flops", "index_bytes")
# What the worked examples of BCa take (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 14).
SLICE_RESAMPLES = 2000
DIGITS = {"active_dims": ".1f", "index_bytes": ".0f", "flops": ".3f"}
RETRIEVAL = ("mrr_at_10", "ndcg_at_10", "recall_at_10")


def split_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """The evaluator's metrics, recomputed from predictions.

    Same names and definitions as `splade_sts.evaluation.correlation`: correlations of `predicted` with `gold`, the mean of both
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
    """`{split: {pairs, base, finetuned, delta: {metric: value}}}`, delta being finetuned minus base.

    Raises:
        UserError: the two tables of a split hold different pairs.
    """
    result = {}
    for split in base:
        check_same_pairs({"base": base[split], "finetuned": finetuned[split]}, split)
        metrics = {"base": split_metrics(base[split]), "finetuned": split_metrics(finetuned[split])}
        delta = {name: metrics["finetuned"][name] - metrics["base"][name] for name in metrics["base"]}
        result[split] = {"pairs": len(base[split]), **metrics, "delta": delta}
    return result


def add_evidence(
    comparison: dict[str, Any], base: dict[str, pd.DataFrame], finetuned: dict[str, pd.DataFrame],
    resamples: int, confidence: float, seed: int,
) -> None:
    """Add `evidence` (see `splade_sts.comparison.statistics.evidence`) to every split of `comparison`.

    Raises:
        UserError: the scores of a split hardly vary, so that there are no intervals.
    """
    for split in comparison:
        columns = (base[split]["gold"], base[split]["predicted"], finetuned[split]["predicted"])
        arrays = [column.to_numpy("float64") for column in columns]
        found = evidence(*arrays, resamples, confidence, seed)
        bounds = [bound for values in found.values() for name in (*MODELS, "delta") for bound in values[name].values()]
        if not all(map(math.isfinite, bounds)):
            raise UserError(
                f"{split}: {len(arrays[0])} pairs with almost all scores the same give no intervals (in some resamples all are "
                "the same); use a larger split, or check the data and the model"
            )
        comparison[split]["evidence"] = found


def check_scores(base: pd.DataFrame, finetuned: pd.DataFrame, split: str) -> None:
    """Check that the predictions of a split allow a comparison.

    Raises:
        UserError: fewer than ten pairs, or a column of scores that is constant or not finite.
    """
    check_size(base, split)
    columns = {
        "gold scores": base["gold"], "base predictions": base["predicted"], "finetuned predictions": finetuned["predicted"],
    }
    for name, column in columns.items():
        array = column.to_numpy("float64")
        if not np.isfinite(array).all():
            raise UserError(f"{split}: the {name} hold values that are not finite; run dvc repro --force evaluate")
        if (array == array[0]).all():
            raise UserError(
                f"{split}: the {name} are all {array[0]:g}: no correlation can be computed; check the data and the model"
            )


def add_costs(comparison: dict[str, Any], base: dict[str, Any], finetuned: dict[str, Any]) -> None:
    """Add what the evaluations measured on the vectors: `flops`, `index_bytes`, and `retrieval` where there is one.

    Args:
        comparison: of `compare`.
        base, finetuned: content of metrics/base.json and metrics/finetuned.json.
    """
    for split, values in comparison.items():
        found = (base[split], finetuned[split])
        for name in COSTS:
            _add_metric(values, name, *(metrics[name] for metrics in found))
        if all("retrieval" in metrics for metrics in found):
            values["retrieval"] = {"queries": found[0]["retrieval"]["queries"], "documents": found[0]["retrieval"]["documents"]}
            values["retrieval"] |= {model: {} for model in (*MODELS, "delta")}
            for name in RETRIEVAL:
                _add_metric(values["retrieval"], name, *(metrics["retrieval"][name] for metrics in found))


def _add_metric(values: dict[str, Any], name: str, base: float, finetuned: float) -> None:
    values["base"][name], values["finetuned"][name], values["delta"][name] = base, finetuned, finetuned - base


def add_controls(
    comparison: dict[str, Any], controls: dict[str, pd.DataFrame], finetuned: dict[str, pd.DataFrame],
    resamples: int, confidence: float, seed: int,
) -> None:
    """Add `controls` to every split: `{control: {pearson, spearman, pearson_gain, spearman_gain: {value, low, high}}}`.

    A gain is the fine-tuned model's coefficient minus the control's, on the same resamples. A control whose scores are all
    the same has no correlation and is left out.
    """
    for split, values in comparison.items():
        scores = {name: controls[split][name].to_numpy("float64") for name in controls[split].columns[3:]}
        gold, encoder = (finetuned[split][column].to_numpy("float64") for column in ("gold", "predicted"))
        gains = {f"{name} gain": ("finetuned", name) for name in scores}
        found = estimates(gold, {**scores, "finetuned": encoder}, gains, resamples, confidence, seed)
        values["controls"] = {
            name: {
                coefficient.removesuffix("_cosine") + suffix: found[name + suffix.replace("_", " ")][coefficient]
                for suffix in ("", "_gain") for coefficient in COEFFICIENTS
            }
            for name in scores if f"{name} gain" in found
        }


def add_parts(
    comparison: dict[str, Any], base: dict[str, pd.DataFrame], finetuned: dict[str, pd.DataFrame],
    train: pd.DataFrame, pairs: dict[str, pd.DataFrame], overlap: dict[str, pd.Series],
    resamples: int, confidence: float, seed: int,
) -> None:
    """Add to every split `leak_free` (the pairs no sentence of which occurs in train) and `slices` ({by: {slice: part}}).

    A part is `{pairs, enough, coefficient: {base, finetuned, delta, low, high}}`, with the interval of delta; where there are
    fewer than `splade_sts.comparison.slices.MINIMUM_SLICE` pairs, or the scores (almost) do not vary, `enough` is false and nothing else
    is said. Slices hold Spearman alone and are resampled `SLICE_RESAMPLES` times at most.

    Args:
        comparison: of `compare`.
        base, finetuned: predictions by split.
        train: normalized pairs of train.
        pairs: normalized pairs by split.
        overlap: word overlap of the pairs by split, see `splade_sts.comparison.slices.slices`.
        resamples, confidence, seed: of the bootstrap.
    """
    for split, values in comparison.items():
        columns = [base[split]["gold"], base[split]["predicted"], finetuned[split]["predicted"]]
        gold, *predicted = (column.to_numpy("float64") for column in columns)

        def part(chosen: np.ndarray, resamples: int, coefficients: Sequence[str]) -> dict[str, Any]:
            scores = {model: scores[chosen] for model, scores in zip(MODELS, predicted, strict=True)}
            found, count = {}, int(chosen.sum())
            if count >= MINIMUM_SLICE:
                found = estimates(gold[chosen], scores, {"delta": ("finetuned", "base")}, resamples, confidence, seed)
            if "delta" not in found:
                return {"pairs": count, "enough": False}
            return {"pairs": count, "enough": True, **{coefficient: _compact(found, coefficient) for coefficient in coefficients}}

        values["leak_free"] = part(unseen(pairs[split], train).to_numpy(), resamples, COEFFICIENTS)
        values["slices"] = {
            by: {
                str(name): part((member == name).to_numpy(), min(resamples, SLICE_RESAMPLES), ["spearman_cosine"])
                for name in member.cat.categories
            }
            for by, member in slices(pairs[split], overlap[split]).items()
        }


def _compact(found: dict[str, Any], coefficient: str) -> dict[str, float]:
    values = {name: found[name][coefficient]["value"] for name in (*MODELS, "delta")}
    return {**values, "low": found["delta"][coefficient]["low"], "high": found["delta"][coefficient]["high"]}


def pairs_digest(pairs: pd.DataFrame) -> str:
    """SHA-256 over the sentences and gold scores (`gold`, or `score`) of `pairs` in their order: 64 hexadecimal digits."""
    gold = pairs["gold" if "gold" in pairs else "score"].astype("float64")
    table = pd.DataFrame({"sentence1": pairs["sentence1"], "sentence2": pairs["sentence2"], "gold": gold})
    return hashlib.sha256(table.to_json(orient="values", double_precision=15).encode()).hexdigest()


def check_same_pairs(tables: dict[str, pd.DataFrame], split: str) -> None:
    """Check that all `tables`, given by what they are of, hold the same pairs and gold scores in the same order.

    Raises:
        UserError: they do not; names the digest of each.
    """
    digests = {name: pairs_digest(table) for name, table in tables.items()}
    if len(set(digests.values())) > 1:
        shown = ", ".join(f"{name} {digest[:12]} ({len(tables[name])} pairs)" for name, digest in digests.items())
        raise UserError(
            f"{split}: the predictions are of different pairs: {shown}; run dvc repro, which scores the same data with all"
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
    return format(value, sign + DIGITS.get(metric, ".4f"))


@dataclass(frozen=True)
class Section:
    """A table of the report: its title, how to read it, the names of its columns and its cells.

    The first `labels` columns are text, the others numbers.
    """

    title: str
    reading: str
    columns: list[str]
    rows: list[list[str]]
    labels: int


def markdown_report(
    verdict: str, comparison: dict[str, Any], changed: dict[str, tuple[pd.DataFrame, pd.DataFrame]],
    sections: Sequence[Section] = (),
) -> str:
    """The report for pull requests: verdict, metrics, the `sections`, then the pairs that changed most on each split."""
    parts = ["# Base against fine-tuned", "", verdict, "", metrics_table(comparison), ""]
    for section in sections:
        table = pd.DataFrame([[_cell(cell) for cell in row] for row in section.rows], columns=section.columns)
        align = ["left"] * section.labels + ["right"] * (len(section.columns) - section.labels)
        parts += [f"## {section.title}", "", section.reading, ""]
        parts += [table.to_markdown(index=False, disable_numparse=True, colalign=align), ""]
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
