"""What is recorded of a pipeline run, read from the files that DVC and Git hold."""

import errno
import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from splade_sts import layout, params
from splade_sts.comparison.evidence import Comparison, RetrievalComparison, Suite
from splade_sts.comparison.statistics import Estimate
from splade_sts.evaluation.results import MEASURES, POSTING_BYTES
from splade_sts.params import Params, flatten
from splade_sts.runs.identity import CURVES, digest, training_id
from splade_sts.runs.public import public_params, scrub
from splade_sts.runs.source import RunFiles
from splade_sts.training.curves import TrainingPoint, ValidationPoint, read_curve

# The stages whose headlines belong to a run.
HEADLINES = ("base", "finetuned", "comparison", "controls")
# Git holds these files of every run ...
COMMITTED = (layout.PARAMS, layout.LOCK, *(layout.metrics(stage) for stage in ("data", *HEADLINES)))
# ... and DVC's cache these, which may be missing there.
COMPARISON, TRAINING = layout.evidence("comparison"), layout.evidence("train")
CACHED = (
    layout.REPORTS,
    TRAINING,
    *(layout.evidence(stage) for stage in ("data", *HEADLINES)),
)

# Parameters that no result of a model depends on.
FREE_PARAMS = ("track.", "compare.", "train.checkpoint_steps")
OUTPUT_TAG = "dvc.md5."  # before the path of an output under data or models


@dataclass(frozen=True)
class Dataset:
    """A split of the data: its source, its number of pairs, and eight hexadecimal digits that its
    content gives.
    """

    name: str
    source: str
    rows: int
    digest: str


@dataclass(frozen=True)
class Record:
    """One pipeline run.

    Attributes:
        id: identifies the results: SHA-256 over parameters (as in `params`, without those of
            tracking and `train.checkpoint_steps`), headlines
            and curves.
        training_id: identifies the training: SHA-256 over its curves.
        params: every parameter under its dotted name, absolute paths shortened.
        metrics: every headline under the name of its stage and its own: `base.test.spearman`,
            `comparison.gain`, `controls.test.bm25`.
        details: numbers of the evidence that are no headlines, as far as it was asked for and is
            there: `base.test.pearson`, `comparison.validation.gain`, `train.best_step`,
            `base.search.NAME.ndcg_at_10`, `comparison.test.mrr_at_10_gain_low`.
        training, validation: the points of the two curves.
        tags: what else is known: the resolved precision, DVC's hash of every output under data and
            models.
        datasets: the splits.
        comparison: all that was compared; None where it was not asked for or is missing.
        artifacts: content of the files to keep with the run, by path, absolute paths of the
            parameters shortened.
        missing: what was asked for of DVC's cache and is not there.
    """

    id: str
    training_id: str
    params: dict[str, Any]
    metrics: dict[str, float]
    details: dict[str, float]
    training: tuple[TrainingPoint, ...]
    validation: tuple[ValidationPoint, ...]
    tags: dict[str, str]
    datasets: tuple[Dataset, ...]
    comparison: Comparison | None
    artifacts: dict[str, bytes]
    missing: tuple[str, ...]

    @property
    def numbers(self) -> dict[str, float]:
        """Headlines and details."""
        return self.metrics | self.details

    @property
    def points(self) -> tuple[TrainingPoint | ValidationPoint, ...]:
        """Both curves."""
        return (*self.training, *self.validation)

    def measured(self, model: layout.Model, split: str, metric: str) -> float:
        """A number of a model on a split; `index_bytes` too, which is a multiple of active dims."""
        if metric == "index_bytes":
            return POSTING_BYTES * self.measured(model, split, "active_dims")
        return self.numbers[f"{model}.{split}.{metric}"]

    def holds(self, split: str, metric: str) -> bool:
        """Whether both models' `measured` is there: headlines are in any case."""
        name = "active_dims" if metric == "index_bytes" else metric
        return all(f"{model}.{split}.{name}" in self.numbers for model in layout.MODELS)


def collect(files: RunFiles | None = None, cached: Sequence[Path] = CACHED) -> Record:
    """Collect the record of a pipeline run.

    Args:
        files: its files; None for those of the working directory.
        cached: what to read of DVC's cache, of `CACHED`.

    Raises:
        FileNotFoundError: the pipeline has not run to its end there; with the path of the file that
            is missing.
        UserError: the parameters do not fit the schema.
    """
    files = files or RunFiles.workspace()
    committed = {str(path): files.read(path) for path in COMMITTED}
    curves = [files.read(path) for path in CURVES]
    settings = params.parse(params.completed(YAML(typ="safe").load(committed[str(layout.PARAMS)])))
    headlines = {stage: json.loads(committed[str(layout.metrics(stage))]) for stage in HEADLINES}
    metrics = flatten({stage: found.get(stage, found) for stage, found in headlines.items()})
    kept, missing = _cached(files, cached)
    comparison = _comparison(kept.get(str(COMPARISON)))
    if comparison is None and COMPARISON in cached and str(COMPARISON) not in missing:
        missing = (*missing, f"{COMPARISON} of this version")
    training = json.loads(kept.get(str(TRAINING), b"{}"))
    hashes = _hashes(committed[str(layout.LOCK)])
    identity = {  # a key that came later, as it was before it came, makes no other run
        name: value
        for name, value in public_params(
            settings, without=("track", "train.checkpoint_steps")
        ).items()
        if name not in params.ADDED_LATER or value != params.ADDED_LATER[name]
    }
    return Record(
        id=digest([_canonical(identity), _canonical(metrics), *curves]),
        training_id=training_id(files),
        params=public_params(settings),
        metrics=metrics,
        details=_details(comparison, training, without=metrics),
        training=tuple(read_curve(curves[0].decode("utf-8"), TrainingPoint)),
        validation=tuple(read_curve(curves[1].decode("utf-8"), ValidationPoint)),
        tags={
            name: str(training[name])
            for name in ("precision", "processes", "threads")
            if name in training
        }
        | {
            f"{OUTPUT_TAG}{path}": md5
            for path, md5 in hashes.items()
            if path.startswith(("data/", "models/"))
        },
        datasets=_datasets(
            settings, json.loads(committed[str(layout.metrics("data"))])["rows"], hashes
        ),
        comparison=comparison,
        artifacts={
            path: scrub(content, settings) for path, content in {**committed, **kept}.items()
        },
        missing=missing,
    )


