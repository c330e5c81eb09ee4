"""Loading sparse encoders from folders: no network, no custom code, cosine similarity."""

import warnings
from pathlib import Path
from typing import Any

import transformers
from sentence_transformers import SparseEncoder

from splade_sts.errors import UserError
from splade_sts.model.check import check_folder


def quiet() -> None:
    """Silence what the libraries say on loading and encoding; it tells the user nothing to act on.

    That are PyTorch's remarks on its sparse tensors, and the reports and bars of transformers,
    which say nothing that messages of ours do not.
    """
    warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def load_encoder(
    folder: str | Path,
    device: str | None = None,
    model_kwargs: dict[str, Any] | None = None,
) -> SparseEncoder:
    """Load the SparseEncoder in `folder`, with cosine similarity.

    The similarity is set because the class default is the dot product. `weights_only` is given
    because a folder's own configuration could otherwise switch it off.

    Args:
        folder: a model's folder.
        device: where the model goes; None for the best that there is.
        model_kwargs: arguments for the loader of the transformer.

    Raises:
        UserError: the folder asks for code or for files elsewhere, or cannot be read as a model.
    """
    quiet()
    check_folder(folder)
    try:
        return SparseEncoder(
            str(folder),
            device=device,
            similarity_fn_name="cosine",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"weights_only": True, **(model_kwargs or {})},
        )
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's
        raise UserError(
            f"{folder} cannot be loaded as a model: {type(error).__name__}: {error}"
        ) from error
