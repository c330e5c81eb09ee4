"""Which dense encoder stands beside the words, if any."""

from dataclasses import dataclass
from typing import Literal

from splade_sts.params import BaseModelParams, ControlsParams


@dataclass(frozen=True)
class DenseEncoder:
    """A dense encoder that the comparison refers to.

    Attributes:
        source: a folder, `pip:` and the name of a package, or an id on the Hub.
        revision: its revision on the Hub.
        key: the parameter that names it, for messages.
        of_base_model: whether it is the encoder that the base model is converted from: then it says
            what the conversion lost, and whether training won that back.
    """

    source: str
    revision: str | None
    key: Literal["base_model.source", "controls.dense_model"]
    of_base_model: bool


def dense_encoder(controls: ControlsParams, base_model: BaseModelParams) -> DenseEncoder | None:
    """The encoder that `controls.dense_model` names; where that is null, the one that the base
    model is converted from, if it is; None where there is none or none is wanted.
    """
    converted = base_model.wanted_active_dims is not None
    own, named = base_model.source, controls.dense_model
    if named is None:
        if not converted:
            return None
        return DenseEncoder(own, base_model.revision, "base_model.source", of_base_model=True)
    if named is False:
        return None
    # a package has no revision
    same = controls.dense_revision == base_model.revision or named.startswith("pip:")
    return DenseEncoder(
        named,
        controls.dense_revision,
        "controls.dense_model",
        of_base_model=converted and named == own and same,
    )
