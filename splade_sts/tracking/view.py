"""How people see a run in MLflow: names of its metrics, what its page says of it, columns of the
table of runs.

MLflow's pages group metrics by what stands before the last `/`, in the order of the alphabet. Ours
are grouped in `test` and `validation` (results: of the fine-tuned model where nothing else is said,
of the base model, of what they are compared with, and what the difference is worth), `train`
(curves and effort), and one group for each further set. Names are short: a column of the table of
runs shows 15 characters.
"""

import getpass
import json
from dataclasses import asdict
from typing import Any

from splade_sts import layout
from splade_sts.runs.naming import named_params
from splade_sts.training.curves import Point, TrainingPoint

TRAINING_TAG, RECORD_TAG, COMPLETE_TAG = (
    "splade_sts.training",
    "splade_sts.record",
    "splade_sts.complete",
)
WRITER_TAG, MISSING_TAG = "splade_sts.writer", "splade_sts.missing"
SEEN_TAG = "splade_sts.seen"  # when the writer last gave a sign of life, in seconds
COPIED_TAG = "splade_sts.copied_from"  # the id that a run had in the store it was copied from
EXPERIMENT_TAG, BASELINE_TAG = "dvc.experiment", "dvc.baseline"  # see splade_sts.runs.place
NOTE_TAG, SWEEP_TAG = "mlflow.note.content", "sweep"
SECONDS = "train/seconds"
REPORT = layout.REPORTS / "comparison.html"
# Shared views of the UI. In both, the table of runs opens with our columns instead of without any
# metric; in the second one, the runs of a sweep are one group that shows the means of its metrics.
VIEW, SWEEPS = "results", "sweeps"
COLUMNS = (
    *(
        f"metrics.`{name}`"
        for name in (
            "test/spearman",
            "test/gain",
            "test/active_dims",
            "test/base_spearman",
        )
    ),
    *(
        f"params.`{name}`"
        for name in (
            "data.source",
            "train.epochs",
            "train.learning_rate",
            "train.regularizer_weight",
        )
    ),
)


def point_values(point: Point) -> dict[str, float]:
    """The values of a point of a curve: `train/loss`, `train/validation_spearman`."""
    group = "train/" if isinstance(point, TrainingPoint) else "train/validation_"
    values = {
        name: value for name, value in asdict(point).items() if name != "step" and value is not None
    }
    return {f"{group}{name}": float(value) for name, value in values.items()}


def metric_name(headline: str) -> str:
    """The name of a headline or detail of `splade_sts.runs.record.Record`.

    `finetuned.test.spearman` is `test/spearman`, `base.test.spearman` is `test/base_spearman`,
    `comparison.gain` and `comparison.test.gain` are `test/gain`, `controls.test.bm25` is
    `test/bm25_spearman`, `train.best_step` is `train/best_step`.
    """
    stage, *rest = headline.split(".")
    if stage == "train":
        return f"train/{'_'.join(rest)}"
    if stage == "comparison" and len(rest) == 1:
        rest = ["test", *rest]
    split, *name = rest
    if stage == "base":
        name = ["base", *name]
    elif stage == "controls":
        name = [*name, "spearman"]
    return f"{split}/{'_'.join(name)}"


def mlflow_tags(tags: dict[str, str], note: str) -> dict[str, str]:
    """What MLflow itself shows of a run: where it comes from, who has written it down, and a note.

    Args:
        tags: see `splade_sts.runs.place.git_tags`.
        note: Markdown.
    """
    name = tags.get(EXPERIMENT_TAG)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    shown = {
        "mlflow.source.name": f"dvc exp run {name}" if name else "dvc repro",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user,
        NOTE_TAG: note,
    }
    if commit := tags.get("git.commit"):
        shown["mlflow.source.git.commit"] = commit
    return shown


def sweep_tag(tags: dict[str, str], params: dict[str, Any]) -> dict[str, str]:
    """The tag that all runs of a sweep have in common: what it varies, and from which commit.

    The name of the experiment is read for it, see `splade_sts.runs.naming`: it is all that DVC
    gives to a stage, keeps with the experiment and hands to other machines.

    Args:
        tags: see `splade_sts.runs.place.git_tags`.
        params: parameters as in `Record.params`.

    Returns:
        Empty where the name says nothing of a sweep.
    """
    varied = named_params(tags.get(EXPERIMENT_TAG, ""), params)
    if not varied:
        return {}
    return {SWEEP_TAG: f"{', '.join(varied)} from {tags.get(BASELINE_TAG, '')[:7]}"}


def note(
    verdict: str | None, changed: dict[str, tuple[Any, Any]] | None, report: str | None
) -> str:
    """What a run's page says first.

    Args:
        verdict: see `splade_sts.report.verdict`; None where it is not known.
        changed: see `splade_sts.runs.place.changed_params`.
        report: the path of the report among the run's artifacts; None where there is none.
    """
    parts = [verdict] if verdict else []
    if changed is not None:
        parts.append(changes(changed, "`"))
    if report:
        parts.append(f"The report is the artifact `{report}`.")
    return "\n\n".join(parts)


def changes(changed: dict[str, tuple[Any, Any]], quote: str = "") -> str:
    """A sentence on `splade_sts.runs.place.changed_params`; `quote` stands around names and
    values.
    """
    if not changed:
        return "The parameters are the committed ones."
    said = []
    for name, values in changed.items():
        what, now, before = (f"{quote}{text}{quote}" for text in (name, *map(_shown, values)))
        said.append(f"{what} {now} instead of {before}")
    return f"Changed from the committed parameters: {', '.join(said)}."


def same_results(note: str, name: str) -> str:
    """`note`, and that the run `name` had the same results."""
    return "\n\n".join(filter(None, [note, f"Its results equal those of the run `{name}`."]))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def experiment_tags() -> dict[str, str]:
    """Tags of an experiment: its kind, so that its page shows runs and not traces, and the views of
    its runs.
    """
    columns = {"selectedColumns": COLUMNS}
    groups = {"mode": "tag", "groupByData": SWEEP_TAG}
    grouped = {"groupBy": {"aggregateFunction": "average", "groupByKeys": [groups]}}
    return {
        "mlflow.experimentKind": "custom_model_development",  # private: mlflow
        f"mlflow.sharedViewState.{VIEW}": json.dumps(columns),  # private: mlflow
        f"mlflow.sharedViewState.{SWEEPS}": json.dumps(columns | grouped),  # private: mlflow
    }


def runs_page(experiment_id: str, view: str = VIEW) -> str:
    """Path of the UI's table of runs in a view of `experiment_tags`.

    Without `workflowType` the UI opens its pages for LLM applications.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={view}"  # private: mlflow
    return f"/#/experiments/{experiment_id}/runs?{query}"
