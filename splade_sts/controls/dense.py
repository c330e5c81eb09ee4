"""A dense encoder on the same pairs: what is reached without sparsity."""

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import pairwise_cos_sim

from splade_sts.data.pairs import Pairs
from splade_sts.errors import UserError
from splade_sts.hub.messages import SourceKey
from splade_sts.model.check import check_folder
from splade_sts.model.encoder import quiet
from splade_sts.model.source import locate

KEY: SourceKey = "controls.dense_model"


class DenseControl:
    """A dense encoder, fetched from the Hub where it is one of there.

    Args:
        source: a folder, `pip:` and the name of a package, or an id on the Hub.
        revision: its revision on the Hub; None for the default branch.
        key: the parameter that names the source, for messages.

    Raises:
        UserError: it cannot be found, fetched or loaded as a dense encoder.
    """

    def __init__(self, source: str, revision: str | None, key: SourceKey = KEY):
        quiet()
        folder = locate(source, revision, key=key).folder
        check_folder(folder)
        try:
            self.model = SentenceTransformer(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"weights_only": True},
            )
        except (
            Exception
        ) as error:  # whatever the libraries make of the files: the folder is the user's
            raise UserError(
                f"{key}: {folder} cannot be loaded as a dense encoder: {error}"
            ) from error

    def scores(self, pairs: Pairs) -> NDArray[np.float64]:
        """Cosine of each pair: (pairs,)."""
        first, second = (
            self.model.encode(side, convert_to_tensor=True, show_progress_bar=False)
            for side in (pairs.sentence1, pairs.sentence2)
        )
        found: NDArray[np.float64] = (
            pairwise_cos_sim(first, second).cpu().numpy().astype(np.float64)
        )
        return found
