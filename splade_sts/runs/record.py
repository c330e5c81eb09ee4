"""What is recorded of a pipeline run, read from the files that DVC and Git hold."""

import csv
import hashlib
import io
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts.errors import UserError
from splade_sts.params import flatten, public_params, short_path

CURVES = {"train": "metrics/training.csv", "validation": "metrics/validation.csv"}
METRIC_FILES = ("base", "finetuned")
ARTIFACTS = ("params.yaml", "dvc.lock", "metrics/data.json", "metrics/comparison.json")
REPORTS = "reports"
REPORT_FILES = (
    "comparison.md", "comparison.html", "predictions.png", "error_by_band.png", "active_dims.png", "training.png",
)

# Parameters that no result of a model depends on.
FREE_PARAMS = ("tracking.", "compare.", "train.checkpoint_steps")
OUTPUT_TAG = "dvc.md5."  # before the path of an output under data or models
TRAINING_TAG, RECORD_TAG, COMPLETE_TAG = "splade_sts.training.trainer", "splade_sts.record", "splade_sts.complete"

Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class Record:
    """One pipeline run.

    Attributes:
        id: identifies the results: SHA-256 over parameters (without the tracking section), metrics and curves.
        training_id: identifies the training: SHA-256 over its curves and summary.
        params: every parameter under its dotted name.
        metrics: `base.…`, `finetuned.…` and `delta.…` (then split and metric), and `finetune.best_step`.
        curves: points `(step, {name: value})`, names starting with `train.` or `validation.`.
        tags: what else is known: resolved precision, data source, DVC's hash of every output.
        datasets: for each split its name, source, number of rows and digest (DVC's hash).
        artifacts: content of the files to keep with the run, by path.
    """

    id: str
    training_id: str
    params: dict[str, Any]
    metrics: dict[str, float]
    curves: list[tuple[int, dict[str, float]]]
    tags: dict[str, str]
    datasets: list[dict[str, Any]]
    artifacts: dict[str, bytes]


def project_root() -> Path:
    """The user's workspace, also from within DVC's temporary experiment folders.

    DVC names it in `DVC_ROOT`, which `dvc repro` would take over from the calling shell: it counts only where the
    working directory lies below it.

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


def workspace_reader(path: str) -> bytes:
    """Read a file of the working directory."""
    return Path(path).read_bytes()


def revision_reader(root: Path, revision: str) -> Reader:
    """A reader of the files of a Git revision, those in DVC's cache included."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(root), rev=revision).read_bytes


def training_id(read: Reader) -> str:
    """Identity of the training whose curves and summary `read` finds."""
    return _digest([read(path) for path in (*CURVES.values(), "metrics/finetune.json")])


def collect(read: Reader = workspace_reader) -> Record:
    """Collect the record of the pipeline run whose files `read` finds.

    Raises:
        FileNotFoundError: the pipeline has not run to its end there.
    """
    params_bytes, lock_bytes = read("params.yaml"), read("dvc.lock")
    params = YAML(typ="safe").load(params_bytes)
    stages = YAML(typ="safe").load(lock_bytes)["stages"]
    results = {name: json.loads(read(f"metrics/{name}.json")) for name in (*METRIC_FILES, "comparison", "finetune")}
    metrics = {
        f"{name}.{metric}": value for name in METRIC_FILES for metric, value in flatten(results[name]).items()
    }
    for split, values in results["comparison"].items():
        metrics |= {f"delta.{split}.{metric}": value for metric, value in values["delta"].items()}
        metrics |= flatten(values.get("evidence", {}), f"evidence.{split}.")
        # the headline of each part; every slice is in metrics/comparison.json, which is kept as an artifact
        for name, control in values.get("controls", {}).items():
            metrics[f"controls.{split}.{name}.spearman"] = control["spearman"]["value"]
        if values.get("leak_free", {}).get("enough"):
            metrics |= flatten(values["leak_free"]["spearman_cosine"], f"leak_free.{split}.spearman_cosine.")
            metrics[f"leak_free.{split}.pairs"] = values["leak_free"]["pairs"]
    metrics["finetune.best_step"] = results["finetune"]["best_step"]
    curves = [point for kind, path in CURVES.items() for point in _curve(kind, read(path))]
    outs = {out["path"]: out for stage in stages.values() for out in stage.get("outs", [])}
    data = json.loads(read("metrics/data.json"))
    artifacts = {path: read(path) for path in ARTIFACTS} | _reports(read)
    identity = {name: value for name, value in params.items() if name != "tracking"}
    flat = public_params(flatten(params))
    for value in flatten(params).values():
        if short := short_path(value):
            artifacts = {path: content.replace(value.encode(), short.encode()) for path, content in artifacts.items()}
    return Record(
        id=_digest([json.dumps(identity, sort_keys=True).encode(), json.dumps(metrics, sort_keys=True).encode(),
                    *(read(path) for path in CURVES.values())]),
        training_id=training_id(read),
        params=flat,
        metrics=metrics,
        curves=curves,
        tags={
            "precision": results["finetune"]["precision"],
            **{f"{OUTPUT_TAG}{path}": out["md5"] for path, out in outs.items() if path.startswith(("data", "models"))},
        },
        datasets=[
            {
                "name": split, "source": flat["data.source"], "rows": data[split]["rows"],
                "digest": hashlib.md5(f"{outs['data/normalized']['md5']}/{split}".encode()).hexdigest()[:8],
            }
            for split in ("train", "validation", "test")
        ],
        artifacts=artifacts,
    )


def _reports(read: Reader) -> dict[str, bytes]:
    found = {}
    for name in REPORT_FILES:
        path = f"{REPORTS}/{name}"
        try:
            found[path] = read(path)
        except FileNotFoundError:  # of an old revision, no longer in DVC's cache: the numbers are still in Git
            continue
    return found


def _curve(kind: str, content: bytes) -> list[tuple[int, dict[str, float]]]:
    return [
        curve_point(kind, row) for row in csv.DictReader(io.StringIO(content.decode("utf-8")))
    ]


def curve_point(kind: str, row: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """A row of a curve's table as `(step, {name: value})`, names starting with `kind`."""
    values = {f"{kind}.{name}": float(value) for name, value in row.items() if name != "step" and value not in ("", None)}
    return int(row["step"]), values


def _digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def git_tags(root: Path) -> dict[str, str]:
    """Where this pipeline run stands in Git and DVC: commit, dirty state, experiment and its baseline."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    name, baseline = os.environ.get("DVC_EXP_NAME"), os.environ.get("DVC_EXP_BASELINE_REV")
    changed = git("status", "--porcelain", "--", ".", ":!metrics", ":!dvc.lock", ":!plots")
    tags = {"git.commit": baseline or git("rev-parse", "HEAD"), "git.dirty": str(bool(changed)).lower()}
    if name:
        tags |= {"dvc.experiment": name, "dvc.baseline": baseline or ""}
    return tags


def run_name(tags: dict[str, str]) -> str:
    """The DVC experiment's name where there is one, else the commit."""
    return tags.get("dvc.experiment") or f"repro-{tags['git.commit'][:7]}"
