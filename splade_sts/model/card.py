"""Model cards for the Hub: what a model is, where it comes from, and its licence (no torch)."""

import re
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

UNKNOWN = "unknown"
USE = """## Use

```python
from sentence_transformers import SparseEncoder

model = SparseEncoder("path/to/this/folder")
embeddings = model.encode(["A plane is taking off.", "An air plane is taking off."])
print(model.similarity(embeddings, embeddings))
```
"""


def read_license(folder: str | Path) -> str:
    """Read the licence identifier in the front matter of the folder's README.md.

    Returns:
        The identifier; `unknown` where there is none that reads as one.
    """
    card = Path(folder) / "README.md"
    if not card.is_file():
        return UNKNOWN
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
        found = ModelCard(text, ignore_metadata_errors=True).data.get("license")
    except (
        Exception
    ):  # front matter that is no card's: somebody else's file, which the model does not need
        return UNKNOWN
    reads_as_one = isinstance(found, str) and re.fullmatch(r"[\w.+-]{1,64}", found, re.ASCII)
    return str(found) if reads_as_one else UNKNOWN


def hub_card(
    *,
    title: str,
    license: str,
    base_model: str | None,
    dataset: str | None,
    body: str,
) -> str:
    """Build a model card with the Hub's front matter.

    Args:
        title: heading of the card.
        license: licence identifier; `unknown` is left out of the front matter.
        base_model: source of the base model; in the front matter only if it is an id on the Hub.
        dataset: source of the data; in the front matter only if it is an id on the Hub.
        body: Markdown between the title and the section on using the model; text of others in it
            has gone through `splade_sts.text.one_line`.
    """
    data = ModelCardData(
        license=None if license == UNKNOWN else license,
        base_model=base_model if base_model and _is_hub_id(base_model) else None,
        datasets=[dataset] if dataset and _is_hub_id(dataset) else None,
        library_name="sentence-transformers",
        pipeline_tag="feature-extraction",
        tags=["sentence-transformers", "sparse-encoder", "sparse", "splade"],
    )
    text = f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{body}\n\n{USE}"
    return str(ModelCard(text, ignore_metadata_errors=False))


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~", "pip:"))
