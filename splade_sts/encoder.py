"""Loading sparse encoders from folders: no network, no custom code, cosine similarity."""

import warnings
from pathlib import Path
from typing import Any

import transformers
from sentence_transformers import SparseEncoder

# PyTorch's remarks on its sparse tensors, which no user of ours can act on.
warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
# The loading reports and bars of transformers say nothing that our own messages do not.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load_encoder(folder: str | Path, **kwargs: Any) -> SparseEncoder:
    """Load the SparseEncoder in `folder`; `kwargs` go to its constructor.

    The similarity is set because the class default is the dot product.
    """
    return SparseEncoder(
        str(folder), similarity_fn_name="cosine", local_files_only=True, trust_remote_code=False, **kwargs
    )
