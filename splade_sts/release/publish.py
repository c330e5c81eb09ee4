"""A release on its way to the Hub, in one commit, by huggingface_hub's own upload.

Where the upload is interrupted, the same call goes on: what arrived is not sent again (whole files,
or with `hf_xet` the parts of one), and nothing is seen on the Hub before the commit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, get_token, hf_hub_url
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

from splade_sts.errors import UserError
from splade_sts.hub.client import persistently, use_patient_client
from splade_sts.hub.messages import Failure, TooLongWait
from splade_sts.model.card import UNKNOWN
from splade_sts.release.card import PLACE
from splade_sts.release.folder import CARD, MANIFEST, Release

# Licences under which what is made of a work may have another licence
# (https://choosealicense.com/appendix/). All others are inherited.
PERMISSIVE = (
    "afl-3.0 apache-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc-by-4.0 cc0-1.0 "
    "isc mit ncsa postgresql unlicense wtfpl zlib"
).split()
GOES_ON = "the same command goes on where it stopped: what arrived is not sent again"


@dataclass(frozen=True)
class Plan:
    """What goes to the Hub.

    Attributes:
        folder: the release.
        name: of the repository: `USER/NAME`.
        private: whether nobody else is to see it.
        license: what the card declares; None for nothing.
        sizes: bytes of each file, by path.
        left_out: files of the folder that do not belong to the release.
        card: the text of the card, with the repository's name in it.
        commit: the one that made the model.
        data: what the model was trained on, of which the report quotes pairs.
    """

    folder: Path
    name: str
    private: bool
    license: str | None
    sizes: dict[str, int]
    left_out: tuple[str, ...]
    card: str
    commit: str
    data: str

    @classmethod
    def of(cls, folder: Path, name: str, private: bool) -> "Plan":
        """Look at a release; nothing is asked of the Hub.

        Raises:
            UserError: the folder is no whole release, the name is none for the Hub, or the card
                declares a licence that the base model does not allow.
        """
        check_name(name)
        release = Release.read(folder)
        try:
            text = (folder / CARD).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{folder / CARD} is not UTF-8: {error}; save it as UTF-8") from None
        license = declared_license(text, folder / CARD)
        check_license(license, release.base, folder / CARD)
        card = text.replace(PLACE, name)
        paths = sorted([*release.files, MANIFEST])
        sizes = {CARD: len(card.encode())} | {
            path: (folder / path).stat().st_size for path in paths
        }
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        left_out = sorted(path for path in found if not _known(path, sizes))
        return cls(
            folder=folder,
            name=name,
            private=private,
            license=license,
            sizes=sizes,
            left_out=tuple(left_out),
            card=card,
            commit=release.commit,
            data=str(release.data["source"]),
        )


def _known(path: str, sizes: dict[str, int]) -> bool:
    """Whether a path is one of the files, or a folder of them."""
    return path in sizes or any(file.startswith(f"{path}/") for file in sizes)


def check_name(name: str) -> None:
    """Check a name for the Hub.

    Raises:
        UserError: it is none.
    """
    try:
        hf_hub_url(name, CARD)  # the library looks at the name
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name on the Hub: {error}") from None
    if name.count("/") != 1:
        raise UserError(f"{name!r} says not whose it is; expected USER/NAME or ORGANIZATION/NAME")


def declared_license(text: str, path: Path) -> str | None:
    """The licence in the front matter of a card; None where it declares none.

    Raises:
        UserError: the front matter cannot be read, or the licence is no word.
    """
    try:
        found = ModelCard(text).data.get("license")
    except Exception as error:  # whatever people and YAML make of it
        raise UserError(f"{path}: the front matter cannot be read: {error}") from error
    if found is not None and not isinstance(found, str):
        raise UserError(f"{path}: found {found!r} as license; expected one identifier")
    return found


def check_license(declared: str | None, base: dict[str, str | None], path: Path) -> None:
    """Check that a card declares a licence which the base model's allows.

    Raises:
        UserError: names both.
    """
    inherited = base["license"] or UNKNOWN
    if inherited in PERMISSIVE or declared == (None if inherited == UNKNOWN else inherited):
        return
    if inherited == UNKNOWN:
        raise UserError(
            f"{path} declares the licence {declared}, but {base['source']}, which the model is "
            "made of, names none: nobody has given that licence. Leave `license` out, or ask who "
            "made it"
        )
    raise UserError(
        f"{path} declares {f'the licence {declared}' if declared else 'no licence'}, but the model "
        f"is made of {base['source']}, which is under {inherited}: that is inherited. Set "
        f"`license: {inherited}`"
    )


def publish(plan: Plan) -> str:
    """Send a release; what the Hub has already is not sent again.

    Returns:
        The hash of the Hub's commit.

    Raises:
        UserError: there is no login, it may not write there, the repository is public and was to be
            private, or the Hub cannot be reached or keeps failing.
    """
    use_patient_client()
    api = HfApi()
    with _explained(plan, "you"):
        user = str(persistently(api.whoami)["name"])
    with _explained(plan, user):
        persistently(
            lambda: api.create_repo(plan.name, private=plan.private or None, exist_ok=True)
        )
        if plan.private and not persistently(lambda: api.model_info(plan.name)).private:
            raise UserError(
                f"{plan.name} is on the Hub already, and public: --private changes nothing there. "
                "Make it private in its settings, or give another name. Nothing was sent"
            )
        return persistently(lambda: _send(api, plan))


def _send(api: HfApi, plan: Plan) -> str:
    operations = [
        CommitOperationAdd(path, plan.card.encode() if path == CARD else str(plan.folder / path))
        for path in plan.sizes
    ]
    return api.create_commit(
        plan.name, operations, commit_message=f"Release of commit {plan.commit[:7]}"
    ).oid


@contextmanager
def _explained(plan: Plan, user: str) -> Iterator[None]:
    """Turn what the Hub's library raises into one message, without the token."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, LookupError, httpx2.HTTPError) as error:
        said, token = _reason(Failure(error), plan.name, user), get_token()
        said = said.replace(token, "…") if token else said
        raise UserError(f"{plan.name} was not published: {said}") from error


