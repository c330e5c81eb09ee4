"""What is said of a machine that refuses, and what no message may hold."""

import errno
from urllib.parse import quote, quote_plus

import pytest

from splade_sts.errors import (
    SECRETS,
    disk_problem,
    memory_problem,
    shown,
    without_commands,
    without_secrets,
)


@pytest.mark.parametrize("password", ["a/b", "a@b/c", "a/@/b", "a:b", "%2F"])
def test_passwords_that_should_have_been_quoted(password):
    """Nothing of them is left."""
    text = f"cannot reach https://me:{password}@host.example/x, try later"
    assert without_secrets(text) == "cannot reach https://…@host.example/x, try later"


def test_secrets_are_taken_out(monkeypatch):
    """Credentials in URLs and the values of the environment variables that hold them."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert (
        without_secrets(
            "GET https://me:pa@ss@host.example/x?y=1 (hf_secret) postgresql://u:p@h/db and mail "
            "a@b.example http://h/@x"
        )
        == "GET https://…@host.example/x?y=1 (…) postgresql://…@h/db and mail a@b.example http://h/@x"
    )


def test_a_quote_in_a_password():
    """It ends no password."""
    assert without_secrets("at http://u:p'w\"d@host/x") == "at http://…@host/x"


SPACED = [
    "pa ss wd",
    "'pa ss wd'",
    '"pa ss wd"',
    "pa\tss wd",
    "pa ss/x wd",
    "pa ss?x#wd",
    "pa'ss \"wd",
]


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "HTTPS_PROXY"])
@pytest.mark.parametrize("password", SPACED)
def test_passwords_with_a_space(monkeypatch, password, name):
    """No pattern finds them in a text; the environment knows them."""
    written = [password, quote(password), quote(password, safe="")]
    for given in written:
        monkeypatch.setenv(name, f" http://me:{given}@host.example:80/x ")
        for form in [*written, repr(password)[1:-1]]:
            text = f"request to http://me:{form}@host.example:80/x failed"
            assert without_secrets(text) == "request to http://…@host.example:80/x failed"


def test_a_password_that_a_parser_cuts(monkeypatch):
    """It takes the part before the slash for the host."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pa ss/x wd@host.example")
    said = "Failed to parse: Host 'me:pa ss' contains invalid character ' '"
    assert without_secrets(said) == "Failed to parse: Host '…' contains invalid character ' '"


@pytest.mark.parametrize(
    "name", ["password", "sslpassword", "token", "api_key", "access_token", "X-Amz-Signature"]
)
def test_secrets_in_the_query(name):
    """As drivers of databases take them; what else stands there stays."""
    text = f"cannot reach postgresql://bob@db:5/x?sslmode=require&{name}=hunt%2Fer@2&a=b, try later"
    expected = f"cannot reach postgresql://…@db:5/x?sslmode=require&{name}=…&a=b, try later"
    assert without_secrets(text) == expected
    assert without_secrets(f"http://u:p@h/?{name}=s@cret") == f"http://…@h/?{name}=…"
    assert without_secrets(f"http://h/?{name.upper()}=x") == f"http://h/?{name.upper()}=…"


def test_what_is_no_secret_in_the_query():
    text = "http://h/?tokenizer=a&tokens=3&user=bob&page=2 and password=x in a sentence"
    assert without_secrets(text) == text


@pytest.mark.parametrize("password", [*SPACED, "hunter2", "pa+ss", "pa@ss"])
def test_secrets_in_the_query_of_the_environment(monkeypatch, password):
    """They are known in every way that they may be written, alone too, also without a user."""
    for given in [password, quote(password), quote(password, safe=""), quote_plus(password)]:
        for user in ("", "bob@"):
            url = f"postgresql://{user}db.host/mlflow?sslmode=require&password={given}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f" {url}&a=b ")
            shown_user = "…@" if user else ""
            expected = f"at postgresql://{shown_user}db.host/mlflow?sslmode=require&password=…&a=b"
            assert without_secrets(f"at {url}&a=b") == expected
            for form in (given, password, quote_plus(password), repr(password)[1:-1]):
                assert without_secrets(f"refused: [{form}]") == "refused: […]"


def test_addresses_without_a_password(monkeypatch):
    """They stay, and so does every other text of the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host.example:80/x")
    monkeypatch.setenv("MAIL", "me@host.example")
    monkeypatch.setenv("NOTE", "see this://and me@host.example")
    text = "http://host.example:80/x and me@host.example"
    assert without_secrets(text) == text


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_variable(monkeypatch, name):
    """An empty one hides nothing."""
    monkeypatch.setenv(name, "")
    assert without_secrets("text") == "text"
    monkeypatch.setenv(name, "ex")
    assert without_secrets("text") == "t…t"


def test_what_a_terminal_would_obey():
    """Controls and marks of direction stand as escapes; lines, tabs and letters stay."""
    text = "\x1b[2J\x07 a\rb\x9b1m\u202ec\u2066\nd\te é 日 \u200d"
    assert without_commands(text) == ("\\x1b[2J\\x07 a\\rb\\x9b1m\\u202ec\\u2066\nd\te é 日 \u200d")
    marks = (
        "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # UAX 9, table 1
    )
    assert without_commands(marks) == marks.encode("unicode_escape").decode("ascii")


def test_names_of_files():
    """In one line, printable, also where bytes are no UTF-8."""
    assert shown("données 日.csv") == "données 日.csv"
    assert shown("\x1b[2J\n\u202e\udcff") == "\\x1b[2J\\n\\u202e\\udcff"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), "free some space and run again"),
        (OSError(errno.EACCES, "Permission denied", "x"), "make it accessible and run again"),
        (OSError(errno.EROFS, "Read-only file system"), "make the folder writable and run again"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "give a shorter name and"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "free some space"),
        (RuntimeError("[enforce fail at inline_container.cc:672]\nmore"), "free some space"),
        (OSError(errno.ENOENT, "No such file"), None),
        (RuntimeError("something else"), None),
    ],
)
def test_disk_problems(error, remedy):
    """Python's own errors, and what the writers of models make of them."""
    found = disk_problem(error)
    assert found is None if remedy is None else remedy in found
    assert found is None or "\n" not in found


class OutOfMemoryError(RuntimeError):
    """As PyTorch's on a GPU is called."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), "MemoryError"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "allocate"),
        (RuntimeError("can't start new thread"), "thread"),
        (RuntimeError("mmap failed (os error 12)"), "os error 12"),
        (OutOfMemoryError("CUDA out of memory.\nTried to"), "CUDA out of memory."),
        (caused(ValueError("cannot load"), MemoryError("7 GiB")), "7 GiB"),
        (ValueError("something else"), None),
    ],
)
def test_memory_problems(error, found):
    """Python, the system and the libraries; also where another error was made of it."""
    said = memory_problem(error)
    if found is None:
        assert said is None
    else:
        assert said.startswith(f"not enough memory ({found}") or found in said
        assert "make the batches smaller" in said
        assert "\n" not in said
