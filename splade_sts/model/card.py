"""Model cards: what a model is, where it comes from, and under which licence it may be used."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

USE = """## Use

```python
from sentence_transformers import SparseEncoder

model = SparseEncoder("path/to/this/folder")
embeddings = model.encode(["A plane is taking off.", "An air plane is taking off."])
print(model.similarity(embeddings, embeddings))
```
"""


def read_license(folder: str | Path) -> str:
    """Licence identifier in the front matter of the folder's README.md; `unknown` where there is none that reads as one."""
    card = Path(folder) / "README.md"
    if not card.is_file():
        return "unknown"
    try:
        license = ModelCard(card.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=True).data.license
    except Exception:  # front matter that is no card's: somebody else's file, which the model does not need
        return "unknown"
    return license if isinstance(license, str) and re.fullmatch(r"[\w.+-]{1,64}", license, re.ASCII) else "unknown"


def table(rows: dict[str, Any], head: tuple[str, str]) -> str:
    """A two-column Markdown table."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| `{key}` | {_plain(value)} |" for key, value in rows.items()])


def _plain(value: Any) -> str:
    """`value` as text in a table's cell: one line, no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#&])", r"\\\1", " ".join(str(value).split()))


def write(folder: Path, *, title: str, license: str, base_model: str | None, data: str | None, body: str) -> None:
    """Write `README.md` with the Hub's front matter into `folder`.

    `license` other than `unknown` goes into the front matter; `base_model` only if it is an id on the Hub.
    """
    card_data = ModelCardData(
        license=None if license == "unknown" else license,
        base_model=base_model if base_model and _is_hub_id(base_model) else None,
        datasets=[data] if data and _is_hub_id(data) else None,
        library_name="sentence-transformers",
        pipeline_tag="feature-extraction",
        tags=["sentence-transformers", "sparse-encoder", "sparse", "splade"],
    )
    text = f"---\n{card_data.to_yaml()}\n---\n\n# {title}\n\n{body}\n\n{USE}"
    ModelCard(text, ignore_metadata_errors=False).save(folder / "README.md")


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~", "pip:"))
