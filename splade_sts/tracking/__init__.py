"""MLflow as a view of the pipeline's runs: live curves while training, one complete run at the end
of each pipeline run.

`store` writes to MLflow what `splade_sts.runs.record` collects; `live` and `writer` are the two
ends of the pipe through which a training shows its curves while it runs; `sync` completes MLflow
from what DVC and Git hold; `view` says how people see a run there. Nothing else imports MLflow, and
whoever does calls `start_mlflow` first.
"""
