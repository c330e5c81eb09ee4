"""A SPLADE model made of a dense BERT encoder, without training."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.bert import BertForMaskedLM

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_bert, read_config
from splade_sts.model.source import check_length, named
from splade_sts.model.splade import load_splade

# GELU(x + 10) is x + 10 to float32 precision for the states of a BERT encoder; the LayerNorm behind
# it removes the 10.
IDENTITY_SHIFT = 10.0
BATCH = 32


def convert_dense(
    folder: Path, sentences: Sequence[str], target_active_dims: int, max_seq_length: int
) -> SparseEncoder:
    """Make a SPLADE model of a dense BERT encoder, without training.

    The MLM head is built by hand: its transform is the identity up to the LayerNorm, its decoder is
    the word embedding matrix, and the bias of each vocabulary entry v is
    -mean_s(max_t logit(s, t, v)) - q over the sentences s and their tokens t: a term becomes active
    where it stands out against its own average. q is the quantile that leaves `target_active_dims`
    active dimensions on average.

    Args:
        folder: a model of type `bert`.
        sentences: the sentences to calibrate on, each once; at least one.
        target_active_dims: wanted mean number of active dimensions, below the vocabulary size.
        max_seq_length: longest input in tokens.

    Raises:
        UserError: the encoder is no BERT, cannot be loaded, or has no more entries in its
            vocabulary than `target_active_dims`.
    """
    with named("base_model.source"):
        config = read_config(folder)
    if config.model_type != "bert":
        raise UserError(
            f"base_model.source: {folder} is of type {config.model_type!r}; "
            "only bert encoders can be converted"
        )
    if target_active_dims >= config.vocab_size:
        raise UserError(
            f"base_model.target_active_dims is {target_active_dims}; "
            f"expected less than the vocabulary of {config.vocab_size}"
        )
    with named("base_model.source"):
        mlm, tokenizer = load_bert(folder)
    check_length(config, folder, max_seq_length)
    head = mlm.cls.predictions
    with torch.no_grad():
        head.transform.dense.weight.copy_(torch.eye(config.hidden_size))
        head.transform.dense.bias.fill_(IDENTITY_SHIFT)
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.zero_()
        head.decoder.bias.zero_()
        largest = _largest_logits(mlm, tokenizer, sentences, max_seq_length)
        mean = largest.mean(dim=0)
        largest -= mean
        wanted = target_active_dims * len(sentences)
        margin = largest.flatten().kthvalue(largest.numel() - wanted).values
        head.decoder.bias.copy_(-mean - margin)
    mlm.config.architectures = ["BertForMaskedLM"]
    with tempfile.TemporaryDirectory() as temporary:
        mlm.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        return load_splade(Path(temporary), max_seq_length)


def _largest_logits(
    mlm: BertForMaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    max_seq_length: int,
) -> Tensor:
    """Compute the largest MLM logit over the tokens of each sentence.

    Returns:
        float32 (sentences, vocabulary).
    """
    rows = torch.empty(len(sentences), mlm.config.vocab_size)
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        encoded = tokenizer(
            [sentences[index] for index in batch],
            padding=True,
            truncation=True,
            max_length=max_seq_length,
            return_tensors="pt",
        )
        logits = mlm(**encoded).logits
        logits.masked_fill_(encoded["attention_mask"].unsqueeze(-1) == 0, float("-inf"))
        rows[batch] = logits.amax(dim=1)
    return rows
