"""The loss of a batch that several processes share: the same number, and the same gradient, as in
one process.

Each process has the vectors of its own pairs. The losses on pairs need no more of a pair than its
score, and the regulariser no more of the vectors than their sum. So the processes exchange a score
and a label for each pair and one sum for each entry of the vocabulary, and all of them compute the
loss of the whole batch.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, CosineSimilarityLoss
from sentence_transformers.sparse_encoder.losses import SpladeLoss
from torch import Tensor
from torch.autograd.function import once_differentiable

from splade_sts.training.processes import Processes


class _Gathered(torch.autograd.Function):
    """The rows of all processes, one process after the other; each has as many.

    All processes compute the same from it. The gradient of the sum of their losses is therefore
    `count` times that of one of them, and DistributedDataParallel, which takes the mean of the
    gradients over the processes, divides by `count`. What the others compute of our rows has not
    to be asked for.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        parts = [torch.empty_like(own) for _ in range(processes.count)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        processes = ctx.processes
        return grad.chunk(processes.count)[processes.rank] * processes.count, None


class _Summed(torch.autograd.Function):
    """The sum over all processes; its gradient as with `_Gathered`."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.processes.count, None


def _apply(function: type[torch.autograd.Function], own: Tensor, processes: Processes) -> Tensor:
    result: Tensor = function.apply(own, processes)  # type: ignore[no-untyped-call]
    return result


class SharedSpladeLoss(SpladeLoss):
    """SpladeLoss, with the regulariser on both sentences, of a batch that several processes share.

    A pair whose label is NaN is a blank: it makes the parts of all processes equally long and
    counts for nothing.
    """

    def __init__(self, loss: SpladeLoss, processes: Processes):
        """Args:
        loss: what is computed in one process: SpladeLoss around a loss on the scores of pairs
            (cosine, CoSENT or AnglE), with `use_document_regularizer_only`; it is taken over
            and not to be used any more.
        processes: those that share a batch.
        """
        super().__init__(
            loss.model,
            loss.loss,
            document_regularizer_weight=loss.document_regularizer_weight,
            document_regularizer=loss.document_regularizer,
            use_document_regularizer_only=True,
        )
        self.processes = processes
        self.score: Callable[[Tensor, Tensor], Tensor] = torch.cosine_similarity
        on_pairs: Any = loss.loss
        if isinstance(on_pairs, CoSENTLoss):  # AnglE is one, with another score
            # the library's function takes vectors and asks for their scores: it is given scores
            self.score, on_pairs.similarity_fct = on_pairs.similarity_fct, _given

    def forward(
        self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the two parts of the loss of the whole batch.

        Args:
            sentence_features: the tokens of both sentences of this process' pairs.
            labels: float (pairs,), the gold scores, NaN for blanks.

        Returns:
            `base_loss` and `document_regularizer_loss`, the same in all processes.
        """
        assert labels is not None
        first, second = embed_columns(self.model, sentence_features, separate_first=False)
        gold = _apply(_Gathered, labels.float().view(-1), self.processes)
        scores = _apply(_Gathered, self.score(first, second), self.processes)
        counts = ~gold.isnan()
        own = (~labels.isnan()).to(first.dtype).view(-1)
        total = _apply(_Summed, own @ first + own @ second, self.processes)
        mean = total / (2 * counts.sum())
        # the library takes the mean over rows, which of one row is that row
        regularizer: Any = self.document_regularizer
        flops = regularizer.compute_loss_from_embeddings(mean.unsqueeze(0))
        return {
            "base_loss": self._of_scores(scores[counts], gold[counts]),
            "document_regularizer_loss": flops * self.document_regularizer_weight,
        }

    def _of_scores(self, scores: Tensor, gold: Tensor) -> Tensor:
        """The loss on pairs, of the scores and gold scores of all pairs, float (pairs,)."""
        loss: Any = self.loss
        result: Tensor
        if isinstance(loss, CosineSimilarityLoss):
            result = loss.loss_fct(loss.cos_score_transformation(scores), gold)
        else:
            result = loss.compute_loss_from_embeddings([scores, scores], gold)
        return result


def _given(scores: Tensor, _: Tensor) -> Tensor:
    return scores
