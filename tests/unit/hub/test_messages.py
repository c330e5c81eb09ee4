"""Each failure of the Hub's libraries gets the reason that it is of, whatever it was wrapped in."""

import httpx2
import pytest
from datasets.exceptions import DatasetNotFoundError
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
from splade_sts.hub.messages import (
    OFFLINE_WAYS,
    DamagedFile,
    Failure,
    TooLongWait,
    explained,
    reason,
)


def answered(kind, status):
    response = httpx2.Response(status, request=httpx2.Request("GET", "http://hub/x"))
    return kind("the server said no", response=response)


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DamagedFile("x arrived damaged"), "x arrived damaged"),
        (caused(OSError("later"), TooLongWait("wait 9 hours")), "wait 9 hours"),
        (OSError("Consistency check failed: 5 of 10 bytes"), "another length"),
        (answered(RevisionNotFoundError, 404), "no such revision; set base_model.revision"),
        (answered(GatedRepoError, 403), "refused access"),
        (answered(HfHubHTTPError, 401), "refused access"),
        (DatasetNotFoundError("a/b is a gated dataset on the Hub"), "refused access"),
        (DatasetNotFoundError("a/b doesn't exist on the Hub"), "no such repository"),
        (answered(RepositoryNotFoundError, 404), "no such repository"),
        (HFValidationError("Repo id must be"), "no such repository"),
        (answered(HfHubHTTPError, 404), "no such repository"),
        (answered(HfHubHTTPError, 503), "HTTP 503"),
        (caused(OSError("?"), answered(HfHubHTTPError, 500)), "HTTP 500"),
        (httpx2.ReadTimeout("slow"), "does not answer in time"),
        (httpx2.ReadError("reset"), "broke off again and again"),
        (httpx2.RemoteProtocolError("closed"), "broke off again and again"),
        (httpx2.ConnectError("refused"), "cannot be reached"),
        (OfflineModeIsEnabled("off"), "cannot be reached"),
        (LocalEntryNotFoundError("no file"), "cannot be reached"),
        (ValueError("Couldn't CONNECT to the server"), "cannot be reached"),
        (RuntimeError("Dataset scripts are no longer supported"), "a script of its own"),
        (ValueError("{odd} text"), "ValueError: {odd} text"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_the_reason(error, said):
    assert said in reason(Failure(error), "base_model.source")


@pytest.mark.parametrize("key", OFFLINE_WAYS)
def test_one_message(key):
    """It names the parameter, what it asked for, and the way to go on offline."""
    with pytest.raises(UserError) as raised, explained(key, "a/b", "main"):
        raise answered(HfHubHTTPError, 500)
    assert str(raised.value) == (
        f"{key} 'a/b' at revision 'main': the Hub answered HTTP 500; try again later. "
        f"To work offline, {OFFLINE_WAYS[key]}"
    )


def test_other_errors_pass():
    """A message for the user stays as it is, and so does a bug."""
    for error in (UserError("as it is"), AssertionError("a bug")):
        with pytest.raises(type(error), match=str(error)), explained("data.source", "a/b", None):
            raise error
