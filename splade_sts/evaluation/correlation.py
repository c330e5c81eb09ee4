"""Correlation of cosines with gold scores, and sparsity, with the library's definitions."""

from dataclasses import fields
from typing import Any

from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseEmbeddingSimilarityEvaluator
from torch import Tensor

from splade_sts.data.pairs import Pairs
from splade_sts.evaluation.encoded import EncodedSentences, encode
from splade_sts.evaluation.results import Metrics

# The library's names of our metrics, behind the evaluator's own name.
KEYS = {"pearson": "pearson_cosine", "spearman": "spearman_cosine"}


class PairEvaluator(SparseEmbeddingSimilarityEvaluator):
    """The library's evaluator for cosine similarity, which encodes each distinct sentence once.

    After a call `encoded` holds the sentences' vectors.
    """

    encoded: EncodedSentences

    def __init__(self, pairs: Pairs, name: str, batch_size: int, show_progress_bar: bool = False):
        super().__init__(
            pairs.sentence1,
            pairs.sentence2,
            pairs.score.tolist(),
            name=name,
            batch_size=batch_size,
            main_similarity="cosine",
            write_csv=False,
            show_progress_bar=show_progress_bar,
        )

    def __call__(  # type: ignore[override]  # the library's own signatures differ
        self, model: SparseEncoder, *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        sentences = [*self.sentences1, *self.sentences2]
        self.encoded = encode(model, sentences, self.batch_size, self.show_progress_bar)
        found: dict[str, float] = super().__call__(model, *args, **kwargs)
        return found

    def embed_inputs(  # type: ignore[override]  # the library's own signatures differ
        self, model: SparseEncoder, sentences: list[str], **kwargs: Any
    ) -> Tensor:
        embeddings = self.encoded.of(sentences)
        for name, value in model.sparsity(embeddings).items():
            self.sparsity_stats[name].append(value)
        return embeddings


def metrics_of(found: dict[str, Any], name: str) -> Metrics:
    """Our metrics among what an evaluator called `name` returned."""
    keys = [field.name for field in fields(Metrics)]
    return Metrics(**{key: float(found[f"{name}_{KEYS.get(key, key)}"]) for key in keys})
