"""The one exception whose message is meant for the user, what the machine ran out of, and what no
message may hold.
"""

import errno
import os
import re
from urllib.parse import quote, quote_plus, unquote, unquote_plus

# What to do about each refusal of the disk.
REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make it accessible",
    errno.EPERM: "make it accessible",
    errno.ENAMETOOLONG: "give a shorter name",
}
NO_MEMORY = (
    "(os error 12)",
    "Cannot allocate memory",
    "can't allocate memory",
    "can't start new thread",
)
# What a terminal takes for commands, or for another direction of reading; line breaks and tabs are
# neither.
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Before the host of a URL. A password may hold `/` and `@`, though it should not: where there is a
# colon, everything up to the last `@` is taken for one.
CREDENTIALS = re.compile(r"(?<=://)(?:[^/\s'\"@]*:[^\s]*|[^/\s'\"]*)@")
# In the query of a URL, where drivers of databases and presigned addresses have them. A value that
# holds a space is known from the environment alone.
QUERY = r"(?i)(?<=[?&])([\w.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|signature)=)"
QUERY_SECRETS = re.compile(rf"{QUERY}[^&\s]+")
IN_QUERY = re.compile(f"{QUERY}([^&]+)")
# What the libraries leave as it is where they quote a URL (RFC 3986, as `requests` does).
UNQUOTED = "!#$%&'()*+,/:;=?@[]~"
# Environment variables whose values are secret.
SECRETS = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


class UserError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do."""


def without_secrets(text: str) -> str:
    """`text` without the credentials of URLs, before the host or in the query, and without the
    values of environment variables that hold secrets.

    A password with a space is no part of a URL in a text. Where the environment has the URL
    (MLFLOW_TRACKING_URI, HTTPS_PROXY), it is known, in every way that it may be written.
    """
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "…")
    for form in _credentials():
        text = text.replace(form, "…@" if form.endswith("@") else "…")
    return CREDENTIALS.sub("…@", QUERY_SECRETS.sub(r"\1…", text))


def _credentials() -> list[str]:
    """The secrets in the URLs of the environment, the longest first: what stands before the host,
    and in the query; as it is, quoted, and as Python writes a text. A parser that takes a `/`, `?`
    or `#` of a password for the end of the host quotes what is before it.
    """
    found = set()
    for value in os.environ.values():
        scheme, _, behind = value.strip().partition("://")
        for _, secret in re.findall(IN_QUERY, behind):
            found |= _forms(secret)
        behind = re.sub(IN_QUERY, r"\1", behind)  # an `@` in there ends no name
        name, at, _ = behind.rpartition("@")
        if not at or not re.fullmatch(r"[\w+.-]+", scheme):
            continue
        forms = _forms(name)
        found |= {f"{form}@" for form in forms}
        found |= {start for form in forms if ":" in (start := re.split("[/?#]", form)[0])}
    return sorted(found, key=len, reverse=True)


def _forms(secret: str) -> set[str]:
    """The ways that a part of a URL may be written."""
    forms = {secret, unquote(secret), unquote_plus(secret)}
    forms |= {quote(form, safe=safe) for form in forms for safe in (UNQUOTED, ":", "")}
    forms |= {quote_plus(form) for form in forms}
    return forms | {repr(form)[1:-1] for form in forms}


def without_commands(text: str) -> str:
    r"""`text` without what a terminal would obey: controls and marks of direction stand as escapes
    (`\x1b`), line breaks and tabs as they are.
    """
    return COMMANDS.sub(lambda found: _escape(found[0]), text)


def shown(name: object) -> str:
    r"""The name of a file for messages and records, in one line: everything that cannot be printed
    stands as an escape (`\n`), bytes that are no UTF-8 too (`\udcff`).
    """
    return "".join(
        character if character.isprintable() else _escape(character) for character in str(name)
    )


def _escape(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def disk_problem(error: BaseException) -> str | None:
    """What the disk refused and what to do, if `error` says that: no space, no permission, a
    read-only folder.

    Besides Python's own errors it knows those of the libraries that write models: safetensors ends
    its message with `(os error 28)`, PyTorch's writer names only the place in its code.
    """
    rust = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(rust[1]) if rust else None
    if number in REMEDIES:
        return f"{error}; {REMEDIES[number]} and run again"
    if "inline_container.cc" in str(error):
        return (
            f"a file could not be written ({str(error).splitlines()[0]}); free some space and "
            "run again"
        )
    return None


def memory_problem(error: BaseException | None) -> str | None:
    """That memory ran out and what to do, if `error`, or what led to it, says that.

    Besides Python's MemoryError and the system's ENOMEM it knows what the libraries make of them:
    PyTorch's allocators raise a RuntimeError, or an error of their own on a GPU; safetensors ends
    its message with `(os error 12)`; a thread that finds no room for its stack cannot be started.
    """
    while error is not None:
        if _ran_out_of_memory(error):
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            return (
                f"not enough memory ({said[:300]}); close other programs or make the batches "
                "smaller, and run again"
            )
        error = error.__cause__
    return None


def _ran_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in NO_MEMORY)
    )


def port_problem(port: int, error: OSError, remedy: str) -> UserError:
    """What to say where a server cannot listen at a port of 127.0.0.1.

    Args:
        port: of 127.0.0.1.
        error: why it cannot.
        remedy: the command with another port.
    """
    return UserError(
        f"port {port} of 127.0.0.1 cannot be used: {error.strerror}; give another one: {remedy}"
    )
