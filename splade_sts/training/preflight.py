"""Is the base model fit to be trained? Seen in seconds, before the hour that training takes."""

import random

from sentence_transformers import SparseEncoder

from splade_sts.data.stored import DistinctSentences
from splade_sts.evaluation.encoded import encode
from splade_sts.evaluation.health import Health, check_explosion, check_health, health_of
from splade_sts.model.head.swap import fused

# A mean over 512 sentences, which are 130,816 pairs, is steady to the second decimal.
SENTENCES, SEED = 512, 0
WHERE = "models/base"
OTHER_BASE = "take another base_model.source"
SPARSE_BASE = (
    "take a SPLADE model as base_model.source, or convert a dense encoder with "
    "base_model.target_active_dims"
)


def preflight(
    model: SparseEncoder, sentences: DistinctSentences, batch_size: int, min_sparsity_ratio: float
) -> Health:
    """Check the base model on a sample of the training sentences, the same for every training.

    Args:
        model: the base model; left as it is.
        sentences: those of train, at least one.
        batch_size: sentences encoded at once.
        min_sparsity_ratio: below it the model counts as exploded.

    Returns:
        What was seen of the model.

    Raises:
        UserError: the model has collapsed or exploded.
    """
    count = len(sentences)
    sample = random.Random(SEED).sample(range(count), min(SENTENCES, count))
    with fused(model):
        health = health_of(encode(model, sentences.at(sample), batch_size))
    check_health(health, WHERE, OTHER_BASE)
    check_explosion(health, WHERE, min_sparsity_ratio, SPARSE_BASE)
    return health
