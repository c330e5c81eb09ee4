"""The report's pictures, and the tables behind DVC's plots."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

BANDS = 5
MODELS = ("base", "finetuned")
LABELS = {"base": "base", "finetuned": "fine-tuned"}
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


def prediction_table(base: pd.DataFrame, finetuned: pd.DataFrame) -> pd.DataFrame:
    """`gold`, `base`, `finetuned`: gold and predicted scores of every pair."""
    return pd.DataFrame({"gold": base["gold"], "base": base["predicted"], "finetuned": finetuned["predicted"]})


def error_by_band(base: pd.DataFrame, finetuned: pd.DataFrame) -> pd.DataFrame:
    """Mean of |predicted - gold| in five bands of gold scores: `band`, `pairs`, `base`, `finetuned`.

    The bands are of equal width over [0, 1], the last one closed; a band without pairs is left out.
    """
    band = (base["gold"] * BANDS).astype(int).clip(upper=BANDS - 1)
    errors = {
        name: (table["predicted"].astype("float64") - table["gold"]).abs()
        for name, table in zip(MODELS, (base, finetuned), strict=True)
    }
    grouped = pd.DataFrame({"band": band, **errors}).groupby("band")
    table = grouped.mean().assign(pairs=grouped.size()).reset_index()
    table["band"] = [f"{number / BANDS:.1f} to {(number + 1) / BANDS:.1f}" for number in table["band"]]
    return table[["band", "pairs", *MODELS]]


def active_dims_histogram(base: pd.DataFrame, finetuned: pd.DataFrame, bins: int = 30) -> pd.DataFrame:
    """Number of sentences by active dimensions: `active_dims` (a bin's lower edge), `base`, `finetuned`."""
    values = {
        name: np.concatenate([table["active_dims1"], table["active_dims2"]])
        for name, table in zip(MODELS, (base, finetuned), strict=True)
    }
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins=bins)
    counts = {name: np.histogram(column, edges)[0] for name, column in values.items()}
    return pd.DataFrame({"active_dims": edges[:-1], **counts})


def pictures(
    predictions: pd.DataFrame, bands: pd.DataFrame, dims: pd.DataFrame, training: pd.DataFrame, validation: pd.DataFrame
) -> list[Picture]:
    """All pictures of the report, from the tables above and the two training curves."""
    worst = {name: f"{bands[name].max():.2f}" for name in MODELS}
    return [
        _picture(
            "predictions", "Predicted against gold score",
            f"Two scatter plots of {len(predictions)} test pairs: cosine similarity against gold score, before and "
            "after fine-tuning. The closer the points lie to the diagonal, the better.",
            lambda figure, theme: _draw_predictions(figure, theme, predictions),
        ),
        _picture(
            "error_by_band", "Error by gold score",
            "Bars of the mean absolute error in five bands of gold scores; the largest is "
            f"{worst['base']} for the base and {worst['finetuned']} for the fine-tuned model.",
            lambda figure, theme: _draw_bands(figure, theme, bands),
        ),
        _picture(
            "active_dims", "Active dimensions",
            "Histograms of the number of active dimensions of a test sentence, before and after fine-tuning.",
            lambda figure, theme: _draw_dims(figure, theme, dims),
        ),
        _picture(
            "training", "Training",
            f"The two parts of the loss over {int(training['step'].max())} steps, and validation Spearman with active "
            f"dimensions at {len(validation)} steps; the last Spearman is {validation['spearman_cosine'].iloc[-1]:.4f}.",
            lambda figure, theme: _draw_training(figure, theme, training, validation),
        ),
    ]


def _picture(name: str, title: str, alt: str, draw: Callable[[Figure, dict[str, str]], None]) -> Picture:
    return Picture(name, title, alt, *(render(draw, THEMES[theme]) for theme in ("light", "dark")))


def render(
    draw: Callable[[Figure, dict[str, str]], None], theme: dict[str, str], size: tuple[float, float] = (8, 3.6),
    transparent: bool = True,
) -> bytes:
    """What `draw` puts on a figure of `size` inches, as PNG in the colours of `theme`; the same bytes for the same data."""
    settings = {
        "font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": theme["grid"], "axes.edgecolor": theme["grid"],
        **{key: theme["text"] for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor")},
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, theme)
        content = io.BytesIO()
        # no creation date or version in the file
        figure.savefig(content, format="png", dpi=130, transparent=transparent, metadata={"Software": None})
    return content.getvalue()


def _draw_predictions(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    for axes, name in zip(figure.subplots(1, 2, sharex=True, sharey=True), MODELS, strict=True):
        axes.plot([0, 1], [0, 1], color=theme["text"], linewidth=0.8, linestyle=":")
        axes.scatter(table["gold"], table[name], s=8, alpha=0.35, color=theme[name], linewidths=0)
        axes.set(title=LABELS[name], xlabel="gold score", xlim=(-0.02, 1.02))
        axes.set_ylabel("cosine" if name == "base" else "")


def _draw_bands(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    axes = figure.subplots()
    places = np.arange(len(table))
    for offset, name in zip((-0.2, 0.2), MODELS, strict=True):
        axes.bar(places + offset, table[name], width=0.38, color=theme[name], label=LABELS[name])
    labels = [f"{band}\n{pairs} pairs" for band, pairs in zip(table["band"], table["pairs"], strict=True)]
    axes.set_xticks(places, labels)
    axes.set(xlabel="gold score", ylabel="mean |cosine − gold|")
    axes.legend(frameon=False)


def _draw_dims(figure: Figure, theme: dict[str, str], table: pd.DataFrame) -> None:
    axes = figure.subplots()
    for name in MODELS:
        axes.step(table["active_dims"], table[name], where="post", color=theme[name], label=LABELS[name], linewidth=1.8)
        axes.fill_between(table["active_dims"], table[name], step="post", color=theme[name], alpha=0.2, linewidth=0)
    axes.set(xlabel="active dimensions", ylabel="sentences", ylim=(0, None))
    axes.legend(frameon=False)


def _draw_training(figure: Figure, theme: dict[str, str], training: pd.DataFrame, validation: pd.DataFrame) -> None:
    left, right = figure.subplots(1, 2)
    left.plot(training["step"], training["base_loss"], color=theme["base"], label="base loss")
    regularizer = training["document_regularizer_loss"]
    left.plot(training["step"], regularizer, color=theme["finetuned"], label="FLOPS regulariser × weight")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    left.legend(frameon=False, fontsize=9)
    right.plot(validation["step"], validation["spearman_cosine"], color=theme["base"], marker="o")
    right.set(xlabel="step", ylabel="validation Spearman")
    right.yaxis.label.set_color(theme["base"])
    twin = right.twinx()
    twin.plot(validation["step"], validation["active_dims"], color=theme["finetuned"], marker="s", linestyle="--")
    twin.set_ylabel("active dims", color=theme["finetuned"])
    twin.grid(False)
