"""The card of the fine-tuned model: what it is, what was measured of it, and under which licence it
may be used.
"""

from splade_sts import layout
from splade_sts.comparison.evidence import Comparison
from splade_sts.model.card import hub_card
from splade_sts.report import names
from splade_sts.report.setting import Setting, yaml_word
from splade_sts.report.verdict import verdict
from splade_sts.text import markdown_table, one_line


def model_card(comparison: Comparison, setting: Setting) -> str:
    """The card, with the Hub's front matter; what comes from outside is no markup in it."""
    said, results = verdict(comparison), _results(comparison)
    marked = names.PERCENTILE_MARK in results and names.PERCENTILE_MARK not in said
    return hub_card(
        title="Fine-tuned SPLADE model",
        license=setting.base["license"],
        base_model=setting.base["source"],
        dataset=setting.provenance.source,
        body="\n\n".join(
            [
                _origin(setting),
                "## Results",
                said,
                results,
                *([names.PERCENTILE_NOTE] if marked else []),
                _selection(setting),
                "## Training parameters",
                _parameters(setting),
            ]
        ),
    )


def _selection(setting: Setting) -> str:
    best, steps = setting.training["best_step"], setting.training["steps"]
    return (
        f"The checkpoint of step {best} of {steps} was kept: the best by Spearman on validation. "
        "Test played no part in it."
    )


def _origin(setting: Setting) -> str:
    base, data = setting.base, setting.provenance
    made = f"`{base['source']}`{_revision(base['revision'])}"
    if base["converted_to_active_dims"]:
        made += (
            f", a dense encoder, converted without training to {base['converted_to_active_dims']} "
            "active dimensions on average,"
        )
    return f"{made} fine-tuned on `{data.source}`{_revision(data.revision)} with SpladeLoss."


def _revision(revision: str | None) -> str:
    return f" (revision {one_line(revision)})" if revision else ""


def _results(comparison: Comparison) -> str:
    rows = []
    for split in reversed(layout.HELD_OUT):
        values = comparison.splits[split]
        for name in layout.COEFFICIENTS[::-1]:
            found = getattr(values, name).finetuned
            interval = " to ".join(names.ends(found)) + names.mark(found)
            rows.append([split, names.METRICS[name], f"{found.value:.4f}", interval])
        dims = values.finetuned.metrics.active_dims
        rows.append([split, names.METRICS["active_dims"], names.number("active_dims", dims), ""])
    interval = f"{names.percent(comparison.confidence)} interval (bootstrap over pairs)"
    return markdown_table(["split", "metric", "value", interval], rows, labels=2)


def _parameters(setting: Setting) -> str:
    values = {
        name.removeprefix("train."): value
        for name, value in setting.params.items()
        if name.startswith("train.")
    }
    values["precision"] = setting.training["precision"]
    rows = [[f"`{name}`", one_line(yaml_word(value))] for name, value in values.items()]
    return markdown_table(["parameter", "value"], rows)
