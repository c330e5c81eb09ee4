"""Loading sparse encoders from folders: no network, no custom code, cosine similarity."""

import warnings
from pathlib import Path
from typing import Any

import transformers
from sentence_transformers import SparseEncoder

from splade_sts.errors import UserError
from splade_sts.model_folder import check_folder

# PyTorch's remarks on its sparse tensors, which no user of ours can act on.
warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
# The loading reports and bars of transformers say nothing that our own messages do not.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load_encoder(folder: str | Path, model_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> SparseEncoder:
    """Load the SparseEncoder in `folder`; `model_kwargs` and `kwargs` go to its constructor.

    The similarity is set because the class default is the dot product. `weights_only` is given because a folder's own
    configuration could otherwise switch it off.

    Raises:
        UserError: the folder asks for code or for files elsewhere, or cannot be read as a model.
    """
    check_folder(folder)
    try:
        return SparseEncoder(
            str(folder), similarity_fn_name="cosine", local_files_only=True, trust_remote_code=False,
            model_kwargs={"weights_only": True, **(model_kwargs or {})}, **kwargs,
        )
    except Exception as error:  # whatever the libraries make of the files: the folder is the user's, and so is the remedy
        raise UserError(f"{folder} cannot be loaded as a model: {type(error).__name__}: {error}") from error
