"""finetune: train models/base on the normalized pairs; keep the checkpoint with the best validation Spearman."""

import pandas as pd

from splade_sts import model_card, params
from splade_sts.errors import run_stage
from splade_sts.files import read_json, replacing, write_json
from splade_sts.training import TRAINING_COLUMNS, VALIDATION_COLUMNS, finetune, write_curve


def main() -> None:
    settings = params.load()
    model, trainer, summary = finetune(
        "models/base",
        pd.read_parquet("data/normalized/train.parquet"),
        pd.read_parquet("data/normalized/validation.parquet"),
        settings.train,
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
    print(f"best step {summary['best_step']} of {summary['steps']} ({summary['precision']}): {summary['validation']}")


if __name__ == "__main__":
    run_stage(main)
