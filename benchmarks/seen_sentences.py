"""Is a gain on sentences that training has seen memory of them? Two trainings tell.

    python -m benchmarks.seen_sentences WITH WITHOUT [--results FOLDER]

WITH and WITHOUT are Git revisions or DVC experiments of this project that differ in `data.on_leak`
alone: `keep`, and `drop_sentences_from_train`. The pairs of a split are cut by the first one's
training data: those of which train holds a sentence, and the others. For each part this gives the
gain of both trainings over their own base models, and what the sentences added, with paired
bootstrap intervals over the pairs; then what they added on seen pairs minus what they added on the
others, with the two parts resampled independently.
"""

import argparse
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import report
from splade_sts import layout, params
from splade_sts.comparison.compare import compare_parts
from splade_sts.comparison.statistics import Bootstrap, Estimate, Sample, estimates
from splade_sts.data.pairs import Pairs, unseen
from splade_sts.errors import UserError
from splade_sts.runs.experiments import run_files
from splade_sts.runs.scores import read_predictions

GAINS = {
    "gain with": ("finetuned with", "base with"),
    "gain without": ("finetuned without", "base without"),
    "added": ("finetuned with", "finetuned without"),
}


def pairs_of(root: Path, run: str, split: layout.Split) -> Pairs:
    """The normalized pairs of a run."""
    content = run_files(root, run).read(layout.normalized(split))
    return Pairs.from_table(pd.read_parquet(BytesIO(content)))


def measure(root: Path, runs: dict[str, str], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """A row for each split, part and gain in Spearman."""
    train = pairs_of(root, runs["with"], "train")
    rows: list[dict[str, Any]] = []

    def add(split: str, part: str, pairs: int, what: str, found: Estimate) -> None:
        rows.append(
            {
                "split": split,
                "part": part,
                "pairs": pairs,
                "what": what,
                "spearman": found.value,
                "low": found.low,
                "high": found.high,
            }
        )

    for split in layout.HELD_OUT:
        pairs = pairs_of(root, runs["with"], split)
        scores = {}
        for model in layout.MODELS:
            for kind, run in runs.items():
                predictions = read_predictions(run_files(root, run), model, split)
                if predictions is None or len(predictions.pairs) != len(pairs):
                    raise UserError(f"{run}: no predictions of the same pairs of {split}; dvc pull")
                scores[f"{model} {kind}"] = predictions.cosine
        new = unseen(pairs, train)
        parts = {}
        for name, chosen in (("seen", ~new), ("unseen", new)):
            part = {key: values[chosen] for key, values in scores.items()}
            gains = estimates(pairs.score[chosen], part, GAINS, bootstrap)
            for gain in GAINS:
                add(split, name, int(chosen.sum()), gain, gains[gain].spearman)
            parts[name] = Sample(
                pairs.score[chosen], part["finetuned without"], part["finetuned with"]
            )
        difference = compare_parts(parts["seen"], parts["unseen"], bootstrap)[2]
        if difference is not None:
            add(split, "seen minus unseen", len(pairs), "added", difference.spearman)
    return rows


def main() -> None:
    """Print the gains, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("with_sentences", metavar="WITH")
    parser.add_argument("without_sentences", metavar="WITHOUT")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    runs = {"with": arguments.with_sentences, "without": arguments.without_sentences}
    rows = measure(layout.project_root(), runs, Bootstrap.of(params.load().compare))
    report("seen-sentences", rows, arguments.results)


if __name__ == "__main__":
    main()
