"""A hub on this machine: as much of huggingface.co's protocol as fetching files needs, with faults
on demand."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 1000  # bytes from which a file counts as large, and has a sha256 rather than git's hash


class Hub(ThreadingHTTPServer):
    """`with Hub(commit) as hub:` serves `hub.files` (content by name) as every repository, at that
    commit, on `hub.address`.

    faults   by request (list, head, get): a list of faults, each met once, or a fault by name of
             file, met always. A fault is a status, "drop" (no answer), "cut" (half of the content),
             or "wrong bytes"
    refusal  status and X-Error-Code of every answer, unless the request has `token`
    gotten   names of the files asked for; `ranges` their Range headers
    """

    daemon_threads = True

    def __init__(self, commit: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commit, self.files, self.faults = commit, {}, {}
        self.refusal, self.token, self.gotten, self.ranges = None, None, [], []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Print nothing: faults close connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("head")

    def do_GET(self) -> None:
        self._answer("get")

    def _answer(self, request: str) -> None:
        path = unquote(urlsplit(self.path).path)
        name = path.partition("/resolve/")[2].partition("/")[2]
        request = request if name else "list"
        if self.server.refusal and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            code, reason = self.server.refusal
            return self._send(code, b"", {"X-Error-Code": reason} if reason else {})
        fault = self._fault(request, name)
        if fault == "drop":
            self.close_connection = True
            return self.connection.close()
        if isinstance(fault, int):
            return self._send(fault, b"")
        if request == "list":
            return self._send(200, json.dumps(self._listing()).encode(), {"Content-Type": "application/json"})
        return self._send_file(request, name, fault)

    def _fault(self, request: str, name: str) -> int | str | None:
        faults = self.server.faults.get(request, [])
        if isinstance(faults, dict):
            return faults.get(name)
        return faults.pop(0) if faults else None

    def _listing(self) -> dict:
        files = [_described(name, content) for name, content in sorted(self.server.files.items())]
        return {"id": "org/chats", "sha": self.server.commit, "siblings": files}

    def _send_file(self, request: str, name: str, fault: str | None) -> None:
        content = self.server.files[name]
        described = _described(name, content)
        headers = {
            "ETag": f'"{described["lfs"]["sha256"] if "lfs" in described else described["blobId"]}"',
            "X-Repo-Commit": self.server.commit,
            "Accept-Ranges": "bytes",
        }
        if request == "head":
            return self._send(200, b"", headers | {"Content-Length": str(len(content))})
        self.server.gotten.append(name)
        self.server.ranges.append(self.headers.get("Range"))
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if fault == "wrong bytes":
            content = bytes(len(content))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        sent = content[start:]
        headers["Content-Length"] = str(len(sent))
        if fault == "cut":
            sent = sent[: len(sent) // 2]
            self.close_connection = True
        return self._send(206 if start else 200, sent, headers)

    def _send(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _described(name: str, content: bytes) -> dict:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    described = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE:
        described["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return described
