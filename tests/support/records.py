"""The files of a small run that nothing computed, and its record."""

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from splade_sts import layout
from splade_sts.comparison.evidence import Change, Comparison, ControlResult, Part, SplitComparison
from splade_sts.comparison.randomisation import Test
from splade_sts.comparison.statistics import Estimate
from splade_sts.evaluation.results import Cost, Evaluation, Metrics, SplitEvaluation
from splade_sts.files import write_json
from splade_sts.runs.record import Record, collect
from splade_sts.runs.source import RunFiles
from splade_sts.training.curves import TrainingPoint, ValidationPoint, write_curve
from tests.support.projects import set_params
from tests.support.tiny import PARAMS

# A folder of somebody's machine, which no record may name.
SOURCE = "/home/somebody/models/bert"
TRAINING = [
    TrainingPoint(step, step / 4, 1 / step, 0.9 / step, 0.1 / step, 1e-3, 1e-4, None)
    for step in (1, 2, 3, 4)
]
VALIDATION = [ValidationPoint(step, step / 4, 0.4, 0.1 * step, 9.5, 0.9) for step in (2, 4)]
# Outputs in DVC's cache: of the list of a folder and of a file.
FOLDER_MD5, FILE_MD5 = "1" * 32 + ".dir", "2" * 32
PIPELINE = {
    "normalize": {"data/normalized": FOLDER_MD5},
    "base_model": {"models/base": FOLDER_MD5, "models/base.json": FILE_MD5},
    "train": {"models/finetuned": FOLDER_MD5, "evidence/train.json": FILE_MD5},
    "evaluate": {"predictions/finetuned": FOLDER_MD5},
    "compare": {"reports": FOLDER_MD5, "evidence/comparison.json": FILE_MD5},
}


def evaluation(spearman: float, active_dims: float) -> Evaluation:
    """An evaluation with these values on both held-out splits."""
    metrics = Metrics(
        pearson=spearman - 0.01, spearman=spearman, active_dims=active_dims, sparsity_ratio=0.9
    )
    split = SplitEvaluation(16, metrics, Cost(flops=active_dims / 10, index_bytes=8 * active_dims))
    return Evaluation(dict.fromkeys(layout.HELD_OUT, split))


def comparison(base: Evaluation, finetuned: Evaluation) -> Comparison:
    """A comparison whose intervals reach 0.1 to both sides."""

    def estimate(value: float) -> Estimate:
        low, high = value - 0.1, value + 0.1
        return Estimate(value, low, high, low, high, method="bca", error=0.0002)

    def change(before: float, after: float) -> Change:
        return Change(estimate(before), estimate(after), estimate(after - before))

    found = {}
    for split, one in base.splits.items():
        other = finetuned.splits[split]
        spearman = change(one.metrics.spearman, other.metrics.spearman)
        pearson = change(one.metrics.pearson, other.metrics.pearson)
        control = ControlResult("bm25", estimate(0.3), estimate(0.31), estimate(0.2), estimate(0.2))
        test = Test(0.04, 1000)
        part = Part(one.pairs, pearson, spearman)
        found[str(split)] = SplitComparison(
            one, other, part, test, test, part, part, None, (control,), ()
        )
    return Comparison(0.95, found)


def write_run(folder: Path, **changes: Any) -> None:
    """Write everything that a record is made of, as the pipeline leaves it; `changes` as in
    `set_params`.
    """
    base, finetuned = evaluation(0.5, 12.0), evaluation(0.6, 8.0)
    compared = comparison(base, finetuned)
    shutil.copy(PARAMS, folder / layout.PARAMS)
    set_params(folder, base_model__source=SOURCE, **changes)
    stages = {
        name: [{"path": path, "hash": "md5", "md5": md5} for path, md5 in outs.items()]
        for name, outs in PIPELINE.items()
    }
    with (folder / layout.LOCK).open("w") as file:
        YAML().dump(
            {
                "schema": "2.0",
                "stages": {name: {"cmd": name, "outs": outs} for name, outs in stages.items()},
            },
            file,
        )
    headlines: dict[str, dict[str, Any]] = {
        "data": {"rows": {"train": 32, "validation": 16, "test": 16}, "shared_pairs": {}},
        "base": base.headlines("base"),
        "finetuned": finetuned.headlines("finetuned"),
        "comparison": compared.headlines(),
        "controls": {split: {"bm25": 0.31} for split in layout.HELD_OUT},
    }
    evidence: dict[str, dict[str, Any]] = {
        "data": {},
        "controls": {},
        "base": asdict(base),
        "finetuned": asdict(finetuned),
        "comparison": compared.content(),
        "train": {"precision": "fp32", "processes": 2, "threads": 3, "steps": 4, "best_step": 4},
    }
    for name, content in headlines.items():
        write_json(folder / layout.metrics(name), content)
    for name, content in evidence.items():
        write_json(folder / layout.evidence(name), content)
    write_curve(folder / layout.TRAINING_CURVE, TRAINING, TrainingPoint)
    write_curve(folder / layout.VALIDATION_CURVE, VALIDATION, ValidationPoint)
    (folder / layout.REPORTS).mkdir()
    (folder / layout.REPORTS / "comparison.html").write_text(f"<p>{SOURCE}</p>")
    (folder / layout.REPORTS / "comparison.md").write_text(json.dumps(SOURCE))


def write_pipeline(folder: Path) -> None:
    """Make a DVC project of a folder that `write_run` filled: Git holds nothing of what DVC's cache
    should.
    """
    with (folder / layout.PIPELINE).open("w") as file:
        YAML().dump(
            {"stages": {name: {"cmd": name, "outs": [*outs]} for name, outs in PIPELINE.items()}},
            file,
        )
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (folder / ".gitignore").write_text("/data\n/models\n/evidence\n/predictions\n/reports\n")


@cache
def run_record() -> Record:
    """The record of `write_run`."""
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder))
        return collect(RunFiles.workspace(Path(folder)))


def changed(
    record: Record, quality: float, size: float, flops: float | None = None, **params: Any
) -> Record:
    """A run with that validation Spearman, active dims and FLOPs (a tenth of `size`, unless given);
    on test Spearman is the other way round.
    """
    metrics = {
        "finetuned.validation.spearman": quality,
        "finetuned.validation.active_dims": size,
        "finetuned.validation.flops": size / 10 if flops is None else flops,
        "finetuned.test.spearman": 1 - quality,
    }
    return replace(
        record, metrics={**record.metrics, **metrics}, params={**record.params, **params}
    )
