"""The report's pictures."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from splade_sts import layout
from splade_sts.comparison.calibration import Bin, Calibration
from splade_sts.evaluation.results import Predictions
from splade_sts.report import names
from splade_sts.training.curves import TrainingPoint, ValidationPoint

BANDS = 5
# Colours that colour-blind readers can tell apart (Okabe and Ito 2008, "Color Universal Design").
THEMES = {
    "light": {"text": "#1f2328", "grid": "#d0d7de", "base": "#0072B2", "finetuned": "#D55E00"},
    "dark": {"text": "#e6edf3", "grid": "#3d444d", "base": "#56B4E9", "finetuned": "#E69F00"},
}


@dataclass(frozen=True)
class Picture:
    """A picture in both themes (PNG), with the text that stands for it where it cannot be seen."""

    name: str
    title: str
    alt: str
    light: bytes
    dark: bytes


@dataclass(frozen=True, eq=False)
class PlotTables:
    """What is drawn of the predictions of one split; see the functions of the same names."""

    prediction_table: pd.DataFrame
    error_by_band: pd.DataFrame
    active_dims_histogram: pd.DataFrame

    @classmethod
    def of(cls, base: Predictions, finetuned: Predictions) -> "PlotTables":
        """Make them."""
        return cls(
            prediction_table(base, finetuned),
            error_by_band(base, finetuned),
            active_dims_histogram(base, finetuned),
        )


def prediction_table(base: Predictions, finetuned: Predictions) -> pd.DataFrame:
    """`gold`, `base`, `finetuned`: gold score and cosines of every pair."""
    return pd.DataFrame(
        {"gold": base.pairs.score, "base": base.cosine, "finetuned": finetuned.cosine}
    )


def error_by_band(base: Predictions, finetuned: Predictions) -> pd.DataFrame:
    """Mean of |cosine - gold| in five bands of gold scores: `band`, `pairs`, `base`, `finetuned`.

    The bands are of equal width over [0, 1], the last one closed; a band without pairs is left out.
    """
    gold = base.pairs.score
    band = np.minimum((gold * BANDS).astype(int), BANDS - 1)
    errors = {"base": np.abs(base.cosine - gold), "finetuned": np.abs(finetuned.cosine - gold)}
    grouped = pd.DataFrame({"band": band, **errors}).groupby("band")
    table = grouped.mean().assign(pairs=grouped.size()).reset_index()
    table["band"] = [
        f"{number / BANDS:.1f} to {(number + 1) / BANDS:.1f}" for number in table["band"]
    ]
    return table[["band", "pairs", *layout.MODELS]]


def active_dims_histogram(
    base: Predictions, finetuned: Predictions, bins: int = 30
) -> pd.DataFrame:
    """Number of sentences by active dimensions: `active_dims` (a bin's lower edge), `base`,
    `finetuned`.
    """
    values = {
        "base": np.concatenate([base.active_dims1, base.active_dims2]),
        "finetuned": np.concatenate([finetuned.active_dims1, finetuned.active_dims2]),
    }
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins=bins)
    counts = {name: np.histogram(column, edges)[0] for name, column in values.items()}
    return pd.DataFrame({"active_dims": edges[:-1], **counts})


def pictures(
    tables: PlotTables,
    calibration: Calibration,
    training: list[TrainingPoint],
    validation: list[ValidationPoint],
) -> list[Picture]:
    """All pictures of the report, from the tables above, the calibration of test and the two
    training curves.
    """
    predictions, bands, dims = (
        tables.prediction_table,
        tables.error_by_band,
        tables.active_dims_histogram,
    )
    curves = {model.name: model.reliability for model in calibration.models}
    farthest = {
        name: f"{max(abs(one.cosine - one.gold) for one in curves[name]):.2f}"
        for name in layout.MODELS
    }
    worst = {name: f"{bands[name].max():.2f}" for name in layout.MODELS}
    return [
        _picture(
            "predictions",
            "Predicted against gold score",
            f"Two scatter plots of {len(predictions)} test pairs: cosine similarity against gold "
            "score, before and "
            "after fine-tuning. The closer the points lie to the diagonal, the better.",
            lambda figure, theme: _draw_predictions(figure, theme, predictions),
        ),
        _picture(
            "reliability",
            "Reliability: mean gold score of test pairs of similar cosine, with intervals",
            "Two curves of the mean gold score against the mean cosine, in bins of equally many "
            "test pairs, before and after fine-tuning. On the diagonal the cosine is the gold "
            f"score; the base is off by up to {farthest['base']}, the fine-tuned model by up to "
            f"{farthest['finetuned']}.",
            lambda figure, theme: _draw_reliability(figure, theme, curves),
        ),
        _picture(
            "error_by_band",
            "Error by gold score",
            "Bars of the mean absolute error in five bands of gold scores; the largest is "
            f"{worst['base']} for the base and {worst['finetuned']} for the fine-tuned model.",
            lambda figure, theme: _draw_bands(figure, theme, bands),
        ),
        _picture(
            "active_dims",
            "Active dimensions",
            "Histograms of the number of active dimensions of a test sentence, before and after "
            "fine-tuning.",
            lambda figure, theme: _draw_dims(figure, theme, dims),
        ),
        _picture(
            "training",
            "Training",
            f"The two parts of the loss over {training[-1].step} steps, and validation Spearman "
            "with active "
            f"dimensions at {len(validation)} steps; the last Spearman is "
            f"{validation[-1].spearman:.4f}.",
            lambda figure, theme: _draw_training(figure, theme, training, validation),
        ),
    ]


def _picture(
    name: str, title: str, alt: str, draw: Callable[[Figure, dict[str, str]], None]
) -> Picture:
    return Picture(name, title, alt, *(render(draw, THEMES[theme]) for theme in ("light", "dark")))


def render(
    draw: Callable[[Figure, dict[str, str]], None],
    theme: dict[str, str],
    size: tuple[float, float] = (8, 3.6),
    transparent: bool = True,
) -> bytes:
    """What `draw` puts on a figure of `size` inches, as PNG in the colours of `theme`; the same
    bytes for the same data.
    """
    settings: dict[Any, Any] = {
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme["grid"],
        "axes.edgecolor": theme["grid"],
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor"),
            theme["text"],
        ),
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, theme)
        content = io.BytesIO()
        # no creation date or version in the file
        figure.savefig(
            content, format="png", dpi=130, transparent=transparent, metadata={"Software": None}
        )
    return content.getvalue()


def _draw_predictions(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    for axes, name in zip(
        figure.subplots(1, 2, sharex=True, sharey=True), layout.MODELS, strict=True
    ):
        axes.plot([0, 1], [0, 1], color=theme["text"], linewidth=0.8, linestyle=":")
        axes.scatter(table["gold"], table[name], s=8, alpha=0.35, color=theme[name], linewidths=0)
        axes.set(title=names.MODELS[name], xlabel="gold score", xlim=(-0.02, 1.02))
        axes.set_ylabel("cosine" if name == "base" else "")


def _draw_reliability(
    figure: Figure, theme: dict[str, str], curves: dict[str, tuple[Bin, ...]]
) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=theme["text"], linewidth=0.8, linestyle=":")
    for name, marker in zip(layout.MODELS, "os", strict=True):
        curve = curves[name]
        gold = np.array([one.gold for one in curve])
        ends = np.array([[one.low, one.high] for one in curve]).T
        axes.errorbar(
            [one.cosine for one in curve],
            gold,
            yerr=np.abs(ends - gold),
            color=theme[name],
            marker=marker,
            markersize=5,
            linewidth=1.5,
            elinewidth=1,
            label=names.MODELS[name],
        )
    axes.set(xlabel="mean cosine", ylabel="mean gold score", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(frameon=False)


def _draw_bands(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    axes = figure.subplots()
    places = np.arange(len(table))
    for offset, name in zip((-0.2, 0.2), layout.MODELS, strict=True):
        axes.bar(
            places + offset, table[name], width=0.38, color=theme[name], label=names.MODELS[name]
        )
    labels = [
        f"{band}\n{pairs} pairs" for band, pairs in zip(table["band"], table["pairs"], strict=True)
    ]
    axes.set_xticks(places, labels)
    axes.set(xlabel="gold score", ylabel="mean |cosine − gold|")
    axes.legend(frameon=False)


def _draw_dims(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    axes = figure.subplots()
    for name in layout.MODELS:
        axes.step(
            table["active_dims"],
            table[name],
            where="post",
            color=theme[name],
            label=names.MODELS[name],
            linewidth=1.8,
        )
        axes.fill_between(
            table["active_dims"],
            table[name],
            step="post",
            color=theme[name],
            alpha=0.2,
            linewidth=0,
        )
    axes.set(xlabel="active dimensions", ylabel="sentences", ylim=(0, None))
    axes.legend(frameon=False)


def _draw_training(
    figure: Figure,
    theme: dict[str, str],
    training: list[TrainingPoint],
    validation: list[ValidationPoint],
) -> None:
    left, right = figure.subplots(1, 2)
    steps = [point.step for point in training]
    left.plot(
        steps, [point.base_loss for point in training], color=theme["base"], label="base loss"
    )
    regularizer = [point.document_regularizer_loss for point in training]
    left.plot(steps, regularizer, color=theme["finetuned"], label="FLOPS regulariser × weight")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    # above the curves, which may be anywhere
    left.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    steps = [point.step for point in validation]
    right.plot(steps, [point.spearman for point in validation], color=theme["base"], marker="o")
    right.set(xlabel="step", ylabel="validation Spearman")
    right.yaxis.label.set_color(theme["base"])
    twin = right.twinx()
    twin.plot(
        steps,
        [point.active_dims for point in validation],
        color=theme["finetuned"],
        marker="s",
        linestyle="--",
    )
    twin.set_ylabel("active dims", color=theme["finetuned"])
    twin.grid(False)
