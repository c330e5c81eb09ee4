"""The HTML report: one file that opens from disk and fetches nothing."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from splade_sts.comparison.compare import DIGITS, RETRIEVAL, Section
from splade_sts.report.pictures import Picture
from splade_sts.comparison.slices import MINIMUM_SLICE
from splade_sts.comparison.statistics import in_words

TEMPLATE = Path(__file__).with_name("template.html")
NAMES = {
    "pearson_cosine": "Pearson", "spearman_cosine": "Spearman", "active_dims": "active dims", "sparsity_ratio": "sparsity",
    "flops": "FLOPs of a pair", "index_bytes": "index bytes", "mrr_at_10": "MRR@10", "ndcg_at_10": "nDCG@10",
    "recall_at_10": "recall@10",
}
CONTROLS = {"jaccard": "word overlap (Jaccard)", "tfidf": "TF-IDF cosine", "bm25": "BM25", "dense": "dense model"}
SLICINGS = {
    "gold": "gold score (% of its range)", "length": "words of the longer sentence", "overlap": "word overlap (Jaccard, %)",
    "genre": "genre",
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


def sections(comparison: dict[str, Any], confidence: float) -> list[Section]:
    """The tables of the report beyond the metrics: controls, leaks, retrieval and slices, as far as `comparison` has them."""
    level = f"{confidence:.0%}".replace("%", " %") + " interval"
    found = []
    controls = [
        [split, CONTROLS.get(name, name), *_estimate(values["spearman"]), *_estimate(values["spearman_gain"], "+")]
        for split, split_values in comparison.items() for name, values in split_values.get("controls", {}).items()
    ]
    dense = any("dense" in values.get("controls", {}) for values in comparison.values())
    if controls:
        found.append(Section(
            "Against words alone",
            "What a pair scores without any encoder, with statistics from train only. The last two columns are what the "
            "fine-tuned model's Spearman adds: an interval above zero means that it knows more than which words are shared."
            + (" The dense model is no control but a reference: what an encoder without sparsity reaches." if dense else ""),
            ["split", "control", "Spearman", level, "fine-tuned minus it", level], controls, labels=2,
        ))
    if all("leak_free" in values for values in comparison.values()):
        found.append(Section(
            "Without what training has seen",
            "The second row of each split leaves out every pair with a sentence that occurs in train (case and white space "
            "aside). A gain that is there only with those pairs would be memory.",
            ["split", "pairs are", "pairs", "base", "fine-tuned", "change", level],
            [row for split, values in comparison.items() for row in (
                [split, "as published", *_part(_whole(values))], [split, "unseen in train", *_part(values["leak_free"])],
            )],
            labels=2,
        ))
    retrieval = [
        [split, NAMES[name], *(f"{values['retrieval'][model][name]:.4f}" for model in ("base", "finetuned")),
         f"{values['retrieval']['delta'][name]:+.4f}"]
        for split, values in comparison.items() if "retrieval" in values for name in RETRIEVAL
    ]
    if retrieval:
        sizes = next(values["retrieval"] for values in comparison.values() if "retrieval" in values)
        found.append(Section(
            "Did it stay a retriever?",
            f"{sizes['queries']} sentences search their partners of gold score 0.8 and above among {sizes['documents']} "
            "sentences. Fine-tuning on similarity should not cost what the model could do before: a clear fall here is a price.",
            ["split", "measure", "base", "fine-tuned", "change"], retrieval, labels=2,
        ))
    for split, values in comparison.items():
        if "slices" in values:
            found.append(Section(
                f"Slices of {split}",
                "Spearman within a part of the pairs. Compare along a row, not between rows: within a band of gold scores every "
                "correlation is lower because the scores vary less. With this many rows some intervals miss zero by chance "
                f"alone. A dash stands where there are fewer than {MINIMUM_SLICE} pairs, or scores that do not vary.",
                ["by", "slice", "pairs", "base", "fine-tuned", "change", level],
                [[SLICINGS[by], name, *_part(part)] for by, parts in values["slices"].items() for name, part in parts.items()],
                labels=2,
            ))
    return found


def _whole(values: dict[str, Any]) -> dict[str, Any]:
    """A whole split in the form of a part of it."""
    interval = values["evidence"]["spearman_cosine"]["delta"]
    numbers = {name: values[name]["spearman_cosine"] for name in ("base", "finetuned", "delta")}
    return {"pairs": values["pairs"], "enough": True, "spearman_cosine": {**interval, **numbers}}


def _part(part: dict[str, Any]) -> list[str]:
    if not part["enough"]:
        return [str(part["pairs"]), "–", "–", "–", "–"]
    found = part["spearman_cosine"]
    models = [f"{found[model]:.4f}" for model in ("base", "finetuned")]
    return [str(part["pairs"]), *models, *_estimate({**found, "value": found["delta"]}, "+")]


def _estimate(estimate: dict[str, float], sign: str = "") -> list[str]:
    value, low, high = (f"{estimate[key]:{sign}.4f}" for key in ("value", "low", "high"))
    return [value, f"{low} to {high}"]


def html_report(
    comparison: dict[str, Any], changed: dict[str, tuple[pd.DataFrame, pd.DataFrame]], drawn: list[Picture],
    data: dict[str, Any], params: dict[str, Any], provenance: dict[str, Any], confidence: float,
) -> str:
    """Render the report.

    Args:
        comparison: of `splade_sts.comparison.compare.compare`.
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
        digits=DIGITS, sections=sections(comparison, confidence),
        changed={split: [("gained", gained), ("lost", lost)] for split, (gained, lost) in changed.items()},
        data=data, splits=[split for split in ("train", "validation", "test") if split in data],
        params=params, provenance=provenance,
    )