def _reason(failure: Failure, name: str, user: str) -> str:
    if failure.has(LocalTokenNotFoundError):
        return "nobody is logged in to the Hub; log in with `hf auth login`, or set HF_TOKEN"
    if failure.has(OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish"
    if waits := [error for error in failure.chain if isinstance(error, TooLongWait)]:
        return f"{waits[0]}; {GOES_ON}"
    if failure.says("metadata in readme.md"):  # in the Hub's words
        return " ".join(str(failure.error).split())
    if failure.status and failure.says("error while uploading"):
        return f"the Hub's storage answered HTTP {failure.status}; {GOES_ON}"
    match failure.status:
        case 401:
            return "the Hub does not accept your token; log in again with `hf auth login`"
        case 403 | 404:
            return (
                f"{user} may not write there: the name is taken by somebody else, or the token is "
                f"one for reading. Give another name, such as {user}/{name.split('/')[1]}, or log "
                "in with a token that may write (`hf auth login`)"
            )
        case 409 | 412:
            return "somebody changed the repository at the same time; run the command again"
        case int(status):
            said = "; ".join(str(failure.error).split("\n\n")[-1].split("\n"))
            return f"the Hub answered HTTP {status} ({said}); try again later: {GOES_ON}"
    if failure.has(httpx2.TimeoutException):
        return (
            "the Hub does not answer in time; try again later, or with HF_HUB_DOWNLOAD_TIMEOUT set "
            f"to more seconds: {GOES_ON}"
        )
    if failure.has(httpx2.ConnectError):
        return "the Hub cannot be reached"
    if failure.has(httpx2.TransportError, ConnectionError):
        return f"the connection to the Hub broke off again and again; {GOES_ON}"
    return f"{type(failure.error).__name__}: {failure.error}"
