"""train: train models/base on the normalized pairs; keep the checkpoint with the best validation
Spearman.
"""

import time

import torch

from splade_sts import layout, params
from splade_sts.data.pairs import Pairs
from splade_sts.files import replacing, write_json
from splade_sts.model.encoder import load_encoder
from splade_sts.process import run_stage
from splade_sts.runs.identity import training_id
from splade_sts.tracking.live import live_run
from splade_sts.training import checkpoints
from splade_sts.training.curves import TrainingPoint, ValidationPoint, write_curve
from splade_sts.training.environment import check_one_gpu, check_one_process, facts
from splade_sts.training.finetune import TrainingResult, finetune


def main() -> None:
    settings = params.load()
    root = layout.project_root()
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    check_one_process()
    check_one_gpu()
    tags = facts(settings.train.precision)
    # what decides the result: nothing that only says how often to save
    decisive = {"params": settings.train.model_dump(exclude={"checkpoint_steps"}), **tags}
    with checkpoints.reserved(root, checkpoints.fingerprint("train", decisive)) as folder:
        checkpoints.clear_given_up(root)
        started = time.monotonic()
        with live_run(settings, tags) as live:
            result = finetune(
                load_encoder(layout.model("base")),
                Pairs.read(layout.normalized("train")),
                Pairs.read(layout.normalized("validation")),
                settings.train,
                folder,
                on_point=live.point,
                min_sparsity_ratio=settings.evaluate.min_sparsity_ratio,
            )
            write(result)
            live.finish(training_id(), time.monotonic() - started)
        checkpoints.mark_done(folder, training_id())
    found = result.validation
    print(
        f"best step {result.best_step} of {result.steps} ({result.precision}): "
        f"validation Spearman {found.spearman:.4f}, {found.active_dims:.1f} active dims"
    )


def write(result: TrainingResult) -> None:
    with replacing(layout.model("finetuned")) as target:
        result.model.save_pretrained(str(target), create_model_card=False)
    write_curve(layout.TRAINING_CURVE, result.training_curve, TrainingPoint)
    write_curve(layout.VALIDATION_CURVE, result.validation_curve, ValidationPoint)
    write_json(layout.evidence("train"), result.evidence())


if __name__ == "__main__":
    run_stage(main)
