"""Sentences to token ids and attention mask, with a tokenizer that one file holds."""

from pathlib import Path

import numpy as np
from sentence_transformers import SparseEncoder
from tokenizers import Tokenizer

from splade_sts.errors import UserError
from splade_sts.export.formats import Batch
from splade_sts.export.graph import INPUTS

TOKENIZER = "tokenizer.json"


def longest(model: SparseEncoder) -> int:
    """Tokens of the longest input of a model; longer texts are cut."""
    found = model.max_seq_length
    assert found is not None  # a transformer has positions
    return int(found)


def write_tokenizer(model: SparseEncoder, folder: Path) -> None:
    """Write the tokenizer's files; `TOKENIZER` alone cuts texts and pads batches as the model does.

    Raises:
        UserError: the tokenizer is none of the library `tokenizers`.
    """
    tokenizer = model.tokenizer
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise UserError(
            f"the tokenizer of this model ({type(tokenizer).__name__}) is Python code; expected "
            f"one that {TOKENIZER} can hold. Take another model"
        )
    tokenizer.save_pretrained(folder)
    alone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    alone.enable_truncation(longest(model))
    alone.enable_padding(
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        pad_type_id=tokenizer.pad_token_type_id,
    )
    alone.save(str(folder / TOKENIZER))


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `write_tokenizer` wrote."""
    return Tokenizer.from_file(str(folder / TOKENIZER))


def batch_of(tokenizer: Tokenizer, sentences: list[str]) -> Batch:
    """Token ids and attention mask of some sentences, padded to the longest of them."""
    encoded = tokenizer.encode_batch(sentences)
    columns = ([one.ids for one in encoded], [one.attention_mask for one in encoded])
    return {
        name: np.array(column, dtype=np.int64) for name, column in zip(INPUTS, columns, strict=True)
    }
