"""finetune: train models/base on the normalized pairs; keep the checkpoint with the best validation Spearman."""

import time
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch

from splade_sts import params
from splade_sts.training import checkpoints
from splade_sts.model import card as model_card
from splade_sts.model.encoder import load_encoder
from splade_sts.errors import run_stage
from splade_sts.files import read_json, replacing, write_json
from splade_sts.tracking.live import LiveRun
from splade_sts.runs.record import TRAINING_TAG, curve_point, project_root, training_id, workspace_reader
from splade_sts.training.trainer import TRAINING_COLUMNS, VALIDATION_COLUMNS, device_name, finetune, library_versions, write_curve


def main() -> None:
    settings = params.load()
    root = project_root()
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    facts = {
        "params": settings.train.model_dump(exclude={"checkpoint_steps"}), "versions": library_versions(),
        "device": device_name(), "threads": torch.get_num_threads(),
    }
    with checkpoints.reserved(root, checkpoints.fingerprint("finetune", facts)) as folder:
        checkpoints.clear(root)
        with tracked(settings) as live:
            train(settings, live, folder)
        checkpoints.mark_done(folder, training_id(workspace_reader))


def tracked(settings: params.Params):
    """The live MLflow run of this training, or nothing where tracking is off."""
    if not settings.tracking.enabled:
        return nullcontext()
    tags = {"device": device_name(), "threads": str(torch.get_num_threads()), **library_versions()}
    return LiveRun(settings.tracking.experiment, params.public_params(params.flatten(settings.model_dump())), tags)


def train(settings: params.Params, live: LiveRun | None, folder_of_checkpoints: Path) -> None:
    started = time.monotonic()
    model, trainer, summary = finetune(
        load_encoder("models/base"),
        pd.read_parquet("data/normalized/train.parquet"),
        pd.read_parquet("data/normalized/validation.parquet"),
        settings.train,
        **({"on_point": lambda kind, point: live.log(*curve_point(kind, point))} if live else {}),
        folder_of_checkpoints=folder_of_checkpoints,
    )
    data = read_json("data/raw/provenance.json")
    results = {**summary["validation"], "best_step": summary["best_step"], "steps": summary["steps"]}
    trained = {**settings.train.model_dump(), "precision": summary["precision"]}
    with replacing("models/finetuned") as target:
        model.save_pretrained(str(target), create_model_card=False)
        model_card.write(
            target, title="Fine-tuned SPLADE model", license=model_card.read_license("models/base"),
            base_model=settings.model.source, data=data["source"],
            body=f"`{settings.model.source}`, fine-tuned on `{data['source']}` (revision {data['revision']}) with "
            f"SpladeLoss.\n\n## Results on validation\n\n{model_card.table(results, ('what', 'value'))}\n\n"
            f"## Training parameters\n\n{model_card.table(trained, ('parameter', 'value'))}",
        )
    write_curve("metrics/training.csv", TRAINING_COLUMNS, trainer.training_curve)
    write_curve("metrics/validation.csv", VALIDATION_COLUMNS, trainer.validation_curve)
    write_json("metrics/finetune.json", summary)
    if live:
        live.log(summary["steps"], {"time.finetune_seconds": time.monotonic() - started})
        live.tag({TRAINING_TAG: training_id(workspace_reader)})
    print(f"best step {summary['best_step']} of {summary['steps']} ({summary['precision']}): {summary['validation']}")


if __name__ == "__main__":
    run_stage(main)
