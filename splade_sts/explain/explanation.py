"""Why models find two sentences similar: the terms that both have, and those that one has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from sentence_transformers import SparseEncoder

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.evaluation.encoded import EncodedSentences, encode
from splade_sts.evaluation.evaluate import predict
from splade_sts.evaluation.results import Predictions
from splade_sts.model.encoder import load_encoder

# Of the terms that both sentences have, and of those that one has.
SHOWN_SHARED, SHOWN_ALONE = 12, 8
# Named in the summary.
NAMED = 3
# Cosines that are this close look the same in two decimals.
SAME = 0.005


class SentenceError(UserError):
    """A sentence cannot be scored; `sentence` is its number, 1 or 2."""

    def __init__(self, sentence: int, problem: str) -> None:
        super().__init__(f"Sentence {sentence} {problem}")
        self.sentence = sentence


@dataclass(frozen=True)
class Judgement:
    """What one model says of the two sentences.

    Attributes:
        name: of the model.
        cosine: 0 (no shared term) to 1 (the same direction).
        active_dims: terms of each sentence whose weight is not 0.
        tokens: of each sentence, special ones included.
        longest: tokens that the model reads of a sentence; the others are cut.
    """

    name: str
    cosine: float
    active_dims: tuple[int, int]
    tokens: tuple[int, int]
    longest: int


@dataclass(frozen=True)
class Term:
    """A term of the vocabulary.

    Attributes:
        term: as the vocabulary spells it.
        written: whether it stands in each sentence; where not, a model added it.
        weights: by model, in each sentence, of vectors that have length 1; 0 where it is not there.
        shares: by model, what it adds to the cosine: the product of both weights.
    """

    term: str
    written: tuple[bool, bool]
    weights: tuple[tuple[float, float], ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """What models say of two sentences, and why.

    Attributes:
        summary: the same in two sentences.
        models: what each of them says.
        shared: the strongest terms that both sentences have with one of the models.
        left_out: how many of those are not in `shared`.
        rest: by model, what these add to the cosine.
        alone: for each sentence the strongest terms that with one of the models it alone has.
    """

    summary: str
    models: tuple[Judgement, ...]
    shared: tuple[Term, ...]
    left_out: int
    rest: tuple[float, ...]
    alone: tuple[tuple[Term, ...], tuple[Term, ...]]


@dataclass(frozen=True, eq=False)
class _Scored:
    """Two sentences as one model sees them: the weights of its terms, and the words it reads."""

    judgement: Judgement
    weights: tuple[dict[str, float], dict[str, float]]
    shares: dict[str, float]
    written: tuple[set[str], set[str]]


class Models:
    """Models that explain two sentences.

    Args:
        models: by name; one, or two that are compared.
        folders: where they came from, in the same order.
    """

    def __init__(self, models: Mapping[str, SparseEncoder], folders: Sequence[Path]) -> None:
        self._models = models
        self._folders = folders
        self._lock = Lock()  # tokenizers are not made for several threads

    @classmethod
    def load(cls, folders: Mapping[str, Path]) -> "Models":
        """Load models.

        Args:
            folders: their folders by name.

        Raises:
            UserError: a folder holds no SPLADE model.
        """
        for folder in folders.values():
            if not _is_file(folder / "modules.json"):
                raise UserError(
                    f"{folder} holds no model (no modules.json). `dvc repro` makes models/base and "
                    "models/finetuned, `dvc exp apply demo` brings those of `make demo`, and "
                    "--model FOLDER takes another one"
                )
        return cls(
            {name: load_encoder(folder) for name, folder in folders.items()}, list(folders.values())
        )

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of the models by name, in order."""
        return dict(zip(self._models, self._folders, strict=True))

    def explain(self, sentence1: str, sentence2: str) -> Explanation:
        """What the models say of two sentences.

        Raises:
            SentenceError: a sentence is empty or no Unicode text.
        """
        pair = (checked(1, sentence1), checked(2, sentence2))
        with self._lock:
            return _explanation(
                [_scored(name, model, pair) for name, model in self._models.items()]
            )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def checked(number: int, sentence: str) -> str:
    """A sentence that can be scored, without white space around it.

    Raises:
        SentenceError: it is empty or no Unicode text.
    """
    if not sentence.strip():
        raise SentenceError(number, "is empty. Type a few words")
    try:
        sentence.encode("utf-8")
    except UnicodeEncodeError:
        raise SentenceError(number, "holds half a character. Type it anew") from None
    return sentence.strip()


