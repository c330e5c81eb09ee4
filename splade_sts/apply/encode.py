"""Texts to sparse vectors, in files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from splade_sts.apply import model as models
from splade_sts.apply.formats import FORMATS, Vectors, Written, write_parquet
from splade_sts.apply.rows import Row
from splade_sts.apply.work import Maker, Progress
from splade_sts.errors import UserError, shown
from splade_sts.files import check_outside

Weights = Literal["float32", "uint8"]
WEIGHTS: tuple[Weights, ...] = ("float32", "uint8")


@dataclass(frozen=True)
class Encoding:
    """What is made of a text, see `splade_sts.apply.work.Job`.

    Attributes:
        model: folder of a SPLADE model.
        format: a key of `FORMATS`.
        terms: name the entries in Parquet, too.
        max_active_dims: largest weights of a vector that are kept; None for all.
        weights: float32, or multiples of 1/64 in 8 bits (`Vectors.in_8_bits`).
        batch_size: sentences encoded at once.
    """

    model: str
    format: str = "parquet"
    terms: bool = False
    max_active_dims: int | None = None
    weights: Weights = "float32"
    batch_size: int = 32

    folder = "vectors"

    @property
    def ending(self) -> str:
        """Of the shards' files."""
        return FORMATS[self.format].ending

    def check(self, output: Path) -> None:
        """Raise `UserError` where there is no model, or the output would be a part of it."""
        models.check_model(self.model)
        check_outside(output, self.model)

    def identity(self) -> dict[str, Any]:
        """The model's files, and all that is said here."""
        options = asdict(self)
        del options["model"]
        return {**models.identity(self.model), "options": options}

    def files(self) -> Mapping[str, Any]:
        """What the engine's index has to know."""
        return FORMATS[self.format].files

    def start(self) -> Maker:
        """Load the model."""
        from splade_sts.model.head.swap import fused

        model = models.load(self.model)
        model.max_active_dims = self.max_active_dims
        by_number = {number: term for term, number in model.tokenizer.get_vocab().items()}
        width = model.get_embedding_dimension() or 0
        # a vocabulary may be wider than its tokenizer
        vocabulary = [by_number.get(number, f"[{number}]") for number in range(width)]
        write = FORMATS[self.format].write
        if write is write_parquet:
            write = partial(write_parquet, terms=self.terms)

        def make(rows: list[Row], path: Path, progress: Progress) -> dict[str, int]:
            from splade_sts.evaluation.encoded import encode

            texts = [row.texts[0] for row in rows]
            with fused(model):
                encoded = encode(model, texts, self.batch_size, progress=progress)
            matrix = encoded.matrix(texts)
            if not np.isfinite(matrix.data).all():
                row = rows[int(matrix.tocoo().row[~np.isfinite(matrix.data)][0])]
                raise UserError(
                    f"{shown(self.model)} makes numbers that are not finite of row {row.number} "
                    f"(from 0): {row.texts[0][:80]!r}. Take another model, or leave the row out"
                )
            vectors = Vectors(
                matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data
            )
            vectors, cut = vectors.in_8_bits() if self.weights == "uint8" else (vectors, 0)
            write(Written(rows, vectors, vocabulary), path)
            counts = {
                "postings": len(vectors.indices),
                "without_terms": int((np.diff(vectors.starts) == 0).sum()),
            }
            return {**counts, **({"cut_to_8_bits": cut} if self.weights == "uint8" else {})}

        return make
