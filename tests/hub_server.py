"""A small Hugging Face Hub on loopback: one revision of some repositories, in the Hub's own API and layout.

What is served is what `huggingface_hub` asks for: repository info, file trees, path info, and file downloads with the
Hub's headers (https://huggingface.co/docs/hub/api).
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Context manager that serves `repositories`: `{("datasets" | "models", "org/name"): folder}` at `REVISION`.

    `status` set to 401, 404 or 500 makes every answer that error, `gated` makes a 401 that of a gated repository.
    `requests` lists what was asked for.
    """

    def __init__(self, repositories: dict[tuple[str, str], Path]):
        self.repositories = repositories
        self.revision = REVISION
        self.status: int | None = None
        self.gated = False
        self.requests: list[str] = []

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.status:
            code = "GatedRepo" if self.hub.gated else {404: "RepoNotFound"}.get(self.hub.status)
            return self._error(self.hub.status, code, "forced by the test")
        api = re.fullmatch(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", path)
        file = re.fullmatch(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            kind, name, call, revision, below = api.groups()
        elif file:
            kind, name, call, revision, below = file[1] or "models", file[2], "resolve", file[3], file[4]
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
                {"_id": "0", "id": name, "sha": REVISION, "private": False, "gated": False, "disabled": False,
                 "downloads": 0, "likes": 0, "tags": [], "lastModified": "2026-01-01T00:00:00.000Z",
                 "siblings": [{"rfilename": path} for path in files]}
            )
        if call == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
            return self._json([self._entry(folder, path) for path in asked if (folder / path).exists()])
        top = folder / (below or "")
        if not top.is_dir():
            return self._error(404, "EntryNotFound", "no such folder")
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
        found = sorted(top.rglob("*") if recursive else top.iterdir())
        self._json([self._entry(folder, path.relative_to(folder).as_posix()) for path in found])

    def _entry(self, folder: Path, path: str) -> dict:
        if (folder / path).is_dir():
            return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
        content = (folder / path).read_bytes()
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._error(404, "EntryNotFound", "Entry not found")
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked:
            start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self._send(206, content[start : end + 1], headers)
        self._send(200, content, headers)

    def _json(self, content) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), headers, commit=code == "EntryNotFound")

    def _send(self, status: int, content: bytes, headers: dict[str, str], commit: bool = True) -> None:
        self.send_response(status)
        headers = ({"X-Repo-Commit": REVISION} if commit else {}) | headers
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
