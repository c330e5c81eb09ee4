"""A SPLADE model made of a dense BERT encoder, without training."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.bert import BertModel

from splade_sts.errors import UserError
from splade_sts.model.encoder import load_bert, read_config
from splade_sts.model.source import check_length, named
from splade_sts.model.splade import load_splade

# Activations that are the identity for large arguments: from `IDENTITY_FROM` on, each of them is
# off by less than 0.005.
IDENTITIES = ("gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "relu")
IDENTITY_FROM = 3.0
# The smallest shift. Most entries of a state are within 1 of 0: up to a shift of 7 they stay below
# 8, where bfloat16 loses a bit (measured by benchmarks/conversion.py).
LEAST_SHIFT = 7.0
BATCH = 32


def convert_dense(
    folder: Path, sentences: Sequence[str], target_active_dims: int, max_seq_length: int
) -> SparseEncoder:
    """Make a SPLADE model of a dense BERT encoder, without training.

    The MLM head is built by hand. Its transform adds a shift that takes the states to where the
    activation is the identity; its LayerNorm then takes the mean off each token's state and divides
    it by its deviation over the dimensions. So the head sees the direction of a state, not its
    length. The decoder is the word embedding matrix.

    The bias of each vocabulary entry v is -mean_s(max_t logit(s, t, v)) - q over the sentences s
    and their tokens t: a term becomes active where it stands out against its own average. q is the
    quantile that leaves `target_active_dims` active dimensions on average.

    Args:
        folder: a model of type `bert`.
        sentences: the sentences to calibrate on, each once; at least one.
        target_active_dims: wanted mean number of active dimensions, below the vocabulary size.
        max_seq_length: longest input in tokens.

    Raises:
        UserError: the encoder is no BERT, has an activation that is nowhere the identity, cannot
            be loaded, gives states that are not finite, or has no more entries in its vocabulary
            than `target_active_dims`.
    """
    with named("base_model.source"):
        config = read_config(folder)
    if config.model_type != "bert":
        raise UserError(
            f"base_model.source: {folder} is of type {config.model_type!r}; "
            "only bert encoders can be converted"
        )
    if config.hidden_act not in IDENTITIES:
        raise UserError(
            f"base_model.source: {folder} has hidden_act {config.hidden_act!r}; "
            f"expected one of {', '.join(IDENTITIES)} for a conversion"
        )
    if target_active_dims >= config.vocab_size:
        raise UserError(
            f"base_model.target_active_dims is {target_active_dims}; "
            f"expected less than the vocabulary of {config.vocab_size}"
        )
    with named("base_model.source"):
        mlm, tokenizer = load_bert(folder)
    check_length(config, folder, max_seq_length)
    states = partial(_states, mlm.bert, tokenizer, sentences, max_seq_length)
    with torch.no_grad():
        bounds = torch.tensor([tokens.aminmax() for _, batch in states() for tokens in batch])
        if not bounds.isfinite().all():
            raise UserError(
                f"base_model.source: {folder} gives states that are not finite; "
                "its weights are broken"
            )
        head = mlm.cls.predictions
        head.transform.dense.weight.copy_(torch.eye(config.hidden_size))
        head.transform.dense.bias.fill_(max(LEAST_SHIFT, IDENTITY_FROM - float(bounds.min())))
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.zero_()
        head.decoder.bias.zero_()
        largest = torch.empty(len(sentences), config.vocab_size)
        for numbers, batch in states():
            for number, tokens in zip(numbers, batch, strict=True):
                largest[number] = head(tokens).amax(dim=0)
        head.decoder.bias.copy_(_biases(largest, target_active_dims))
    mlm.config.architectures = ["BertForMaskedLM"]
    with tempfile.TemporaryDirectory() as temporary:
        mlm.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        return load_splade(Path(temporary), max_seq_length)


def _states(
    bert: BertModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    max_seq_length: int,
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Compute the states of the tokens of each sentence, batch after batch.

    Returns:
        The numbers of the sentences of a batch, and for each of them float32 (tokens, dimensions).
    """
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        encoded = tokenizer(
            [sentences[number] for number in numbers],
            padding=True,
            truncation=True,
            max_length=max_seq_length,
            return_tensors="pt",
        )
        states = bert(**encoded).last_hidden_state
        masks = encoded["attention_mask"].bool()
        yield numbers, [row[mask] for row, mask in zip(states, masks, strict=True)]


def _biases(largest: Tensor, target_active_dims: int) -> Tensor:
    """Compute the biases that leave `target_active_dims` entries positive on average.

    Args:
        largest: float32 (sentences, vocabulary), largest logits without bias; overwritten.
        target_active_dims: below the size of the vocabulary.

    Returns:
        float32 (vocabulary,).
    """
    mean = largest.mean(dim=0)
    largest.sub_(mean)
    wanted = target_active_dims * largest.shape[0]
    margin = largest.flatten().kthvalue(largest.numel() - wanted).values
    return -mean - margin
