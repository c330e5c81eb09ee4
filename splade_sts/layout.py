"""Names of splits, models and metrics, and where each file of the pipeline lies.

Paths are relative to the folder a stage runs in, which is the project's root or DVC's copy of it.
"""

import os
from pathlib import Path
from typing import Literal

from splade_sts.errors import UserError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# What models are measured on: the splits that no training sees.
HELD_OUT: tuple[Split, ...] = ("validation", "test")
# Below each folder of tables by split: the folder of the further test sets (`data.test_sets`).
TEST_SETS = "test_sets"

Model = Literal["base", "finetuned"]
MODELS: tuple[Model, ...] = ("base", "finetuned")

Coefficient = Literal["pearson", "spearman"]
COEFFICIENTS: tuple[Coefficient, ...] = ("pearson", "spearman")

PARAMS, PIPELINE, LOCK = Path("params.yaml"), Path("dvc.yaml"), Path("dvc.lock")
# Pinned versions of the packages that numbers depend on; stages depend on these files.
MODEL_VERSIONS, DATA_VERSIONS = Path("requirements-model.txt"), Path("requirements-data.txt")

SAMPLE = Path("data/sample")
RAW, NORMALIZED, CALIBRATION = (
    Path("data/raw"),
    Path("data/normalized"),
    Path("data/calibration.json"),
)
PROVENANCE = RAW / "provenance.json"
# Sets that are searched in, and below it where they came from.
SEARCHES, SEARCH_ORIGINS = RAW / "retrieval", RAW / "retrieval" / "provenance.json"
# The names of the further test sets, in their order: stages that depend on them read it there.
SET_NAMES = NORMALIZED / TEST_SETS / "names.json"
BASE_SOURCE = Path("models/base.json")
CONTROLS = Path("predictions/controls")
REPORTS, PLOTS = Path("reports"), Path("plots")
TRAINING_CURVE, VALIDATION_CURVE = Path("metrics/training.csv"), Path("metrics/validation.csv")
RECORD = Path("metrics/record.json")

# Below the project's root, outside of what DVC and Git hold.
CHECKPOINTS, STAGE_LOCK = Path("checkpoints"), Path(".dvc/tmp/stage.lock")
# Clones, logs and checkpoints of experiments that run at once on this machine.
SWEEP = Path(".dvc/tmp/sweep")
MLFLOW_DATABASE, MLFLOW_ARTIFACTS, MLFLOW_NOTES = (
    Path("mlflow.db"),
    Path("mlartifacts"),
    Path(".dvc/tmp/mlflow"),
)


def table(folder: Path, name: str) -> Path:
    """The Parquet file of a split, or of a further test set, below a folder of them."""
    return folder / f"{name}.parquet" if name in SPLITS else folder / TEST_SETS / f"{name}.parquet"


def search(name: str) -> Path:
    """The folder of a set that is searched in, see `splade_sts.data.search.Search`."""
    return SEARCHES / name


def raw(name: str) -> Path:
    """The rows of a split or test set as they came (Parquet)."""
    return table(RAW, name)


def normalized(name: str) -> Path:
    """The pairs of a split or test set, see `splade_sts.data.pairs.Pairs`."""
    return table(NORMALIZED, name)


def model(name: Model) -> Path:
    """The folder of a model, as `SparseEncoder` loads it."""
    return Path("models") / name


def predictions(name: Model) -> Path:
    """The folder of a model's predictions: a Parquet file for each held-out split and test set."""
    return Path("predictions") / name


def prediction(name: Model, held_out: str) -> Path:
    """A model's predictions for the pairs of a held-out split or test set (Parquet)."""
    return table(predictions(name), held_out)


def paraphrase_queries(name: Model, split: str) -> Path:
    """What each query of a model's search for paraphrases in a split found (Parquet)."""
    return predictions(name) / f"retrieval-{split}.parquet"


def search_queries(name: Model, searched: str) -> Path:
    """What each query of the set `searched` found with a model (Parquet)."""
    return predictions(name) / f"search-{searched}.parquet"


def control(held_out: str) -> Path:
    """The controls' scores for the pairs of a held-out split or test set (Parquet)."""
    return table(CONTROLS, held_out)


def metrics(stage: str) -> Path:
    """The headlines of a stage: a small JSON file that Git holds."""
    return Path("metrics") / f"{stage}.json"


def evidence(stage: str) -> Path:
    """Everything that a stage found: a JSON file in DVC's cache."""
    return Path("evidence") / f"{stage}.json"


def project_root() -> Path:
    """The user's workspace, also from within DVC's temporary experiment folders.

    DVC names it in `DVC_ROOT`, which `dvc repro` would take over from the calling shell: it counts
    only where the working directory lies below it.

    Raises:
        UserError: the working directory is in no DVC project.
    """
    here = Path.cwd().resolve()
    named = os.environ.get("DVC_ROOT")
    if named and here.is_relative_to(Path(named).resolve()):
        return Path(named).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir():
            return folder
    raise UserError(f"{here} is in no DVC project; run from the project's folder")
