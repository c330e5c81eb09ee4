"""The page's server: what it answers, and what it refuses."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread

import pytest

from splade_sts import cli
from splade_sts.errors import UserError
from splade_sts.explain.explanation import Models
from splade_sts.explain.server import LARGEST, ExplainServer

PAIR = json.dumps({"sentence1": "the dog runs", "sentence2": "the dog walks"})
JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def server(tiny_splade: Path) -> Iterator[ExplainServer]:
    """A server of a tiny model, on a port of its own."""
    with ExplainServer(0) as made:
        made.models = Models.load({"base": tiny_splade, "fine-tuned": tiny_splade})
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(
    server: ExplainServer, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[HTTPResponse, str]:
    """One request; `headers` with underscores for hyphens."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def test_the_page(server: ExplainServer) -> None:
    """One page with its own style and script alone: a policy names them by a nonce that no second
    page has; no cookie; nothing but the page is served.
    """
    (first, page), (second, _) = (ask(server, "GET", "/") for _ in range(2))
    assert first.status == 200
    assert "A cat sits on a closed laptop." in page
    policy = first.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert page.count(f'nonce="{nonce}"') == 2
    assert page.count("<script") == page.count("<style") == 1
    assert policy != second.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in first.headers
    for path in ("/page.html", "/../params.yaml", "/explain", "/?a"):
        assert ask(server, "GET", path)[0].status == 404, path


def test_an_explanation(server: ExplainServer) -> None:
    """Of both models, as JSON."""
    answer, body = ask(server, "POST", "/explain", PAIR, **JSON)
    found = json.loads(body)
    assert answer.status == 200
    assert [model["name"] for model in found["models"]] == ["base", "fine-tuned"]
    assert {term["term"] for term in found["shared"]}


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (PAIR, {"Host": "attacker.example:80"}, 403, "The page is at http://127.0.0.1:"),
        (PAIR, {"Origin": "http://attacker.example"}, 403, "The page is at"),
        (PAIR, {"Origin": "null"}, 403, "The page is at"),
        (PAIR, {"Content_Type": "text/plain"}, 415, "Expected application/json"),
        (None, {"Content_Length": "-1"}, 411, "Expected Content-Length"),
        (None, {"Content_Length": "9" * 5000}, 413, "at most 64 KiB"),
        (None, {"Content_Length": str(LARGEST + 1)}, 413, "at most 64 KiB"),
        ("{", {}, 400, "Expected JSON"),
        ("[" * 60000, {}, 400, "Expected JSON"),
        ("[]", {}, 400, "Expected an object with sentence1 and sentence2"),
        ('{"sentence1": "dog", "sentence2": 1}', {}, 400, "Expected an object"),
        ('{"sentence1": "dog", "sentence2": " "}', {}, 422, "Sentence 2 is empty"),
        ('{"sentence1": "\\ud83d", "sentence2": "dog"}', {}, 422, "Sentence 1 holds half"),
    ],
)
def test_what_is_refused(
    server: ExplainServer, body: str | None, headers: dict[str, str], status: int, said: str
) -> None:
    """With the status of HTTP, and words for the page."""
    answer, found = ask(server, "POST", "/explain", body, **{**JSON, **headers})
    assert (answer.status, said in json.loads(found)["error"]) == (status, True), found


def test_names_that_are_answered(server: ExplainServer) -> None:
    """The page's own, and no other that leads to this machine."""
    port = server.server_port
    for host, status in {
        f"localhost:{port}": 200,
        f"127.0.0.1:{port}": 200,
        "localhost": 403,
        f"127.0.0.1:{port + 1}": 403,
        "": 403,
    }.items():
        assert ask(server, "GET", "/", Host=host)[0].status == status, host
    with pytest.raises(OSError, match=r"refused|assign"):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_defect(
    server: ExplainServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The page says that there is one, and the terminal has the traceback."""

    def broken(*_: str) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(server.models, "explain", broken)
    answer, body = ask(server, "POST", "/explain", PAIR, **JSON)
    assert (answer.status, json.loads(body)["error"][:16]) == (500, "This is a defect")
    assert "ZeroDivisionError: of the test" in capfd.readouterr().err


def test_a_port_that_is_taken(server: ExplainServer) -> None:
    """The message names another one."""
    port = server.server_port
    with pytest.raises(UserError, match=rf"port {port} of 127\.0\.0\.1 cannot be used: .*--port "):
        ExplainServer(port)


def test_ctrl_c(
    tiny_splade: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ends the command as it is meant to end, and the port is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answered = []

    def visit() -> None:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/")
            answered.append(connection.getresponse().read())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    load = Models.load

    def loaded(folders: dict[str, Path]) -> Models:
        """The port is taken by now, and the visitor waits for the answer."""
        Thread(target=visit).start()
        return load(folders)

    monkeypatch.setattr(Models, "load", loaded)
    command = ["splade_sts", "explain", "--model", str(tiny_splade), "--port", str(port)]
    monkeypatch.setattr(sys, "argv", command)
    # a job in the background of a shell would ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert answered
    said = capsys.readouterr()
    assert said.out.strip() == f"open http://127.0.0.1:{port}/ (Ctrl-C ends it)"
    assert said.err == ""
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
