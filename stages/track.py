"""track: one complete MLflow run for this pipeline run, and the identity of what it recorded."""

import sys
from pathlib import Path

from splade_sts import params
from splade_sts.errors import run_stage, without_secrets
from splade_sts.files import write_json
from splade_sts.runs.record import collect, git_tags, project_root, training_id, workspace_reader
from splade_sts.training import checkpoints


def main() -> None:
    tracking = params.load().tracking
    record = collect()
    write_json("metrics/record.json", {"record": record.id})
    # this training is in dvc.lock by now: nothing will ask for its checkpoints again
    checkpoints.clear(project_root(), training_id(workspace_reader))
    if not tracking.enabled:
        return
    from splade_sts.tracking.sync import write

    try:
        model = Path("models/finetuned") if tracking.log_model else None
        run_id, written = write(record, git_tags(project_root()), tracking.experiment, model)
    except (
        Exception
    ) as error:  # MLflow is a view: whatever is wrong with it, the pipeline's results stand
        print(
            f"warning: MLflow: {type(error).__name__}: {without_secrets(str(error))[:300]}\n"
            "the results are complete; complete MLflow later with: python -m splade_sts sync",
            file=sys.stderr,
        )
        return
    print(
        f"MLflow: run {run_id} {'written' if written else 'was complete already'}; look at it "
        "with: make ui"
    )


if __name__ == "__main__":
    run_stage(main)
