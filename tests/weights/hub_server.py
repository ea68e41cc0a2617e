"""Enough of the Hugging Face hub on the loopback for the real client, and that client in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<rev>.+)")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
LARGE = (".safetensors", ".gguf", ".bin", ".pth")


@dataclass
class Hub:
    """What the server serves, and what it was asked."""

    repos: dict[str, dict[str, str]] = field(default_factory=dict)  # repository -> revision -> commit
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content
    gated: set[str] = field(default_factory=set)
    fail: list[int] = field(default_factory=list)  # statuses of the next answers
    down: set[str] = field(default_factory=set)  # paths whose content is not to be had
    spoilt: set[str] = field(default_factory=set)  # paths of which other bytes are sent than announced
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def publish(self, repo: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Commit `files` to a branch and return the commit."""
        content = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in sorted(files.items())})
        commit = hashlib.sha1((repo + content).encode()).hexdigest()
        self.repos.setdefault(repo, {})[revision] = commit
        self.files[commit] = files
        return commit

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request."""
        if self.fail:
            return self.fail.pop(0), {}, b""
        for pattern, reply in ((_INFO, self._info), (_TREE, self._tree), (_FILE, self._file)):
            if found := pattern.fullmatch(path):
                repo, rev = found["repo"], found["rev"]
                if repo not in self.repos:
                    return 404, {"X-Error-Code": "RepoNotFound"}, b""
                if repo in self.gated and pattern is not _INFO:
                    return 403, {"X-Error-Code": "GatedRepo"}, b""
                commit = self.repos[repo].get(rev, rev)
                if commit not in self.files:
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b""
                return reply(repo, commit, found.groupdict().get("path", ""))
        return 404, {}, b""

    def _info(self, repo: str, commit: str, _: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"id": repo, "sha": commit, "siblings": [], "private": False}).encode()

    def _tree(self, repo: str, commit: str, _: str) -> tuple[int, dict[str, str], bytes]:
        entries = []
        for path, data in self.files[commit].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            entries.append(entry)
        return 200, {}, json.dumps(entries).encode()

    def _file(self, repo: str, commit: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if path not in self.files[commit]:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        if path in self.down:
            return 501, {}, b""  # one that the client's own patience does not cover
        data = self.files[commit][path]
        etag = hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else _git(data)
        body = bytes([data[0] ^ 1]) + data[1:] if path in self.spoilt else data
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}, body


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that listens while the block runs."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            status, headers, body = hub.answer(path)
            first = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if first and status == 200:
                end = int(first[2]) if first[2] else len(body) - 1
                headers["Content-Range"] = f"bytes {first[1]}-{end}/{len(body)}"
                status, body = 206, body[int(first[1]) : end + 1]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = _reply

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


# The endpoint is read when huggingface_hub is imported, so the client lives in a process of its own: a call per line.
CLIENT = """
import json, sys, warnings
from zoo.errors import ZooError
from zoo.weights import hub, hub_client
hub_client.PAUSES = (0, 0)
for line in sys.stdin:
    name, args, options = json.loads(line)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = getattr(hub, name)(*args, **options)
            answer = {"found": [vars(f) for f in found] if isinstance(found, list) else [str(found.path), found.commit]}
        except ZooError as error:
            answer = {"error": type(error).__name__, "exit_code": error.exit_code, "text": str(error)}
    answer["told"] = [str(warning.message) for warning in told if warning.category is UserWarning]
    print(json.dumps(answer), flush=True)
"""


class Client:
    """The real client of huggingface_hub, behind ours, talking to the test's server."""

    def __init__(self, url: str, home: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", CLIENT]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def __call__(self, name: str, *args: Any, **options: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([name, args, options]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client died"
        return json.loads(line)

    def close(self) -> None:
        self.process.communicate(timeout=30)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