def _scored(name: str, model: SparseEncoder, pair: tuple[str, str]) -> _Scored:
    encoded = encode(model, list(pair), len(pair))
    pairs = Pairs([pair[0]], [pair[1]], np.full(1, np.nan))
    found: Predictions = predict(model, pairs, encoded)
    longest = model.max_seq_length
    assert longest is not None  # a transformer has a longest input
    tokenizer = model.tokenizer
    whole = tokenizer(list(pair))["input_ids"]
    cut = tokenizer(list(pair), truncation=True, max_length=longest)
    special = set(tokenizer.all_special_tokens)
    read = [set(tokenizer.convert_ids_to_tokens(ids)) - special for ids in cut["input_ids"]]
    return _Scored(
        Judgement(
            name,
            float(found.cosine[0]),
            (int(found.active_dims1[0]), int(found.active_dims2[0])),
            (len(whole[0]), len(whole[1])),
            longest,
        ),
        (_weights(model, encoded, pair[0]), _weights(model, encoded, pair[1])),
        dict(found.terms[0]),
        (read[0], read[1]),
    )


def _weights(model: SparseEncoder, encoded: EncodedSentences, sentence: str) -> dict[str, float]:
    """The terms of a sentence with their weights, of a vector of length 1."""
    row = encoded.matrix([sentence])
    terms = model.tokenizer.convert_ids_to_tokens(row.indices.tolist())
    length = float(np.linalg.norm(row.data))
    return {
        term: float(weight) / length
        for term, weight in zip(terms, row.data, strict=True)
        if weight > 0
    }


def _explanation(scored: list[_Scored]) -> Explanation:
    every = {term: None for one in scored for side in one.weights for term in side}
    terms = [_term(term, scored) for term in every]
    shared = sorted((term for term in terms if any(term.shares)), key=lambda t: -max(t.shares))
    rest = shared[SHOWN_SHARED:]
    return Explanation(
        _summary(scored),
        tuple(one.judgement for one in scored),
        tuple(shared[:SHOWN_SHARED]),
        len(rest),
        tuple(sum(term.shares[number] for term in rest) for number in range(len(scored))),
        (_alone(terms, 0), _alone(terms, 1)),
    )


def _term(term: str, scored: list[_Scored]) -> Term:
    return Term(
        term,
        (
            any(term in one.written[0] for one in scored),
            any(term in one.written[1] for one in scored),
        ),
        tuple((one.weights[0].get(term, 0.0), one.weights[1].get(term, 0.0)) for one in scored),
        tuple(one.shares.get(term, 0.0) for one in scored),
    )


def _alone(terms: list[Term], side: int) -> tuple[Term, ...]:
    """The strongest terms that a sentence alone has, with one of the models."""

    def weight(term: Term) -> float:
        return max(pair[side] if not pair[1 - side] else 0.0 for pair in term.weights)

    return tuple(sorted(filter(weight, terms), key=lambda term: -weight(term))[:SHOWN_ALONE])


def _short(value: float) -> str:
    """Two decimals, and a word for what they do not show."""
    return "below 0.01" if 0 < value < 0.005 else f"{value:.2f}"


def _summary(scored: list[_Scored]) -> str:
    """Which model finds the sentences more similar, and which terms it is by."""
    first, last = scored[0].judgement, scored[-1].judgement
    change = last.cosine - first.cosine
    if len(scored) == 1:
        text = f"The cosine of the two sentences is {_short(last.cosine)}."
    elif abs(change) < SAME:
        text = f"Both models find the two sentences equally similar: cosine {_short(last.cosine)}."
    else:
        text = (
            f"The {last.name} model finds the two sentences {'more' if change > 0 else 'less'} "
            f"similar than the {first.name} model does: cosine {_short(last.cosine)} against "
            f"{_short(first.cosine)}."
        )
    of = "" if len(scored) == 1 else f" of the {last.name} model"
    strongest = [
        f"{term} ({_short(share)})" for term, share in list(scored[-1].shares.items())[:NAMED]
    ]
    if not strongest:
        return f"{text} They share no term{of}."
    terms = "term" if len(strongest) == 1 else "terms"
    return f"{text} The strongest shared {terms}{of}: {', '.join(strongest)}."
