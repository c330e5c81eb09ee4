"""train: train models/base on the normalized pairs; keep the checkpoint with the best validation
Spearman.
"""

import os
import time
from contextlib import redirect_stdout
from pathlib import Path

import torch

from splade_sts import layout, params
from splade_sts.data.pairs import Pairs
from splade_sts.data.stored import StoredPairs
from splade_sts.files import replacing, write_json
from splade_sts.model.encoder import load_encoder
from splade_sts.process import run_stage
from splade_sts.runs.identity import digest
from splade_sts.tracking.live import live_run
from splade_sts.training import checkpoints
from splade_sts.training.curves import OnPoint, TrainingPoint, ValidationPoint, write_curve
from splade_sts.training.environment import facts
from splade_sts.training.finetune import TrainingResult, finetune, ignore
from splade_sts.training.processes import check_alike, joined, launched


def main() -> None:
    settings = params.load()
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    with joined(settings.train.launcher) as processes:
        tags = facts(settings.train.precision, processes.count)
        check_alike(tags)
        # what decides the result: nothing that only says how often to save, or how to start
        decisive = {
            "params": settings.train.model_dump(exclude={"checkpoint_steps", "launcher"}),
            **tags,
        }
        identity = checkpoints.fingerprint("train", decisive)
        if processes.leads:
            lead(settings, tags, identity)
        else:
            with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
                train(settings, layout.project_root() / layout.CHECKPOINTS / identity)


def lead(settings: params.Params, tags: dict[str, str], identity: str) -> None:
    """The part of the first process: its checkpoints, the live run, all that is written."""
    root = layout.project_root()
    with checkpoints.reserved(root, identity) as folder:
        checkpoints.clear_given_up(root)
        started = time.monotonic()
        with live_run(settings, tags) as live:
            result = train(settings, folder, live.point)
            training = write(result)
            live.finish(training, time.monotonic() - started)
        checkpoints.mark_done(folder, training)
    found = result.validation
    print(
        f"best step {result.best_step} of {result.steps} ({result.precision}): "
        f"validation Spearman {found.spearman:.4f}, {found.active_dims:.1f} active dims"
    )


def train(settings: params.Params, folder: Path, on_point: OnPoint = ignore) -> TrainingResult:
    return finetune(
        load_encoder(layout.model("base")),
        StoredPairs(layout.normalized("train")),
        Pairs.read(layout.normalized("validation")),
        settings.train,
        folder,
        on_point,
        settings.evaluate.min_sparsity_ratio,
    )


def write(result: TrainingResult) -> str:
    """Write the outputs; return the identity of the training, as `training_id` reads it from them.

    They are not read again: the next run's DVC may remove them at any moment, where this process
    has outlived its own.
    """
    with replacing(layout.model("finetuned")) as target:
        result.model.save_pretrained(str(target), create_model_card=False)
    curves = [
        write_curve(layout.TRAINING_CURVE, result.training_curve, TrainingPoint),
        write_curve(layout.VALIDATION_CURVE, result.validation_curve, ValidationPoint),
    ]
    write_json(layout.evidence("train"), result.evidence())
    return digest(curves)


def leads() -> bool:
    return launched(params.load().train.launcher).leads


if __name__ == "__main__":
    run_stage(main, leads)
