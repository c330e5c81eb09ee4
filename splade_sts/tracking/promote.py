"""Which registered model is the champion: the alias that others load it by.

The alias moves only to a model that is not worse: the whole paired interval of the change in
Spearman, candidate minus champion, lies at or above 0. Validation decides, as wherever this project
chooses: who takes on every candidate by its test score has a champion whose test score is too high.
Test is measured beside it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from splade_sts import layout
from splade_sts.comparison.statistics import Bootstrap
from splade_sts.errors import UserError
from splade_sts.runs.place import run_name
from splade_sts.runs.record import collect
from splade_sts.runs.regression import Regression, compare_runs
from splade_sts.runs.source import RunFiles
from splade_sts.tracking.register import recorded_run
from splade_sts.tracking.start import start_mlflow
from splade_sts.tracking.sync import places, reachable
from splade_sts.tracking.view import EXPERIMENT_TAG, RECORD_TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from splade_sts.tracking.store import Store

# The first one decides.
SPLITS: tuple[layout.Split, ...] = ("validation", "test")


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate.

    Attributes:
        version: the candidate's, of the registered model.
        run: the name of its run.
        champion: the version that was the champion before; None where there was none.
        compared: candidate against champion, on validation and test; empty where there was no
            other champion.
    """

    version: str
    run: str
    champion: str | None
    compared: tuple[Regression, ...]

    @property
    def promoted(self) -> bool:
        """Whether the candidate is the champion now."""
        return not self.compared or self.compared[0].change.low >= 0


def promote(name: str | None, experiment: str, bootstrap: Bootstrap) -> Promotion:
    """Let the alias `champion` name the registered model of a run, unless that may be a loss.

    Args:
        name: a DVC experiment, or a Git revision with committed results; None for the workspace.
        experiment: name of the MLflow experiment, and of the registered model.
        bootstrap: how the intervals are made.

    Raises:
        UserError: there is no such run, its model is not registered, the champion's results cannot
            be found or are of other pairs, or MLflow cannot be reached.
    """
    root = layout.project_root()
    record, tags, revision = recorded_run(root, name)
    start_mlflow()
    from splade_sts.tracking.store import CHAMPION, Store

    with reachable():
        store = Store.open(root, experiment)
        run = store.find(record, run_name(tags), by_name=EXPERIMENT_TAG in tags)
        version = store.registered(run.info.run_id, experiment) if run else None
        if run is None or version is None:
            raise UserError(
                f"{name or 'the workspace'} has no registered model; register it first: "
                f"python -m splade_sts register {name or ''}".rstrip()
            )
        champion = store.champion(experiment)
        compared: tuple[Regression, ...] = ()
        before = str(champion.version) if champion else None
        if champion is not None and before != version:
            label, found = _champion_files(root, store, champion)
            candidate = f"version {version} ({run.info.run_name})"
            opened = {candidate: _files(root, revision), label: found}
            compared = tuple(compare_runs(opened, split, bootstrap) for split in SPLITS)
        done = Promotion(version, run.info.run_name, before, compared)
        if done.promoted and before != version:
            store.client.set_registered_model_alias(experiment, CHAMPION, version)
    return done


def _files(root: Path, revision: str | None) -> RunFiles:
    return RunFiles.revision(root, revision) if revision else RunFiles.workspace(root)


def _champion_files(root: Path, store: "Store", champion: "ModelVersion") -> tuple[str, RunFiles]:
    """What to call the champion, and the files of its run: of the first commit, experiment or
    workspace with its results.
    """
    run = store.client.get_run(str(champion.run_id))
    label = f"version {champion.version} ({run.info.run_name})"
    for place in places(root, [], None):
        files = _files(root, place.revision)
        try:
            record = collect(files, cached=())
        except (FileNotFoundError, UserError):  # no finished run, or one of another version
            continue
        if record.id == run.data.tags.get(RECORD_TAG):
            return label, files
    raise UserError(
        f"the champion is {label}, whose results are neither in a commit of this branch nor in an "
        "experiment here, so nothing can be compared with it: fetch them (git pull, dvc exp pull)"
    )
