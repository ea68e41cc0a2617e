"""Enough of the Hugging Face hub on the loopback for the real client."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<rev>.+)")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
_ABOUT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?P<refs>/refs)?")
_WRITE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit|branch)/(?P<rev>.+)")
_LFS = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
TOKEN = "hf_of_the_tests"  # of the user `acme`
LARGE = (".safetensors", ".gguf", ".bin", ".pth")


@dataclass
class Lie:
    """What is changed in an answer."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    methods: str = "HEAD GET"
    is_cut: bool = False  # the connection is closed before the end
    is_chunked: bool = False  # the length is not told


@dataclass
class Hub:
    """What the server serves, and what it was asked."""

    repos: dict[str, dict[str, str]] = field(default_factory=dict)  # repository -> revision -> commit
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content
    gated: set[str] = field(default_factory=set)
    fail: list[int] = field(default_factory=list)  # statuses of the next answers
    down: set[str] = field(default_factory=set)  # paths whose content is not to be had
    spoilt: set[str] = field(default_factory=set)  # paths of which other bytes are sent than announced
    lies: dict[str, Lie] = field(default_factory=dict)  # end of a path -> what is answered to it in place of the truth
    requests: list[str] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)  # sha256 -> content of large files
    messages: dict[str, str] = field(default_factory=dict)  # commit -> what it says
    moves: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)  # pushed by others before the next commit
    spoils_uploads: bool = False  # other bytes are kept than were sent
    url: str = ""

    def clear(self) -> None:
        """Forget everything but the address."""
        self.__dict__.update(Hub(url=self.url).__dict__)

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
        if path == "/api/whoami-v2":
            return 200, {}, b'{"name": "acme", "type": "user"}'
        if found := _ABOUT.fullmatch(path):
            return self._about(found["repo"], bool(found["refs"]))
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

    def take(self, path: str, body: bytes, token: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request that writes."""
        if path == "/api/validate-yaml":
            is_wrong = "license: nonsense" in json.loads(body)["content"]
            told = {"errors": [{"message": "no such licence"}] if is_wrong else [], "warnings": []}
            return 400 if is_wrong else 200, {}, json.dumps(told).encode()
        if path.startswith("/upload/"):
            self.stored[path.removeprefix("/upload/")] = body
            return 200, {}, b""
        if token != TOKEN:
            return 401 if not token else 403, {}, b'{"error": "no"}'
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if found := _LFS.fullmatch(path):
            return self._batch(json.loads(body))
        if found := _WRITE.fullmatch(path):
            if found["repo"] not in self.repos:
                return 404, {"X-Error-Code": "RepoNotFound"}, b""
            return getattr(self, f"_{found['what']}")(found["repo"], found["rev"], body)
        return 404, {}, b""

    def _create(self, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        repo = f"{asked['organization'] or 'acme'}/{asked['name']}"
        if repo in self.repos:
            return 409, {}, json.dumps({"url": f"{self.url}/{repo}"}).encode()
        if asked.get("visibility") == "private":
            self.private.add(repo)
        self.publish(repo, {".gitattributes": b"*.safetensors filter=lfs"})
        return 200, {}, json.dumps({"url": f"{self.url}/{repo}"}).encode()

    def _batch(self, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        objects = [
            o if o["oid"] in self.stored else o | {"actions": {"upload": {"href": f"{self.url}/upload/{o['oid']}"}}}
            for o in asked["objects"]
        ]
        return 200, {}, json.dumps({"transfer": "basic", "objects": objects}).encode()

    def _branch(self, repo: str, branch: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if branch in self.repos[repo]:
            return 409, {}, b"{}"
        self.repos[repo][branch] = self.repos[repo]["main"]
        return 200, {}, b"{}"

    def _preupload(self, repo: str, branch: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        there = self.files[self.repos[repo][branch]]
        files = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            | ({"oid": _oid(f["path"], there[f["path"]])} if f["path"] in there else {})
            for f in json.loads(body)["files"]
        ]
        return 200, {}, json.dumps({"files": files}).encode()

    def _commit(self, repo: str, branch: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        for name, files in self.moves:
            self.publish(name, self.files[self.repos[name][branch]] | files, branch)
        self.moves.clear()
        lines = [json.loads(line) for line in body.splitlines()]
        header, head = lines[0]["value"], self.repos[repo][branch]
        if header.get("parentCommit", head) != head:
            return 412, {}, b'{"error": "the branch has moved"}'
        files = dict(self.files[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]][:: -1 if self.spoils_uploads else 1]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        commit = self.publish(repo, files, branch)
        self.messages[commit] = header["summary"]
        return 200, {}, json.dumps({"commitOid": commit, "commitUrl": f"{self.url}/{repo}/commit/{commit}"}).encode()

    def _about(self, repo: str, refs: bool) -> tuple[int, dict[str, str], bytes]:
        if repo not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if not refs:
            return self._info(repo, self.repos[repo]["main"], "")
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in self.repos[repo].items()
        ]
        return 200, {}, json.dumps({"branches": branches, "converts": [], "tags": []}).encode()

    def _info(self, repo: str, commit: str, _: str) -> tuple[int, dict[str, str], bytes]:
        return (
            200,
            {},
            json.dumps({"id": repo, "sha": commit, "siblings": [], "private": repo in self.private}).encode(),
        )

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
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command in ("POST", "PUT"):
                status, headers, body = hub.take(path, sent, (self.headers.get("Authorization") or "")[7:])
            else:
                status, headers, body = hub.answer(path)
            first = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if first and status == 200:
                end = int(first[2]) if first[2] else len(body) - 1
                headers["Content-Range"] = f"bytes {first[1]}-{end}/{len(body)}"
                status, body = 206, body[int(first[1]) : end + 1]
            lies = (lie for end, lie in hub.lies.items() if path.endswith(end) and self.command in lie.methods)
            lie = next(lies, Lie())
            body = body if lie.body is None else lie.body
            length = {"Transfer-Encoding": "chunked"} if lie.is_chunked else {"Content-Length": str(len(body))}
            self.send_response(lie.status or status)
            for name, value in {**headers, **length, **lie.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if lie.is_cut:
                self.close_connection = True
            if self.command != "HEAD":
                sent = body[: len(body) // 2] if lie.is_cut else body
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent) if lie.is_chunked else sent)

        do_GET = do_HEAD = do_POST = do_PUT = _reply

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


def _oid(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else _git(data)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
