"""An exported file against the model that it was made of: the same vectors?"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SparseEncoder
from sentence_transformers.util import pairwise_cos_sim
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from splade_sts.comparison.statistics import Bootstrap, Estimate, estimates
from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import EncodedSentences, encode
from splade_sts.export.formats import Run
from splade_sts.export.tokens import batch_of, longest
from splade_sts.model.head.swap import fused

# Sentences encoded at once, and tokens with their padding: 2048 x 30522 x 4 bytes are 250 MB.
BATCH_SIZE, BATCH_TOKENS = 32, 2048
# Decimals of a cosine that float32 keeps, in whatever order it computes.
DIGITS = 6
# Sentences of different lengths that are encoded alone and together.
LENGTHS = 8


@dataclass(frozen=True)
class Bounds:
    """What a file may differ by from its model.

    Attributes:
        weight: a weight of a vector; None for any.
        batch: a weight of a sentence's vector alone and beside longer ones.
        spearman: loss in Spearman on validation, which the interval's worst end must not pass;
            where `weight` is bounded, a gain counts as a loss.
        active_dims: mean active dims, as a share of the model's.
    """

    weight: float | None
    batch: float
    spearman: float
    active_dims: float


# Float arithmetic in another order moves weights by about 1e-5, and some of those that small to 0.
FLOAT = Bounds(weight=1e-4, batch=1e-4, spearman=1e-4, active_dims=1e-2)


def int8_bounds(loss: float) -> Bounds:
    """The bounds of a file in 8 bits that may lose `loss` in Spearman.

    A weight may be a step of its scale larger or smaller, which is some hundredths, and small
    scores may become weights.
    """
    return Bounds(weight=None, batch=0.1, spearman=loss, active_dims=0.1)


@dataclass(frozen=True)
class Difference:
    """What a file makes of the validation split, beside its model.

    Attributes:
        pairs, sentences: how many were compared; distinct sentences.
        largest_weight: largest absolute difference of a weight.
        largest_in_batch: the same between vectors of the file: sentences alone, and beside longer
            ones, up to the longest input.
        longest_tokens: tokens of that input.
        spearman, model_spearman: of the file and of the model.
        gain: the first minus the second, with its paired interval.
        active_dims, model_active_dims: mean over the sentences of all pairs.
    """

    pairs: int
    sentences: int
    largest_weight: float
    largest_in_batch: float
    longest_tokens: int
    spearman: float
    model_spearman: float
    gain: Estimate
    active_dims: float
    model_active_dims: float

    def beyond(self, bounds: Bounds) -> list[str]:
        """What is beyond the bounds, each as a sentence's part."""
        file, model, gain = self.active_dims, self.model_active_dims, self.gain
        found = []
        if bounds.weight is not None and self.largest_weight > bounds.weight:
            found.append(
                f"a weight differs by {self.largest_weight:.2g} (at most {bounds.weight:g})"
            )
        if self.largest_in_batch > bounds.batch:
            found.append(
                f"a weight depends on the other sentences of the batch: by "
                f"{self.largest_in_batch:.2g} (at most {bounds.batch:g})"
            )
        moved = -gain.low if bounds.weight is None else max(-gain.low, gain.high)
        if moved > bounds.spearman:
            found.append(
                f"Spearman changes by {gain.value:+.4f}, interval {gain.low:+.4f} to "
                f"{gain.high:+.4f} (at most {bounds.spearman:g} away)"
            )
        if abs(file - model) > bounds.active_dims * model:
            found.append(
                f"active dims are {file:.1f} instead of {model:.1f} "
                f"(at most {bounds.active_dims:.1%} away)"
            )
        return found


