"""A dense encoder on the same pairs: what is reached without sparsity."""

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.util import pairwise_cos_sim

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.model.encoder import load_dense, read_config
from splade_sts.model.source import check_length, locate, named

KEY = "controls.dense_model"


class DenseControl:
    """A dense encoder, fetched from the Hub where it is one of there.

    Args:
        source: a folder, `pip:` and the name of a package, or an id on the Hub.
        revision: its revision on the Hub; None for the default branch.
        max_seq_length: longest input in tokens, as for the sparse models: the length that the
            encoder's own folder names is not taken.
        key: the parameter that names the source, for messages.

    Raises:
        UserError: it cannot be found, fetched or loaded as a dense encoder, or has fewer positions.
    """

    def __init__(self, source: str, revision: str | None, max_seq_length: int, key: str = KEY):
        folder = locate(source, revision, key=key).folder
        with named(key):
            self.model = load_dense(folder)
            check_length(read_config(folder), folder, max_seq_length)
        self.model.max_seq_length = max_seq_length

    def scores(self, pairs: Pairs) -> NDArray[np.float64]:
        """Cosine of each pair: (pairs,).

        Raises:
            UserError: one is not finite.
        """
        first, second = (
            self.model.encode(side, convert_to_tensor=True, show_progress_bar=False)
            for side in (pairs.sentence1, pairs.sentence2)
        )
        found: NDArray[np.float64] = (
            pairwise_cos_sim(first, second).cpu().numpy().astype(np.float64)
        )
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found))[0])
            raise UserError(
                f"{KEY}: the cosine of pair {row} is {found[row]}; the model is broken. "
                "Take another one"
            )
        return found
