"""The model as MLflow loads it back, from this file as code (no pickle).

MLflow's own sentence-transformers flavour would load the folder as a dense model, with other
vectors. https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class SparseEncoderModel(PythonModel):
    """Sentences to sparse vectors: for each sentence its active terms with their weights."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's folder."""
        from sentence_transformers import SparseEncoder

        folder = context.artifacts["model"]
        self.model = SparseEncoder(folder, similarity_fn_name="cosine", local_files_only=True)

    def predict(
        self,
        context: PythonModelContext,
        model_input: list[str],
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, float]]:
        """`{term: weight}` for each sentence, heaviest term first."""
        embeddings = self.model.encode(
            list(model_input), convert_to_sparse_tensor=True, save_to_cpu=True
        )
        decoded: list[Any] = self.model.decode(embeddings)
        return [dict(terms) for terms in decoded]


mlflow.models.set_model(SparseEncoderModel())
