"""The model as MLflow loads it back, from this file as code (no pickle).

MLflow's own sentence-transformers flavour would load the folder as a dense model, with other vectors.
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

import mlflow
from mlflow.pyfunc import PythonModel


class SparseEncoderModel(PythonModel):
    """Sentences to sparse vectors: for each sentence its active terms with their weights."""

    def load_context(self, context) -> None:
        from sentence_transformers import SparseEncoder

        self.model = SparseEncoder(context.artifacts["model"], similarity_fn_name="cosine", local_files_only=True)

    def predict(self, context, model_input: list[str], params=None) -> list[dict[str, float]]:
        """`{term: weight}` for each sentence, heaviest term first."""
        embeddings = self.model.encode(list(model_input), convert_to_sparse_tensor=True, save_to_cpu=True)
        return [dict(terms) for terms in self.model.decode(embeddings)]


mlflow.models.set_model(SparseEncoderModel())