def compare(
    run: Run, tokenizer: Tokenizer, model: SparseEncoder, pairs: Pairs, bootstrap: Bootstrap
) -> Difference:
    """Encode the sentences of `pairs` with both, and sentences of all lengths alone and together.

    Args:
        run: the file.
        tokenizer: the one beside it.
        model: what it was made of.
        pairs: the validation split.
        bootstrap: how the interval is made.

    Raises:
        UserError: the similarities of either do not vary, so that they have no Spearman.
    """
    with fused(model):
        expected = encode(model, pairs.sentences, BATCH_SIZE, show_progress_bar=True)
    found = encode_with(run, tokenizer, pairs.sentences)
    cosines = {"file": _cosine(found, pairs), "model": _cosine(expected, pairs)}
    made = estimates(pairs.score, cosines, {"gain": ("file", "model")}, bootstrap)
    if "gain" not in made:
        raise UserError(
            "the cosines of the validation pairs do not vary enough for a correlation; take a "
            "model that evaluate accepts"
        )
    text = _longest_text(tokenizer, pairs.sentences, longest(model))
    with fused(model):
        whole = model.encode([text], convert_to_sparse_tensor=False, show_progress_bar=False)
    last = np.abs(run(batch_of(tokenizer, [text])) - whole.cpu().numpy()).max()
    return Difference(
        pairs=len(pairs),
        sentences=len(found.sentences),
        largest_weight=max(_largest(found, expected), float(last)),
        largest_in_batch=_in_batch(run, tokenizer, found.sentences, text),
        longest_tokens=len(tokenizer.encode(text).ids),
        spearman=made["file"].spearman.value,
        model_spearman=made["model"].spearman.value,
        gain=made["gain"].spearman,
        active_dims=_active_dims(found, pairs),
        model_active_dims=_active_dims(expected, pairs),
    )


def encode_with(run: Run, tokenizer: Tokenizer, sentences: list[str]) -> EncodedSentences:
    """Encode each distinct sentence once with an exported file, the longest first."""
    started = time.perf_counter()
    distinct = list(dict.fromkeys(sentences))
    lengths = [len(one.ids) for one in tokenizer.encode_batch(distinct)]
    order = sorted(range(len(distinct)), key=lambda number: -lengths[number])
    parts = []
    with tqdm(total=len(order), desc="Encoding with the file", disable=None) as bar:
        while order:
            size = max(1, min(BATCH_SIZE, BATCH_TOKENS // lengths[order[0]]))
            batch, order = order[:size], order[size:]
            vectors = run(batch_of(tokenizer, [distinct[number] for number in batch]))
            parts.append((batch, torch.from_numpy(vectors).to_sparse()))
            bar.update(len(batch))
    return EncodedSentences(
        [distinct[number] for batch, _ in parts for number in batch],
        torch.cat([vectors for _, vectors in parts]).coalesce(),
        time.perf_counter() - started,
    )


def _cosine(encoded: EncodedSentences, pairs: Pairs) -> NDArray[np.float64]:
    """Cosines to `DIGITS`: pairs that tie, as those of the same sentence twice, still do."""
    found = pairwise_cos_sim(encoded.of(pairs.sentence1), encoded.of(pairs.sentence2))
    rounded: NDArray[np.float64] = found.numpy().astype(np.float64).round(DIGITS)
    return rounded


def _active_dims(encoded: EncodedSentences, pairs: Pairs) -> float:
    """As the library's evaluator counts them: over the sentences of all pairs."""
    vectors = encoded.of([*pairs.sentence1, *pairs.sentence2])
    return int(vectors.values().count_nonzero()) / vectors.shape[0]


def _largest(first: EncodedSentences, second: EncodedSentences) -> float:
    difference = (first.vectors - second.of(first.sentences)).coalesce().values()
    return float(difference.abs().max()) if len(difference) else 0.0


def _in_batch(run: Run, tokenizer: Tokenizer, sentences: list[str], text: str) -> float:
    """Largest difference of a weight between sentences alone and beside longer ones.

    Args:
        run: the file.
        tokenizer: the one beside it.
        sentences: the longest first.
        text: as long as inputs can be.
    """
    places = np.linspace(0, len(sentences) - 1, min(LENGTHS, len(sentences)))
    chosen = [sentences[round(place)] for place in places]
    differences = []
    for together in (chosen, [text, chosen[-1]]):
        vectors = run(batch_of(tokenizer, together))
        alone = [run(batch_of(tokenizer, [sentence]))[0] for sentence in together]
        differences.append(float(np.abs(vectors - np.stack(alone)).max()))
    return max(differences)


def _longest_text(tokenizer: Tokenizer, sentences: list[str], length: int) -> str:
    """A text of so many tokens and more: the sentences, as often as that takes."""
    text = " ".join(sentences)
    while len(tokenizer.encode(text).ids) < length:
        text = f"{text} {text}"
    return text
