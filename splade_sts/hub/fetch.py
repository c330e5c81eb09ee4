"""Data sets and models from the Hugging Face Hub, each file checked against its announced hash."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from splade_sts.errors import UserError
from splade_sts.hub.client import persistently, use_patient_client
from splade_sts.hub.messages import DamagedFile, explained, revision_key

# Formats of data sets whose readers only parse. (A data set's own script is never run: `datasets`
# has no support for it.)
DATA_FORMATS = ("parquet", "csv", "json", "arrow")
# What is fetched of a model besides its weights.
MODEL_FILES = ("*.json", "*.txt", "*.model", "README.md")
SAFETENSORS, PICKLED = "*.safetensors", "pytorch_model*.bin"


@dataclass(frozen=True)
class Snapshot:
    """A model in the Hub's cache.

    Attributes:
        folder: where its files lie.
        revision: the commit hash of the Hub that they are from.
    """

    folder: Path
    revision: str


@dataclass(frozen=True)
class LoadedSplits:
    """The splits of a data set.

    Attributes:
        splits: the rows of each split that was asked for.
        revision: the commit hash of the Hub that they are from.
    """

    splits: Mapping[str, datasets.Dataset]
    revision: str


def check_hashes(files: Iterable[Path]) -> None:
    """Check files of the Hub's cache against the hash that the Hub announced for them.

    The cache keeps each file under its ETag: the SHA-256 of the content for large files, Git's
    SHA-1 for the others. A file that does not agree is removed, so that it can be fetched again.

    Raises:
        DamagedFile: names the files that do not agree.
    """
    damaged = []
    for file in files:
        if not file.is_symlink():
            continue
        blob = file.parent / file.readlink()
        if _agrees(blob):
            continue
        damaged.append(file.name)
        file.unlink()
        blob.unlink()
    if damaged:
        raise DamagedFile(
            f"{', '.join(damaged)} arrived damaged (hash differs from what the Hub announced); "
            "try again"
        )


def _agrees(blob: Path) -> bool:
    """Whether the content of a file has the hash that is its name."""
    with blob.open("rb") as stream:
        if len(blob.name) == 64:
            return hashlib.file_digest(stream, "sha256").hexdigest() == blob.name
        if len(blob.name) == 40:
            content = stream.read()
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == blob.name
    return True  # another server's own kind of ETag


def download_model(source: str, revision: str | None, key: str = "base_model.source") -> Snapshot:
    """Fetch a model repository into the Hub's cache.

    Only configuration, tokenizer and PyTorch weights are fetched; `.bin` weights only where there
    is no safetensors. The hash of every file is checked, whether it was just fetched or in the
    cache.

    Args:
        source: id of the repository.
        revision: branch, tag or commit hash; None for the default branch.
        key: the parameter that names the model, for messages.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such repository or revision, or
            keeps failing.
    """
    use_patient_client()
    with explained(key, source, revision):
        return persistently(
            lambda: _model_from_cache(source, revision) or _model_from_hub(source, revision)
        )


def _model_from_cache(source: str, revision: str | None) -> Snapshot | None:
    """What the cache has at this revision; files that are never fetched may be missing there."""
    for weights in (SAFETENSORS, PICKLED):
        try:
            folder = Path(
                snapshot_download(
                    source,
                    revision=revision,
                    local_files_only=True,
                    allow_patterns=[*MODEL_FILES, weights],
                )
            )
        except LocalEntryNotFoundError:
            continue
        if list(folder.glob(weights)):
            check_hashes(folder.rglob("*"))
            return Snapshot(folder, folder.name)
    return None


def _model_from_hub(source: str, revision: str | None) -> Snapshot:
    info = HfApi().model_info(source, revision=revision)
    if info.sha is None:
        raise ValueError("the Hub names no commit")
    names = [sibling.rfilename for sibling in info.siblings or []]
    weights = SAFETENSORS if any(name.endswith(".safetensors") for name in names) else PICKLED
    folder = Path(
        snapshot_download(source, revision=info.sha, allow_patterns=[*MODEL_FILES, weights])
    )
    check_hashes(folder.rglob("*"))
    return Snapshot(folder, info.sha)


def load_dataset_splits(
    source: str,
    revision: str | None,
    splits: Sequence[str],
    config: str | None = None,
    key: str = "data.source",
) -> LoadedSplits:
    """Load a data set with `datasets`; the hash of every file is checked before it is read.

    Args:
        source: id of the data set.
        revision: branch, tag or commit hash; None for the default branch.
        splits: which of its splits are wanted.
        config: which of its configurations; None for the default one.
        key: the parameter that names the data set, for messages.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such data set, revision,
            configuration or split, or keeps failing.
    """
    use_patient_client()
    with explained(key, source, revision):
        commit = persistently(lambda: _resolved(source, revision))
        loaded = persistently(lambda: _prepared(source, commit, config, key))
    missing = [split for split in splits if split not in loaded]
    if missing:
        raise UserError(
            f"{key} {source!r} has no split {', '.join(missing)}; "
            f"it has {', '.join(map(str, loaded))}"
        )
    return LoadedSplits({split: loaded[split] for split in splits}, commit)


def load_configurations(
    key: str, source: str, revision: str | None, configurations: Sequence[str], split: str
) -> tuple[dict[str, datasets.Dataset], str]:
    """Load one split of several configurations of a data set, all at the same commit; the hash of
    every file is checked before it is read.

    Args:
        key: the parameter that names the data, for messages.
        source: id of the data set.
        revision: branch, tag or commit hash; None for the default branch.
        configurations: their names.
        split: the split of each of them.

    Returns:
        The rows by configuration, and the commit hash of the Hub that they are from.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such data set, revision,
            configuration or split, or keeps failing.
    """
    use_patient_client()
    found = {}
    with explained(key, source, revision):
        commit = persistently(lambda: _resolved(source, revision))
        for name in configurations:
            loaded = persistently(partial(_prepared, source, commit, name, key))
            if split not in loaded:
                raise UserError(
                    f"{key}: {name} of {source!r} at revision {commit!r} has no split {split}; "
                    f"it has {', '.join(map(str, loaded))}"
                )
            found[name] = loaded[split]
    return found, commit


def _resolved(source: str, revision: str | None) -> str:
    """The commit hash of a revision of a data set."""
    api = HfApi()
    return api.resolve_revision(source, repo_type="dataset", revision=revision).resolved


def _prepared(source: str, commit: str, config: str | None, key: str) -> datasets.DatasetDict:
    """What `datasets.load_dataset` does, in steps: the files are checked before they are read."""
    builder = datasets.load_dataset_builder(source, config, revision=commit)
    if builder.hash != commit:  # `datasets` takes the newest cached revision where the Hub fails
        raise UserError(
            f"{key} {source!r}: the Hub does not give revision {commit!r}, and the cache holds "
            f"{builder.hash}; try again later, or set {revision_key(key)} to that"
        )
    urls = [url for part in (builder.config.data_files or {}).values() for url in part]
    kind = type(builder).__module__.rsplit(".", 1)[-1]
    if urls and kind not in DATA_FORMATS:
        raise UserError(
            f"{key} {source!r} holds files of kind {kind!r}; expected {', '.join(DATA_FORMATS)}"
        )
    home = f"hf://datasets/{source}@{commit}/"
    foreign = [url for url in urls if not url.startswith(home)]
    if foreign:
        raise UserError(
            f"{key} {source!r} takes rows from elsewhere, {foreign[0]}; expected files of its own"
        )
    check_hashes(
        Path(hf_hub_download(source, url.removeprefix(home), repo_type="dataset", revision=commit))
        for url in urls
    )
    builder.download_and_prepare()
    return builder.as_dataset()
