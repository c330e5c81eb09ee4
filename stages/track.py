"""track: one complete MLflow run for this pipeline run, and the identity of what it recorded."""

import sys

from splade_sts import layout, params
from splade_sts.errors import without_secrets
from splade_sts.files import write_json
from splade_sts.process import run_stage
from splade_sts.runs.record import Record, collect
from splade_sts.training.checkpoints import clear_done


def main() -> None:
    settings = params.load().track
    record = collect()
    write_json(layout.RECORD, {"record": record.id})
    # this training is in dvc.lock by now: nothing will ask for its checkpoints again
    clear_done(layout.project_root(), record.training_id)
    if settings.enabled:
        show(record, settings)


def show(record: Record, settings: params.TrackParams) -> None:
    from splade_sts.tracking.sync import write

    model = layout.model("finetuned") if settings.log_model else None
    try:
        run_id, written = write(record, settings.experiment, model)
    except Exception as error:  # MLflow is a view: whatever is wrong with it, the results stand
        print(
            f"warning: MLflow: {type(error).__name__}: {without_secrets(str(error))[:300]}\n"
            "the results are complete; complete MLflow later with: python -m splade_sts sync",
            file=sys.stderr,
        )
        return
    done = "written" if written else "was complete already"
    print(f"MLflow: run {run_id} {done}; look at it with: make ui")


if __name__ == "__main__":
    run_stage(main)
