"""Asking the Hub patiently, but not for ever.

Retries with growing waits and resuming a file that was cut off are left to `huggingface_hub`. Added
here is what it lacks: a timeout for every request, resuming after a reset connection, an end to the
waiting that a server may ask for, and more tries for requests that it does not repeat (see
docs/reliability.md).
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils._http import (  # private: huggingface_hub
    default_client_factory,
    parse_ratelimit_headers,
)

from splade_sts.hub.messages import DamagedFile, Failure, TooLongWait

# Seconds between the tries of a whole download. What arrived is in the cache, so only the failed
# part is repeated.
WAITS = (1.0, 4.0)
# Longest wait in seconds that a server may ask for; the Hub's own rate limits reset within five
# minutes.
LONGEST_WAIT = 300
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


def use_patient_client() -> None:
    """Give huggingface_hub an HTTP client that does not hang, and that resumes after a reset.

    The library's client has no timeout for some requests and one of a minute, six times, for
    others; it waits as long as a server asks for, and resumes a file after a connection that was
    closed, but not after one that was reset. Here no request waits for longer than
    HF_HUB_DOWNLOAD_TIMEOUT (10 s) without a byte.
    """

    def factory() -> httpx2.Client:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], _limit_timeouts],
            "response": [*hooks["response"], _check],
        }
        return client

    set_client_factory(factory)


class _Resumable(httpx2.SyncByteStream):
    """A body whose reset connection looks to huggingface_hub like a closed one."""

    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.stream
        except httpx2.ReadError as error:
            raise httpx2.RemoteProtocolError(f"connection reset: {error}") from error

    def close(self) -> None:
        self.stream.close()


def _limit_timeouts(request: httpx2.Request) -> None:
    asked, limit = request.extensions.get("timeout", {}), constants.HF_HUB_DOWNLOAD_TIMEOUT
    kinds = ("connect", "read", "write", "pool")
    limits = {kind: min(asked.get(kind) or limit, limit) for kind in kinds}
    request.extensions = {**request.extensions, "timeout": limits}


def _check(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Resumable(response.stream)
    if response.status_code in TRANSIENT_STATUS:
        limited = parse_ratelimit_headers(response.headers)
        wait = limited.reset_in_seconds if limited else _retry_after(response)
        if wait > LONGEST_WAIT:
            raise TooLongWait(
                f"the Hub answered HTTP {response.status_code} and asks to wait {wait} seconds; "
                "try again after that"
            )


def _retry_after(response: httpx2.Response) -> int:
    """Seconds that an answer asks to wait; 0 where it asks for none."""
    value = response.headers.get("Retry-After", "").strip()
    return int(value) if value.isdecimal() else 0


def _may_pass(failure: Failure) -> bool:
    """Whether another try may succeed, and huggingface_hub has not made it itself."""
    if failure.has(TooLongWait, LocalEntryNotFoundError):
        return False
    lost = any(
        isinstance(error, (DamagedFile, httpx2.TransportError))
        and not isinstance(error, httpx2.ConnectError)
        for error in failure.chain
    )
    return lost or failure.short_file or failure.status in TRANSIENT_STATUS


def persistently(fetch: Callable[[], Result]) -> Result:
    """Call `fetch`, up to twice more where it fails in a way that may pass."""
    for wait in WAITS:
        try:
            return fetch()
        except (OSError, ValueError, httpx2.HTTPError) as error:
            failure = Failure(error)
            if not _may_pass(failure):
                raise
            seconds = max([wait, *map(_retry_after, failure.responses)])
            print(f"the Hub: {type(error).__name__}; once more in {seconds:g} s", file=sys.stderr)
            time.sleep(seconds)
    return fetch()
