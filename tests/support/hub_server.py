"""A small Hugging Face Hub on loopback: one revision of some repositories, in the Hub's own API.

What is served is what `huggingface_hub` asks for: repository info, file trees, path info, and file
downloads with the Hub's headers (https://huggingface.co/docs/hub/api). Weights and Parquet files
are large files as on the Hub: their ETag is the SHA-256 of the content, the others' is Git's SHA-1.

It takes uploads too, of models of the user `USER`: who calls, new repositories, which files are
large, Git LFS's batch API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md) with
basic transfers, and commits. It does not speak Xet: callers set HF_HUB_DISABLE_XET.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".bin", ".safetensors", ".parquet")
USER = "me"  # whose token every token is


@dataclass
class Fault:
    """What goes wrong with requests that `pattern` matches (searched in `METHOD /path`).

    Attributes:
        pattern: regular expression.
        kind: `status` (answer `status` with `headers`), `drop` (close without an answer), `silent`
            (no answer), and for bodies: `reset` (TCP reset half-way), `cut` (closed half-way),
            `stall` (silent half-way), `corrupt` (one byte changed), `short` (an honest answer with
            half of the content), `garbage` (no JSON), `hang up` (reset half-way through the body of
            the request).
        times: how many requests it hits; None for all.
    """

    pattern: str
    kind: str
    times: int | None = None
    status: int = 0
    headers: dict | None = None


class HubServer:
    """Context manager that serves `repositories` at `REVISION`.

    They are given as `{("datasets" | "models", "org/name"): folder}`.

    `fault` is the fault switch. `requests` lists what was asked for, with the range of bytes where
    one was, and `tokens` the credentials that came with it. Of uploads, `objects` holds the large
    files that arrived, by SHA-256, `private` the names of private repositories and `commits` the
    paths that each commit brought; files that end in `large` are large ones.
    """

    def __init__(self, repositories: dict[tuple[str, str], Path]):
        self.repositories = repositories
        self.fault: Fault | None = None
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.private: set[str] = set()
        self.commits: list[list[str]] = []
        self.large: tuple[str, ...] = LARGE
        self.closing = threading.Event()
        self.lock = threading.Lock()

    def __enter__(self) -> "HubServer":
        self.created = tempfile.TemporaryDirectory(prefix="hub-")
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.created.cleanup()

    def hit(self, request: str) -> Fault | None:
        """The fault that this request meets; counts it."""
        with self.lock:
            fault = self.fault
            if fault is None or fault.times == 0 or not re.search(fault.pattern, request):
                return None
            if fault.times is not None:
                fault.times -= 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_) -> None:
        pass

    def _answer(self) -> None:
        path, length = unquote(urlsplit(self.path).path), int(self.headers["Content-Length"] or 0)
        asked = self.headers.get("Range")
        self.hub.requests.append(f"{self.command} {path}" + (f" {asked}" if asked else ""))
        if self.headers.get("Authorization"):
            self.hub.tokens.add(self.headers["Authorization"])
        self.fault = self.hub.hit(f"{self.command} {path}")
        if self.fault and self.fault.kind == "hang up":
            self.rfile.read(length // 2)
            return self._hang_up(reset=True)
        body = self.rfile.read(length)
        if self.fault and self.fault.kind == "status":
            headers = {"Content-Type": "application/json"} | (self.fault.headers or {})
            return self._send(
                self.fault.status, b'{"error": "forced by the test"}', headers, commit=False
            )
        if self.fault and self.fault.kind == "drop":
            return self._hang_up(reset=False)
        if self.fault and self.fault.kind == "silent":
            return self._wait()
        if take := self._upload(path):
            return take(body)
        api = re.fullmatch(
            r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?",
            path,
        )
        file = re.fullmatch(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            kind, name, call, revision, below = api.groups()
        elif file:
            kind, name, revision, below = file.groups("models")
            call = "resolve"
        else:
            return self._error(404, None, "no such page")
        folder = self.hub.repositories.get((kind, name))
        if folder is None:
            return self._error(404, "RepoNotFound", "Repository Not Found")
        if revision not in (None, "main", REVISION):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if call == "resolve":
            return self._file(folder / below)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if call in (None, "revision"):
            return self._json(
                {
                    "_id": "0",
                    "id": name,
                    "sha": REVISION,
                    "private": name in self.hub.private,
                    "gated": False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "siblings": [{"rfilename": path} for path in files],
                }
            )
        if call == "paths-info":
            names = (
                json.loads(body)["paths"]
                if body[:1] == b"{"
                else parse_qs(body.decode()).get("paths", [])
            )
            there = [path for path in names if (folder / path).exists()]
            return self._json([self._entry(folder, path) for path in there])
        top = folder / (below or "")
        if not top.is_dir():
            return self._error(404, "EntryNotFound", "no such folder")
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0]
        found = sorted(top.rglob("*") if recursive.lower() == "true" else top.iterdir())
        return self._json(
            [self._entry(folder, path.relative_to(folder).as_posix()) for path in found]
        )

    def _upload(self, path: str) -> Callable[[bytes], None] | None:
        """What takes the body of a request that belongs to an upload."""
        routes: dict[str, Callable[..., None]] = {
            "GET /api/whoami-v2": lambda _: self._json({"name": USER, "type": "user", "orgs": []}),
            "POST /api/validate-yaml": lambda _: self._json({"errors": [], "warnings": []}),
            "POST /api/repos/create": self._create,
            "POST /api/models/([^/]+/[^/]+)/preupload/main": self._preupload,
            r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
            "PUT /lfs/([0-9a-f]{64})": self._object,
            "POST /api/models/([^/]+/[^/]+)/commit/main": self._commit,
        }
        for route, take in routes.items():
            if found := re.fullmatch(route, f"{self.command} {path}"):
                if not self.headers.get("Authorization") and not path.startswith("/lfs/"):
                    return lambda _: self._error(401, None, "Invalid username or password.")
                if found.groups() and "/" in (name := found[1]) and not self._writable(name):
                    return lambda _: self._error(403, None, "you don't have the rights")
                return partial(take, *found.groups())
        return None

    def _writable(self, name: str) -> bool:
        return name.split("/")[0] == USER

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization'] or USER}/{asked['name']}"
        if not self._writable(name):
            return self._error(403, None, "you don't have the rights to create it")
        made = {"url": f"{self.hub.url}/{name}", "name": name}
        if ("models", name) in self.hub.repositories:
            return self._json(made | {"error": "You already created this model repo"}, 409)
        folder = Path(self.hub.created.name) / name
        folder.mkdir(parents=True)
        self.hub.repositories["models", name] = folder
        if asked.get("visibility") == "private":
            self.hub.private.add(name)
        return self._json(made)

    def _preupload(self, name: str, body: bytes) -> None:
        folder = self.hub.repositories["models", name]

        def answer(path: str) -> dict:
            large, there = path.endswith(self.hub.large), (folder / path).is_file()
            content = (folder / path).read_bytes() if there else b""
            oid = hashlib.sha256(content).hexdigest() if large else git_hash(content)
            mode = "lfs" if large else "regular"
            return {"path": path, "uploadMode": mode, "shouldIgnore": False} | (
                {"oid": oid} if there else {}
            )

        self._json({"files": [answer(one["path"]) for one in json.loads(body)["files"]]})

    def _batch(self, name: str, body: bytes) -> None:
        def answer(one: dict) -> dict:
            if one["oid"] in self.hub.objects:
                return one
            return {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}

        self._json(
            {"transfer": "basic", "objects": [answer(one) for one in json.loads(body)["objects"]]}
        )

    def _object(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(400, None, "another content than announced")
        self.hub.objects[oid] = body
        return self._json({})

    def _commit(self, name: str, body: bytes) -> None:
        folder, brought = self.hub.repositories["models", name], []
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                continue
            value = entry["value"]
            content = (
                base64.b64decode(value["content"])
                if entry["key"] == "file"
                else self.hub.objects[value["oid"]]
            )
            (folder / value["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / value["path"]).write_bytes(content)
            brought.append(value["path"])
        self.hub.commits.append(brought)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/1", "commitOid": REVISION})

    def _entry(self, folder: Path, path: str) -> dict:
        if (folder / path).is_dir():
            return {
                "type": "directory",
                "path": path,
                "size": 0,
                "oid": hashlib.sha1(path.encode()).hexdigest(),
            }
        content = (folder / path).read_bytes()
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
        if path.endswith(LARGE):
            entry["lfs"] = {
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 134,
            }
        return entry

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._error(404, "EntryNotFound", "Entry not found")
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest() if path.suffix in LARGE else git_hash(content)
        headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if self.fault and self.fault.kind == "short":
            content = content[: len(content) // 2]
        if self.fault and self.fault.kind == "corrupt":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked:
            start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(206, content[start : end + 1], headers)
        return self._send(200, content, headers)

    def _json(self, content, status: int = 200) -> None:
        data = json.dumps(content).encode()
        if self.fault and self.fault.kind == "garbage":
            data = b"<html>Welcome to the hotel's network</html>"
        self._send(status, data, {"Content-Type": "application/json"})

    def _error(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(
            status, json.dumps({"error": message}).encode(), headers, commit=code == "EntryNotFound"
        )

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], commit: bool = True
    ) -> None:
        self.send_response(status)
        headers = ({"X-Repo-Commit": REVISION} if commit else {}) | headers
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if not self.fault or self.fault.kind not in ("reset", "cut", "stall"):
            self.wfile.write(content)
            return
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if self.fault.kind == "stall":
            self._wait()
        else:
            time.sleep(0.05)  # the first half arrives before the connection goes
            self._hang_up(reset=self.fault.kind == "reset")

    def _hang_up(self, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.wfile.close()
        self.rfile.close()
        self.connection.close()
        self.close_connection = True

    def _wait(self) -> None:
        self.hub.closing.wait(60)
        self.close_connection = True


def git_hash(content: bytes) -> str:
    """SHA-1 of Git for a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
