"""Sentences and their sparse vectors, each distinct sentence once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from sentence_transformers import SparseEncoder
from torch import Tensor
from tqdm.auto import trange

# Batches between two conversions to sparse rows.
PART_BATCHES = 8


@dataclass(frozen=True, eq=False)
class EncodedSentences:
    """Distinct sentences with their vectors.

    Attributes:
        sentences: the sentences, in the order in which they were encoded.
        vectors: coalesced sparse float32 (sentences, vocabulary), on the CPU; row for row the
            vector of a sentence.
        seconds: how long encoding took.
    """

    sentences: list[str]
    vectors: Tensor
    seconds: float

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {sentence: row for row, sentence in enumerate(self.sentences)}

    def of(self, sentences: list[str]) -> Tensor:
        """The vectors of `sentences`, all of which are held: coalesced sparse float32 (sentences,
        vocabulary).
        """
        rows = torch.tensor([self._rows[sentence] for sentence in sentences], dtype=torch.int64)
        return self.vectors.index_select(0, rows).coalesce()

    def matrix(self, sentences: list[str]) -> sparse.csr_array:
        """`of` as a SciPy matrix."""
        vectors = self.of(sentences)
        entries = (vectors.values().numpy(), tuple(vectors.indices().numpy()))
        return sparse.csr_array(entries, shape=tuple(vectors.shape))

    @property
    def active_dims(self) -> float:
        """Mean number of entries of a vector that are not zero."""
        return int(self.vectors.values().count_nonzero()) / max(1, len(self.sentences))


def encode(
    model: SparseEncoder,
    sentences: list[str],
    batch_size: int,
    show_progress_bar: bool = False,
    progress: Callable[[int], object] = lambda count: None,
) -> EncodedSentences:
    """Encode each distinct sentence once, sentences of similar length together, the longest first.

    Args:
        model: the encoder.
        sentences: any number of sentences, repeated or not.
        batch_size: sentences encoded at once.
        show_progress_bar: print one bar over the distinct sentences, on a terminal.
        progress: is told, now and then, how many more of `sentences` are done.
    """
    started = time.perf_counter()
    distinct = list(dict.fromkeys(sentences))
    if not distinct:
        width = model.get_embedding_dimension()
        assert width is not None  # a SPLADE model has a vocabulary
        return EncodedSentences([], torch.empty(0, width).to_sparse(), 0.0)
    lengths = token_counts(model, distinct)
    ordered = [
        distinct[number] for number in np.argsort([-length for length in lengths], kind="stable")
    ]
    parts = []
    # a part is held as dense rows: PART_BATCHES * batch_size * vocabulary * 4 bytes
    size = PART_BATCHES * batch_size
    silent = None if show_progress_bar else True  # None: where there is no terminal
    for start in trange(0, len(ordered), size, desc="Encoding", disable=silent):
        vectors = model.encode(
            ordered[start : start + size],
            batch_size=batch_size,
            device=model.device,  # named, so that this process encodes alone, whoever trains along
            convert_to_sparse_tensor=False,
            save_to_cpu=True,
            show_progress_bar=False,
        )
        parts.append(vectors.to_sparse())
        ends = (min(end, len(ordered)) * len(sentences) for end in (start, start + size))
        before, after = (end // len(ordered) for end in ends)
        progress(after - before)
    return EncodedSentences(ordered, torch.cat(parts).coalesce(), time.perf_counter() - started)


def token_counts(model: SparseEncoder, sentences: list[str]) -> list[int]:
    """Tokens of each sentence, special ones included, cut at the model's longest input."""
    encoded = model.tokenizer(sentences, truncation=True, max_length=model.max_seq_length)
    return [len(ids) for ids in encoded["input_ids"]]


def tokens_per_second(model: SparseEncoder, encoded: list[EncodedSentences]) -> float:
    """Tokens of the encoded sentences by the seconds it took."""
    tokens = sum(sum(token_counts(model, part.sentences)) for part in encoded)
    return tokens / sum(part.seconds for part in encoded)
