"""An existing SPLADE model as base model."""

from pathlib import Path

from sentence_transformers import SparseEncoder

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_encoder, read_config
from splade_sts.model.source import check_length, has_mlm_head, named


def load_splade(folder: Path, max_seq_length: int) -> SparseEncoder:
    """Load a SPLADE model on the CPU in float32, with cosine similarity.

    Args:
        folder: the model's folder.
        max_seq_length: longest input in tokens.

    Raises:
        UserError: the model has no MLM head, its files cannot be read, or it cannot encode.
    """
    with named("base_model.source"):
        config = read_config(folder)
        if not has_mlm_head(config):
            raise UserError(
                f"{folder} has no masked-language-model head, "
                "so it is no SPLADE model; set base_model.target_active_dims (for example 80) "
                "to convert a dense BERT encoder"
            )
        model = load_encoder(folder, device="cpu")
    check_length(config, folder, max_seq_length)
    model.max_seq_length = max_seq_length
    return model
