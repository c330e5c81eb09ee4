"""Models that no number should be taken of: collapsed, exploded, or not finite.

All that refuses a model asks here: before training (`splade_sts.training.preflight`), during it
(`splade_sts.training.collapse`), and in every evaluation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import EncodedSentences
from splade_sts.evaluation.results import Metrics

LOWER = "lower train.regularizer_weight or train.learning_rate"
SPARSER = "raise train.regularizer_weight, or check that the base model is a SPLADE model"
# Mean cosine of different sentences from which a model hardly tells them apart. A healthy one has
# 0.01 to 0.1, and at most 0.2 in a batch of similar length; a collapsed one more than 0.93, or 0.99
# as people report it (docs/results/health; sentence-transformers#3431). The limit leaves room for
# data of a narrow domain.
ALIKE = 0.9
# Share of sentences without a single active dim from which a model counts as collapsed: more than a
# third of all pairs then have the cosine 0 whatever they say. Healthy models leave none without.
# With their active dims taken away, 1 % have none where 5 are left on average, and 3 to 12 % where
# 3 are (docs/results/health).
WITHOUT_TERMS = 0.2
# Mean active dims below which most sentences have none, where only the mean is known.
LEAST_ACTIVE_DIMS = 0.5
# Sentences whose vectors are dense at once.
BLOCK = 64


@dataclass(frozen=True)
class Health:
    """What tells a healthy model from a broken one, on some sentences.

    Attributes:
        sentences: how many there are.
        without_terms: how many of them have no active dimension.
        active_dims: mean number of vocabulary entries that are not zero.
        sparsity_ratio: 1 - active dims / size of the vocabulary.
        mean_cosine: mean over all pairs of different sentences, in [0, 1]; a sentence without
            active dims counts with 0. NaN where a vector is not finite, None for one sentence.
    """

    sentences: int
    without_terms: int
    active_dims: float
    sparsity_ratio: float
    mean_cosine: float | None

    def __str__(self) -> str:
        alike = "" if self.mean_cosine is None else f", mean cosine {self.mean_cosine:.3f}"
        bare = f", {self.without_terms} without any" if self.without_terms else ""
        return f"{self.active_dims:.1f} active dims{alike} ({self.sentences} sentences{bare})"


@dataclass(frozen=True, eq=False)
class VectorSums:
    """Sums over sentences that `Health` is made of; those of two lots of sentences add up.

    The cosines of all pairs of n sentences with unit vectors u sum to (|sum u|^2 - sum |u|^2) / 2:
    no pair is ever formed.

    Attributes:
        sentences: how many there are.
        active: number of entries that are not zero.
        with_terms: number of sentences with such an entry.
        units: sum of the vectors, each divided by its length, float32 (vocabulary,).
    """

    sentences: int
    active: Tensor
    with_terms: Tensor
    units: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> "VectorSums":
        """The sums over dense vectors, float (sentences, vocabulary)."""
        lengths = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float32)
        factors = torch.where(lengths > 0, 1 / lengths, 0.0)
        return cls(
            len(vectors),
            vectors.count_nonzero(),
            (lengths != 0).sum(),  # a NaN is no emptiness
            factors @ vectors.float(),
        )

    def __add__(self, other: "VectorSums") -> "VectorSums":
        return VectorSums(
            self.sentences + other.sentences,
            self.active + other.active,
            self.with_terms + other.with_terms,
            self.units + other.units,
        )

    def health(self) -> Health:
        """What they say of the model."""
        active = self.active.item() / self.sentences
        return Health(
            self.sentences,
            self.sentences - int(self.with_terms.item()),
            active,
            1 - active / len(self.units),
            self._mean_cosine(),
        )

    def _mean_cosine(self) -> float | None:
        cosines: float = (self.units.double().square().sum() - self.with_terms).item()
        if math.isnan(cosines):
            return cosines
        ordered_pairs = self.sentences * (self.sentences - 1)
        return max(cosines / ordered_pairs, 0.0) if ordered_pairs else None


def health_of(encoded: EncodedSentences) -> Health:
    """The health of the model that encoded these sentences, at least one."""
    rows = torch.arange(len(encoded.sentences))
    first, *others = (
        VectorSums.of(encoded.vectors.index_select(0, rows[start : start + BLOCK]).to_dense())
        for start in range(0, len(rows), BLOCK)
    )
    return sum(others, start=first).health()


def check_finite(vectors: Tensor, where: str) -> None:
    """Raise `UserError` where a sparse tensor of vectors holds values that are not finite."""
    if not vectors.values().isfinite().all():
        raise _not_finite(where, LOWER)


def check_health(health: Health, where: str, remedy: str) -> None:
    """Check that a model tells sentences apart.

    Args:
        health: what was seen of it.
        where: begins the message.
        remedy: ends the message.

    Raises:
        UserError: a vector is not finite, too many sentences have no active dimension, or the
            vectors are almost the same.
    """
    if health.mean_cosine is not None and math.isnan(health.mean_cosine):
        raise _not_finite(where, remedy)
    if health.without_terms > WITHOUT_TERMS * health.sentences:
        raise UserError(
            f"{where}: the model has collapsed: {health.without_terms} of {health.sentences} "
            f"sentences have no active dims ({health.active_dims:.2f} on average); expected at "
            f"most {WITHOUT_TERMS:.0%} of them (a healthy model leaves none without); {remedy}"
        )
    if health.mean_cosine is not None and health.mean_cosine > ALIKE:
        raise UserError(
            f"{where}: the model has collapsed: the cosine of different sentences is "
            f"{health.mean_cosine:.3f} on average ({health.sentences} sentences, "
            f"{health.active_dims:.1f} active dims); expected at most {ALIKE} (a healthy "
            f"model has 0.01 to 0.1); {remedy}"
        )


def check_collapse(metrics: Metrics, split: str) -> None:
    """Raise `UserError` where the metrics are those of a model (almost) without active dimensions
    or with constant scores.
    """
    if metrics.active_dims < LEAST_ACTIVE_DIMS:
        raise UserError(
            f"{split}: the model has collapsed: a sentence has {metrics.active_dims:.2f} active "
            f"dims on average, so most have none; {LOWER}"
        )
    for name, value in (("Pearson", metrics.pearson), ("Spearman", metrics.spearman)):
        if not math.isfinite(value):
            raise UserError(
                f"{split}: {name} is {value}: the predicted or the gold scores are all the same "
                f"({metrics.active_dims:.2f} active dims on average); if the model has collapsed, "
                f"{LOWER}"
            )


def check_explosion(
    found: Metrics | Health, where: str, min_sparsity_ratio: float, remedy: str = SPARSER
) -> None:
    """Raise `UserError`, which ends with `remedy`, where the sparsity ratio is below
    `min_sparsity_ratio`.
    """
    if found.sparsity_ratio < min_sparsity_ratio:
        raise UserError(
            f"{where}: the model has exploded: sparsity ratio {found.sparsity_ratio:.4f} "
            f"({found.active_dims:.0f} active dims) is below evaluate.min_sparsity_ratio "
            f"{min_sparsity_ratio}; {remedy}"
        )


def _not_finite(where: str, remedy: str) -> UserError:
    return UserError(f"{where}: the embeddings hold non-finite values; {remedy}")
