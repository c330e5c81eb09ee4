"""A folder in which `compare` can run, without a model: random pairs, and predictions for them."""

from pathlib import Path

import numpy as np

from benchmarks.bootstrap import sample
from benchmarks.common import first
from benchmarks.tiny import WORDS, write_params
from splade_sts import layout
from splade_sts.comparison.statistics import correlation
from splade_sts.controls.scores import NAMES, ControlScores
from splade_sts.data.describe import describe
from splade_sts.data.pairs import Pairs, Splits
from splade_sts.data.provenance import Origin, Provenance
from splade_sts.data.search import write_origins
from splade_sts.data.sets import write_names
from splade_sts.evaluation.results import (
    Cost,
    Evaluation,
    Metrics,
    Predictions,
    QueryResults,
    Retrieval,
    SplitEvaluation,
)
from splade_sts.files import write_json
from splade_sts.training.curves import TrainingPoint, ValidationPoint, write_curve

TERMS = 8  # that the two sentences of a pair share
GENRES = ("captions", "forums", "headlines")


def write_predictions(rows: int) -> None:
    """Write to the working folder all that `compare` reads of `rows` pairs in each held-out split.

    Gold scores and cosines are those of `bootstrap.sample`. Every tenth pair has the first sentence
    of the pair before it, so that there are clusters, and every fifth pair of test is of train too.
    There are all controls, genres, and a query of the search for paraphrases for every third pair.
    """
    columns = {name: name for name in ("sentence1", "sentence2", "score", "genre")}
    changes = {"source": "local", "score_range": [0, 1], "columns": columns}
    write_params(layout.PARAMS, {"data": changes})
    for folder in (layout.SEARCHES, layout.SET_NAMES.parent, Path("models"), layout.CONTROLS):
        folder.mkdir(parents=True)
    splits: dict[layout.Split, Pairs] = {
        split: _random_split(rows, split) for split in layout.HELD_OUT
    }
    splits["train"] = Pairs.from_table(splits["test"].table()[::5])
    for split, pairs in splits.items():
        pairs.write(layout.normalized(split))
    files = {
        split: Origin(layout.normalized(split).name, "", len(splits[split])) for split in splits
    }
    Provenance("local", None, files).write(layout.RAW)
    write_origins({}, layout.SEARCH_ORIGINS)
    write_names(layout.NORMALIZED, [])
    _, base, finetuned = sample(rows)
    for model, cosine in zip(layout.MODELS, (base, finetuned), strict=True):
        layout.predictions(model).mkdir()
        Evaluation(
            {split: _predict(model, split, splits[split], cosine) for split in layout.HELD_OUT}
        ).write(model)
    for split in layout.HELD_OUT:
        dice = np.random.default_rng(2)
        scores = {name: splits[split].score + dice.normal(0, 0.3, rows) for name in NAMES}
        scores["jaccard"] = scores["jaccard"].clip(0, 1).round(2)
        ControlScores(splits[split], scores).write(layout.control(split))
    few: Splits = {split: first(pairs, 100) for split, pairs in splits.items()}
    write_json(layout.evidence("data"), describe(few).content())  # the report shows some of it
    write_json(layout.evidence("train"), {"precision": "fp32", "steps": 1, "best_step": 1})
    source = {"source": "random", "revision": None, "license": "none"}
    write_json(layout.BASE_SOURCE, source | {"converted_to_active_dims": None})
    write_curve(
        layout.TRAINING_CURVE, [TrainingPoint(1, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)], TrainingPoint
    )
    write_curve(
        layout.VALIDATION_CURVE, [ValidationPoint(1, 1.0, 0.5, 0.5, 80.0, 0.99)], ValidationPoint
    )


def _random_split(rows: int, split: str) -> Pairs:
    dice = np.random.default_rng([rows, layout.SPLITS.index(split)])
    drawn = np.array(WORDS)[dice.integers(0, len(WORDS), (2, rows, 8))]
    ones, others = (
        [f"{' '.join(words)} {split} {side} {row}" for row, words in enumerate(part)]
        for side, part in zip("ab", drawn, strict=True)
    )
    for row in range(1, rows, 10):
        ones[row] = ones[row - 1]
    genre = [GENRES[row % len(GENRES)] for row in range(rows)]
    return Pairs(ones, others, sample(rows)[0], genre)


def _predict(model: layout.Model, split: str, pairs: Pairs, cosine: np.ndarray) -> SplitEvaluation:
    """The evaluation; the predictions and queries that belong to it are written."""
    rows, dice = len(pairs), np.random.default_rng(len(model))
    dims = dice.integers(40, 90, rows)
    terms = [[(word, score / TERMS) for word in WORDS[:TERMS]] for score in cosine.tolist()]
    plain = Pairs(pairs.sentence1, pairs.sentence2, pairs.score)
    Predictions(plain, cosine, dims, dims, terms).write(layout.prediction(model, split))
    found = dice.random((3, rows // 3))
    queries = QueryResults(pairs.sentence1[: rows // 3], np.arange(rows // 3) // 2, *found)
    queries.write(layout.paraphrase_queries(model, split))
    both = correlation(pairs.score, cosine)
    assert both is not None
    metrics = Metrics(**both, active_dims=65.0, sparsity_ratio=0.99)
    return SplitEvaluation(rows, metrics, Cost(1.0, 520.0), Retrieval.of(queries, 2 * rows))