def not_in_cache(missing: Sequence[str]) -> str:
    """One line on what a record lacks, and how to get it."""
    return f"not in the cache: {', '.join(missing)} (dvc pull)"


def _cached(files: RunFiles, wanted: Sequence[Path]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """What there is of `wanted`, files and folders, and the paths that are not there."""
    found: dict[str, bytes] = {}
    missing: list[str] = []
    for path in wanted:
        try:
            names = [path] if path.suffix else files.names(path)
        except FileNotFoundError:
            missing.append(str(path))
            continue
        for name in names:
            try:
                found[str(name)] = files.read(name)
            except FileNotFoundError:
                missing.append(str(name))
    return found, tuple(missing)


def _comparison(content: bytes | None) -> Comparison | None:
    if content is None:
        return None
    try:
        return Comparison.from_content(json.loads(content))
    except ValidationError:  # written by another version of this project
        return None


def _details(
    comparison: Comparison | None, training: dict[str, Any], without: Collection[str]
) -> dict[str, float]:
    """`Record.details`: all numbers but those `without`."""
    found: dict[str, Any] = {
        f"train.{name}": training[name] for name in ("steps", "best_step") if name in training
    }
    if comparison is not None:
        found |= _compared(comparison)
    return {name: float(value) for name, value in found.items() if name not in without}


def _compared(comparison: Comparison) -> dict[str, Any]:
    """The numbers of a comparison, by name."""
    found: dict[str, Any] = {}
    for split, one in comparison.splits.items():
        for model, evaluation in (("base", one.base), ("finetuned", one.finetuned)):
            for group in (evaluation.metrics, evaluation.cost, evaluation.retrieval):
                if group is not None:
                    found |= flatten(asdict(group), f"{model}.{split}.")
        place = "comparison" if split == "test" else f"comparison.{split}"
        found |= _bounds(f"{place}.gain", one.spearman.gain)
        found[f"{place}.p"] = one.spearman_test.p
        if one.retrieval is not None:
            found |= _retrieval(one.retrieval, f"comparison.{split}")
    for name, retrieved in comparison.paraphrases.items():
        found |= _retrieval(retrieved, f"comparison.{name}")
    for name, searched in comparison.searches.items():
        for measure in MEASURES:
            change = getattr(searched.retrieval, measure)
            found[f"base.search.{name}.{measure}"] = change.base
            found[f"finetuned.search.{name}.{measure}"] = change.finetuned
        found[f"base.search.{name}.document_active_dims"] = searched.base_active_dims
        found[f"finetuned.search.{name}.document_active_dims"] = searched.finetuned_active_dims
        found |= _retrieval(searched.retrieval, f"comparison.search.{name}")
    if comparison.suite is not None:
        found |= _suite(comparison.suite)
    return found


def _bounds(name: str, found: Estimate) -> dict[str, float]:
    """An estimate under `name`, and the ends of its interval."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _retrieval(found: RetrievalComparison, place: str) -> dict[str, float]:
    """The gains of a search with their intervals."""
    bounds: dict[str, float] = {}
    for measure in MEASURES:
        gain = getattr(found, measure).gain
        if gain is not None:
            bounds |= _bounds(f"{place}.{measure}_gain", gain)
    return bounds


def _suite(suite: Suite) -> dict[str, float]:
    """Spearman of both models, the gain and its interval on each further test set and on the mean
    of all: `base.STS15.spearman`, `comparison.STS15.gain`.
    """
    whole = suite.levels["all"]
    columns = {name: part.found for name, part in whole.sets.items() if name not in layout.SPLITS}
    if "all" in whole.means:
        columns[params.MEAN] = whole.means["all"].found
    found: dict[str, float] = {}
    for name, models in columns.items():
        for model in layout.MODELS:
            if model in models:
                found[f"{model}.{name}.spearman"] = models[model].spearman.value
        if "gain" in models:
            found |= _bounds(f"comparison.{name}.gain", models["gain"].spearman)
    return found


def _hashes(lock: bytes) -> dict[str, str]:
    """DVC's hash of every output in a dvc.lock."""
    stages = YAML(typ="safe").load(lock)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _datasets(
    settings: Params, rows: dict[str, int], hashes: dict[str, str]
) -> tuple[Dataset, ...]:
    whole = hashes.get(str(layout.NORMALIZED))
    if whole is None:  # a dvc.lock from before the data were normalized
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(layout.NORMALIZED))
    source = public_params(settings)["data.source"]
    short = {
        split: hashlib.md5(f"{whole}/{split}".encode(), usedforsecurity=False)
        for split in layout.SPLITS
    }
    return tuple(
        Dataset(split, source, rows[split], short[split].hexdigest()[:8]) for split in layout.SPLITS
    )


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
