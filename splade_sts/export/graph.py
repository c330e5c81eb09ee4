"""Encoder, head and pooling of a model as one function of tensors, and its graph."""

from typing import Any

import torch
from sentence_transformers import SparseEncoder
from torch import Tensor, nn

from splade_sts.model.head.shared import saturated

# Names of the graph's inputs, both int64 (sentences, length), and of its output, float32
# (sentences, vocabulary).
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "vector"


class Splade(nn.Module):
    """The vectors of sentences given as token ids and attention mask.

    As `SpladePooling`, with the maximum first: the activation is monotone, so the numbers are the
    same at a fraction of the work. What the mask leaves out counts as a score of 0, which the
    activation makes of every score below it.
    """

    def __init__(self, model: SparseEncoder) -> None:
        super().__init__()
        transformer: Any = model[0]
        pooling: Any = model[1]
        self.transformer = transformer.model
        self.maximum = pooling.pooling_strategy == "max"
        self.double_log = pooling.activation_function == "log1p_relu"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Compute float32 (sentences, vocabulary), not negative, from int64 (sentences, length)."""
        scores = self.transformer(input_ids=input_ids, attention_mask=attention_mask).logits
        scores = scores * attention_mask.unsqueeze(-1).to(scores.dtype)
        if self.maximum:
            return saturated(scores.amax(dim=1), self.double_log)
        return saturated(scores, self.double_log).sum(dim=1)


def graph_of(model: SparseEncoder) -> torch.export.ExportedProgram:
    """The graph of `Splade` for any number of sentences and any length.

    Args:
        model: the encoder, on the CPU.
    """
    batch = model.tokenizer(["a test", "a test beside a longer one"], padding=True)
    example = tuple(torch.tensor(batch[name]) for name in INPUTS)
    both = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        return torch.export.export(
            Splade(model).eval(), example, dynamic_shapes=dict.fromkeys(INPUTS, both)
        )
