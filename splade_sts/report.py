"""The HTML report: one file that opens from disk and fetches nothing."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from splade_sts.pictures import Picture
from splade_sts.statistics import in_words

TEMPLATE = Path(__file__).with_name("report_template.html")
NAMES = {
    "pearson_cosine": "Pearson", "spearman_cosine": "Spearman", "active_dims": "active dims", "sparsity_ratio": "sparsity",
}


def verdict(comparison: dict[str, Any], confidence: float) -> str:
    """What fine-tuning did on the test split, in one sentence; a change whose interval holds zero is called none."""
    base, finetuned, delta = (comparison["test"][key] for key in ("base", "finetuned", "delta"))
    found = comparison["test"]["evidence"]["spearman_cosine"]
    numbers = in_words(delta["spearman_cosine"], found["delta"], found["williams_p"], confidence)
    if found["delta"]["low"] > 0:
        verb = "raised test Spearman"
    elif found["delta"]["high"] < 0:
        verb = "lowered test Spearman"
    else:
        verb = "made no significant difference to test Spearman:"
        numbers = numbers.split(": ")[0]
    dims = delta["active_dims"]
    cost = "the same number of active dims" if dims == 0 else f"{abs(dims):.1f} {'more' if dims > 0 else 'fewer'} active dims"
    change = f"from {base['spearman_cosine']:.4f} to {finetuned['spearman_cosine']:.4f} ({numbers})"
    return f"Fine-tuning {verb} {change}, with {cost} per sentence ({finetuned['active_dims']:.1f})."


def html_report(
    comparison: dict[str, Any], changed: dict[str, tuple[pd.DataFrame, pd.DataFrame]], drawn: list[Picture],
    data: dict[str, Any], params: dict[str, Any], provenance: dict[str, Any], confidence: float,
) -> str:
    """Render the report.

    Args:
        comparison: of `splade_sts.comparison.compare`.
        changed: for each split the pairs that gained and lost most.
        drawn: the pictures.
        data: content of metrics/data.json.
        params: parameters under their dotted names.
        provenance: content of data/raw/provenance.json.
        confidence: level of the intervals.

    Returns:
        HTML in which every text from the data is escaped.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_uri"] = lambda content: f"data:image/png;base64,{base64.b64encode(content).decode()}"
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        verdict=verdict(comparison, confidence), confidence=confidence, comparison=comparison, names=NAMES, pictures=drawn,
        changed={split: [("gained", gained), ("lost", lost)] for split, (gained, lost) in changed.items()},
        data=data, splits=[split for split in ("train", "validation", "test") if split in data],
        params=params, provenance=provenance,
    )
