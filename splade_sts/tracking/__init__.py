"""MLflow as a view of the pipeline's runs: live curves while training, one complete run at the end of each pipeline run.

`record` collects what there is to record, from the workspace or from any Git revision; `store` writes it to MLflow;
`live` and `writer` are the two ends of the pipe through which a training shows its curves while it runs. Only `store`
and `writer` import MLflow.
"""
