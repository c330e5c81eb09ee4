"""Quality against sparsity: which of several runs is not beaten in both."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from splade_sts.errors import UserError
from splade_sts.files import replacing, write_json
from splade_sts.report.pictures import THEMES, render
from splade_sts.runs.record import FREE_PARAMS, OUTPUT_TAG, Record

SPLITS = ("validation", "test")
QUALITY, SIZE = "spearman_cosine", "active_dims"
COST = ("flops", "index_bytes")
DATA = f"{OUTPUT_TAG}data/normalized"
# Okabe and Ito's colours that the report does not use, and marks, one for each parameter that varies.
SERIES = (("#D55E00", "o"), ("#009E73", "s"), ("#CC79A7", "^"), ("#56B4E9", "v"), ("#E69F00", "P"))
HOW_TO_READ = (
    "Best for its size: no other run has fewer active dims and a Spearman at least as high, on validation; choose there, "
    "and take the numbers from test. The intervals are of each model by itself, over pairs; runs on the same pairs are more "
    "alike than they suggest."
)


def points(runs: dict[str, Record]) -> dict[str, Any]:
    """Where the runs, and what they started from, lie between quality and sparsity.

    Args:
        runs: records by name.

    Returns:
        `{varied, points}`: the parameters in which the runs differ, and for each run and each base model `run`, `params` (the
        values of those), `model` (`base` or `finetuned`), for each split `spearman_cosine`, its `low` and `high` (the
        interval of `compare`), `active_dims`, `flops` and `index_bytes`; and `efficient`: whether no other point is at least
        as good in both validation Spearman and validation active dims and better in one (Pareto efficiency).

    Raises:
        UserError: the runs are of different data.
    """
    first, *others = runs
    for other in others:
        if runs[other].tags.get(DATA) != runs[first].tags.get(DATA):
            raise UserError(f"{first} and {other} are of different data (data/normalized): they are not to be compared")
    names = {name for record in runs.values() for name in record.params if not name.startswith(FREE_PARAMS)}
    varied = sorted(name for name in names if len({str(record.params.get(name)) for record in runs.values()}) > 1)
    found: list[dict[str, Any]] = []
    for name, record in runs.items():
        found.append(_point(name, record, "finetuned", varied))
        base = _point("base", record, "base", varied)
        if not any(_place(base) == _place(point) for point in found if point["model"] == "base"):
            found.append(base)
    for point in found:
        point["efficient"] = not any(_beats(_place(other), _place(point)) for other in found)
    found.sort(key=lambda point: point["validation"][SIZE])
    return {"varied": varied, "points": found}


def _point(name: str, record: Record, model: str, varied: list[str]) -> dict[str, Any]:
    values = {
        split: {
            **{metric: record.metrics[f"{model}.{split}.{metric}"] for metric in (QUALITY, SIZE, *COST)},
            **{bound: record.metrics[f"evidence.{split}.{QUALITY}.{model}.{bound}"] for bound in ("low", "high")},
        }
        for split in SPLITS
    }
    # a base model knows nothing of training
    params = {name: record.params.get(name) for name in varied if model == "finetuned" or not name.startswith("train.")}
    return {"run": name, "params": params, "model": model, **values}


def _place(point: dict[str, Any]) -> tuple[float, float]:
    return point["validation"][QUALITY], -point["validation"][SIZE]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and all(mine >= theirs for mine, theirs in zip(one, other, strict=True))


def as_table(found: dict[str, Any]) -> str:
    """The points as a Markdown table, and how to read it."""
    rows = []
    for point in found["points"]:
        values = [point["params"].get(name, "") for name in found["varied"]]
        row = [point["run"], *("–" if value is None else str(value) for value in values)]
        for split in SPLITS:
            part = point[split]
            row += [f"{part[QUALITY]:.4f} [{part['low']:.4f}, {part['high']:.4f}]", f"{part[SIZE]:.1f}"]
        flops, size = (point["test"][name] for name in COST)
        rows.append([*row, f"{flops:.3f}", f"{size:.0f}", "yes" if point["efficient"] else ""])
    headers = ["run", *found["varied"]]
    headers += [f"{split} {what}" for split in SPLITS for what in ("Spearman", "active dims")]
    headers += ["FLOPs of a pair (test)", "index bytes (test)", "best for its size"]
    align = ["left"] * (1 + len(found["varied"])) + ["right"] * (len(headers) - 1 - len(found["varied"]))
    return f"{pd.DataFrame(rows, columns=headers).to_markdown(index=False, disable_numparse=True, colalign=align)}\n\n{HOW_TO_READ}"


def picture(found: dict[str, Any]) -> bytes:
    """The points of both splits as PNG: Spearman with its interval over active dims; a line joins the efficient ones."""

    def draw(figure: Figure, theme: dict[str, str]) -> None:
        panels = figure.subplots(1, 2)
        for axes, split in zip(panels, SPLITS, strict=True):
            _draw(axes, split, found)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)

    return render(draw, THEMES["light"], size=(11, 4.6), transparent=False)


def series(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The points by what sets them apart: the base models, each parameter by itself, several at once, or nothing.

    What is usual for a parameter is the value that most runs have.
    """
    tuned = [point for point in found["points"] if point["model"] == "finetuned"]
    usual = {name: pd.Series([str(point["params"][name]) for point in tuned]).mode()[0] for name in found["varied"]}
    parts: dict[str, list[dict[str, Any]]] = {"base": [point for point in found["points"] if point["model"] == "base"]}
    for point in tuned:
        different = [name for name in found["varied"] if str(point["params"][name]) != usual[name]]
        # where one parameter varies, no value of it is more usual than another
        name = found["varied"][0] if len(found["varied"]) == 1 else " and ".join(different) or "as usual"
        parts.setdefault(name, []).append({**point, "different": different or found["varied"][:1] * (len(found["varied"]) == 1)})
    return parts


def _draw(axes: Axes, split: str, found: dict[str, Any]) -> None:
    best = [point for point in found["points"] if point["efficient"]]
    axes.plot([point[split][SIZE] for point in best], [point[split][QUALITY] for point in best], color="#8c959f", linewidth=1,
              label="best for its size, on validation", zorder=1)
    for number, (name, group) in enumerate(series(found).items()):
        color, marker = (THEMES["light"]["base"], "D") if name == "base" else SERIES[(number - 1) % len(SERIES)]
        sizes, heights = ([point[split][key] for point in group] for key in (SIZE, QUALITY))
        bounds = [[abs(point[split][key] - point[split][QUALITY]) for point in group] for key in ("low", "high")]
        axes.errorbar(sizes, heights, yerr=bounds, fmt=marker, color=color, elinewidth=0.8, alpha=0.9, label=name, markersize=6)
        for point in group:
            values = [point["params"][key] for key in point.get("different", point["params"])]
            text = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values if value is not None)
            axes.annotate(text, (point[split][SIZE], point[split][QUALITY]), xytext=(5, 4), textcoords="offset points", fontsize=8,
                          color=color)
    axes.set(title=split, xlabel="active dims of a sentence", ylabel="Spearman", xscale="log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(ScalarFormatter() if len(axes.get_xticks(minor=True)) < 12 else NullFormatter())


def write(found: dict[str, Any], folder: str | Path) -> None:
    """Write `pareto.json`, `pareto.md` and `pareto.png` into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "pareto.json", found)
    for name, content in (("pareto.md", f"{as_table(found)}\n".encode()), ("pareto.png", picture(found))):
        with replacing(folder / name) as target:
            target.write_bytes(content)
