"""Loading sparse encoders from folders: no network, no custom code, cosine similarity."""

import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SparseEncoder
from torch import Tensor
from tqdm.auto import trange

from splade_sts.errors import UserError
from splade_sts.model.check import check_folder

# Batches between two conversions to sparse rows.
PART_BATCHES = 8

# PyTorch's remarks on its sparse tensors, which no user of ours can act on.
warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
# The loading reports and bars of transformers say nothing that our own messages do not.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load_encoder(folder: str | Path, model_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> SparseEncoder:
    """Load the SparseEncoder in `folder`; `model_kwargs` and `kwargs` go to its constructor.

    The similarity is set because the class default is the dot product. `weights_only` is given because a folder's own
    configuration could otherwise switch it off.

    Raises:
        UserError: the folder asks for code or for files elsewhere, or cannot be read as a model.
    """
    check_folder(folder)
    try:
        return SparseEncoder(
            str(folder), similarity_fn_name="cosine", local_files_only=True, trust_remote_code=False,
            model_kwargs={"weights_only": True, **(model_kwargs or {})}, **kwargs,
        )
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's, and so is the remedy
        raise UserError(f"{folder} cannot be loaded as a model: {type(error).__name__}: {error}") from error


def encode_distinct(
    model: SparseEncoder, sentences: list[str], batch_size: int, show_progress_bar: bool = False
) -> tuple[Tensor, Tensor]:
    """Encode each distinct sentence once, sentences of similar length together.

    Args:
        model: the encoder.
        sentences: any number of sentences, repeated or not.
        batch_size: sentences encoded at once.
        show_progress_bar: print one bar over the distinct sentences.

    Returns:
        The vectors of the distinct sentences, a coalesced sparse float32 tensor (distinct, vocabulary) on the CPU, and the
        row of each sentence in it, int64 (sentences,).
    """
    distinct = list(dict.fromkeys(sentences))
    if not distinct:
        return torch.empty(0, model.get_embedding_dimension()).to_sparse(), torch.empty(0, dtype=torch.int64)
    lengths = [len(ids) for ids in model.tokenizer(distinct, truncation=True, max_length=model.max_seq_length)["input_ids"]]
    order = [distinct[number] for number in sorted(range(len(distinct)), key=lambda number: -lengths[number])]
    rows = {sentence: row for row, sentence in enumerate(order)}
    parts = []
    # a part is held as dense rows: PART_BATCHES * batch_size * vocabulary * 4 bytes
    for start in trange(0, len(order), PART_BATCHES * batch_size, desc="Encoding", disable=not show_progress_bar):
        vectors = model.encode(
            order[start : start + PART_BATCHES * batch_size], batch_size=batch_size, convert_to_sparse_tensor=False,
            save_to_cpu=True, show_progress_bar=False,
        )
        parts.append(vectors.to_sparse())
    return torch.cat(parts).coalesce(), torch.tensor([rows[sentence] for sentence in sentences])
