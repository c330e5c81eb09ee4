"""The page and its answers, on 127.0.0.1 alone."""

import json
import secrets
import sys
import traceback
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2

from splade_sts.errors import port_problem, without_commands, without_secrets
from splade_sts.explain.examples import EXAMPLES, GOLD_MAX
from splade_sts.explain.explanation import Models, SentenceError

PAGE = Path(__file__).with_name("page.html")
ADDRESS = "127.0.0.1"
LARGEST = 64 * 1024  # bytes of a request's body


class Refused(Exception):
    """A request that is not answered; `status` says why, as HTTP has it."""

    def __init__(self, status: HTTPStatus, problem: str, sentence: int | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.sentence = sentence


class ExplainServer(ThreadingHTTPServer):
    """Serves one page, and explains the two sentences that the page sends.

    The port is taken when the server is made; it answers once `models` is set and `serve_forever`
    runs.

    Args:
        port: of 127.0.0.1; 0 for any.

    Raises:
        UserError: the port cannot be used.
    """

    daemon_threads = True
    models: Models

    def __init__(self, port: int) -> None:
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            other = port + 1 if port < 2**16 - 1 else port - 1
            remedy = f"python -m splade_sts explain --port {other}"
            raise port_problem(port, error, remedy) from None
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._template = environment.from_string(PAGE.read_text(encoding="utf-8"))
        self.hosts = [f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")]

    def page(self, nonce: str) -> str:
        """The page; `nonce` marks its style and its script."""
        return self._template.render(
            nonce=nonce,
            folders={name: str(folder) for name, folder in self.models.folders.items()},
            examples=EXAMPLES,
            gold_max=GOLD_MAX,
            largest=LARGEST,
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a defect; a browser that went away is none."""
        if not isinstance(sys.exception(), OSError):
            print(without_commands(without_secrets(traceback.format_exc())), file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: ExplainServer
    server_version, sys_version = "splade-sts", ""
    timeout = 30  # seconds that a browser may be silent

    def do_GET(self) -> None:
        """The page, and nothing else."""
        try:
            self._check_host()
            if self.path != "/":
                raise Refused(HTTPStatus.NOT_FOUND, f"There is one page: http://{self._host()}/")
        except Refused as refused:
            self._send(refused.status, "text/plain", str(refused), "")
            return
        nonce = secrets.token_urlsafe(16)
        policy = f"; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
        self._send(HTTPStatus.OK, "text/html", self.server.page(nonce), f"{policy}; img-src data:")

    def do_POST(self) -> None:
        """What the models say of the two sentences in the body, as JSON."""
        try:
            self._check_host()
            status, answer = HTTPStatus.OK, asdict(self.server.models.explain(*self._sentences()))
        except SentenceError as error:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            answer = {"error": str(error), "sentence": error.sentence}
        except Refused as refused:
            status, answer = refused.status, {"error": str(refused), "sentence": refused.sentence}
        except OSError:  # the browser went away
            raise
        except Exception:
            self.server.handle_error(self.request, self.client_address)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            said = "This is a defect of the program. Its terminal shows what happened"
            answer = {"error": said, "sentence": None}
        self._send_json(status, answer)

    def _sentences(self) -> tuple[str, str]:
        """The two sentences in the body.

        Raises:
            Refused: it is not what the page sends.
        """
        if self.path != "/explain":
            raise Refused(HTTPStatus.NOT_FOUND, "Sentences go to /explain")
        if self.headers.get_content_type() != "application/json":  # what no other page can send
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected application/json")
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdecimal()):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Expected Content-Length")
        if len(size) > len(str(LARGEST)) or int(size) > LARGEST:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The sentences are too long; at most {LARGEST // 1024} KiB together",
            )
        try:
            found = json.loads(self.rfile.read(int(size)))
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "Expected JSON") from None
        names = ("sentence1", "sentence2")
        if not (isinstance(found, dict) and all(isinstance(found.get(one), str) for one in names)):
            raise Refused(HTTPStatus.BAD_REQUEST, f"Expected an object with {' and '.join(names)}")
        return found["sentence1"], found["sentence2"]

    def _host(self) -> str:
        return self.server.hosts[0]

    def _check_host(self) -> None:
        """Refuse what a page of another site asks, also by a name that it points to 127.0.0.1."""
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in self.server.hosts or (
            origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]
        ):
            raise Refused(HTTPStatus.FORBIDDEN, f"The page is at http://{self._host()}/")

    def _send_json(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(answer, allow_nan=False), "")

    def _send(self, status: HTTPStatus, kind: str, text: str, policy: str) -> None:
        content = text.encode()
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'none'{policy}",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: the page says what is wrong, and `handle_error` prints defects."""
