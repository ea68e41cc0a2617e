"""What the hub answers, looked at one answer at a time; and what each error of its library means to a user."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import errors

from zoo.errors import CheckpointError, NetworkError, UsageError
from zoo.hub import guard as module
from zoo.hub.card import Facts, card_text, license_in, metadata_in
from zoo.hub.errors import Absent, Telling, Trouble, Unreachable
from zoo.hub.guard import Guard, is_plain_path, look

API = "/api/models/acme/tiny"
TREE, FILE = f"{API}/tree/{'0' * 40}", f"/acme/tiny/resolve/{'0' * 40}/sub/model%20a.safetensors"


def response(path: str = API, *, status: int = 200, method: str = "GET", body: Any = b"{}", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = httpx2.Request(method, f"https://hub.test{path}")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, stream=httpx2.ByteStream(content), request=request)


ENTRY = {"type": "file", "path": "a/b.json", "size": 2, "oid": "0" * 40}
PASSED: list[dict[str, Any]] = [
    {},
    {"X_Repo_Commit": "0123456789abcdef" * 2 + "01234567"},
    {"path": FILE, "ETag": '"0123-a_B.c=+"'},
    {"path": FILE, "ETag": 'W/"abc"'},
    {"path": FILE, "ETag": "a" * 200},
    {"path": FILE, "X_Linked_ETag": '"abc"', "body": b"not JSON"},
    {"ETag": '"../x"'},  # of no file
    {"path": FILE, "status": 429, "Retry_After": "120"},
    {"status": 500, "Retry_After": "121", "body": b"not JSON"},
    {"status": 404, "body": b"not JSON"},
    {"method": "POST", "body": b"not JSON"},
    {"path": "/api/whoami", "body": b"not JSON"},
    {"body": {"sha": "0" * 40}},
    {"body": {"sha": None}},
    {"path": TREE, "body": [ENTRY, ENTRY | {"path": "x" * 1000, "lfs": {"oid": "f" * 64}, "xetHash": "0" * 64}]},
    {"path": TREE, "body": [ENTRY | {"oid": None, "lfs": None}]},
    {"body": [5, {"path": "../x"}]},  # no listing
    {"path": TREE, "body": {"path": "../x"}},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"X_Repo_Commit": "main"}, "names the commit 'main'"),
    ({"X_Repo_Commit": "0" * 39}, "names the commit"),
    ({"X_Repo_Commit": "0" * 41}, "names the commit"),
    ({"X_Repo_Commit": ""}, "names the commit ''"),
    ({"path": FILE, "ETag": '"../x"'}, "the ETag '../x'"),
    ({"path": FILE, "ETag": ""}, "the ETag ''"),
    ({"path": FILE, "ETag": ".a"}, "the ETag '.a'"),
    ({"path": FILE, "ETag": "a" * 201}, "the ETag"),
    ({"path": FILE, "X_Linked_ETag": '"a/b"'}, "the X-Linked-ETag 'a/b'"),
    ({"path": FILE, "status": 429, "Retry_After": "121"}, "429: .* 121 seconds"),
    ({"path": FILE, "status": 429, "Retry_After": " 9000 ", "RateLimit": '"a";r=0;t=3'}, "9,000 seconds"),
    ({"path": FILE, "status": 429, "RateLimit": '"a";t=3, "b";r=0;t = 500'}, "500 seconds"),
    ({"body": b"not JSON"}, "is not JSON"),
    ({"body": b"[" * 100_000}, "is not JSON"),
    ({"status": 299, "body": b"not JSON"}, "is not JSON"),
    ({"body": {"sha": "main"}}, "names the commit 'main'"),
    ({"body": {"sha": 5}}, "names the commit 5"),
    ({"path": TREE, "body": [5]}, "lists 5, "),
    ({"path": TREE, "body": [ENTRY, {"path": "../x"}]}, "lists '../x', "),
    ({"path": TREE, "body": [ENTRY | {"path": "x" * 1001}]}, "lists "),
    ({"path": TREE, "body": [ENTRY | {"oid": "0" * 41}]}, "a/b.json has the hash '0"),
    ({"path": TREE, "body": [ENTRY | {"oid": 5}]}, "a/b.json has the hash 5"),
    ({"path": TREE, "body": [ENTRY | {"lfs": {"oid": "../x"}}]}, r"the hash '../x'"),
    ({"path": TREE, "body": [ENTRY | {"lfs": 5}]}, "the hash 5"),
    ({"path": TREE, "body": [ENTRY | {"xetHash": "x"}]}, "the hash 'x'"),
]


@pytest.mark.parametrize("answer", PASSED, ids=range(len(PASSED)))
def test_an_answer_of_the_right_form_passes(answer: dict[str, Any]) -> None:
    look(response(**answer))


@pytest.mark.parametrize(("answer", "told"), REFUSED, ids=range(len(REFUSED)))
def test_an_answer_that_leads_elsewhere_or_nowhere_is_refused(answer: dict[str, Any], told: str) -> None:
    with pytest.raises(NetworkError, match=told):
        look(response(**answer))


@pytest.mark.parametrize("path", ["a", "a/b.c", ".a/..b", "x" * 1000, "é"])
def test_a_plain_path_is_one(path: str) -> None:
    assert is_plain_path(path)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "a/..", "a/./b", "a\\b", "a\n", "x" * 1001, None, 5])
def test_any_other_path_is_none(path: object) -> None:
    assert not is_plain_path(path)


@pytest.mark.parametrize(("path", "most"), [(API, "MAX_PAGES"), (FILE, "MAX_PARTS")])
def test_a_question_is_answered_so_often_at_most(path: str, most: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, most, 3)
    hook = Guard()
    for _ in range(3):
        hook(response(path))
        hook(response(path + "x"))
    with pytest.raises(NetworkError, match="answered 3 times"):
        hook(response(path))


def test_an_answer_has_so_many_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 9)
    look(response(body=b'"1234567"'))
    with pytest.raises(NetworkError, match="longer than 9 bytes"):
        look(response(body=b'"12345678"'))


def test_every_client_of_the_library_is_guarded_once_and_its_maker_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    made = httpx2.Client(event_hooks={"response": [print], "request": [len]})
    sessions, factories = [httpx2.Client()], []
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: sessions[-1])
    monkeypatch.setattr(huggingface_hub, "set_client_factory", factories.append)
    monkeypatch.setattr(module, "_factory", lambda: lambda: made)
    module.guard()
    sessions.append(factories[0]())
    assert sessions[-1] is made
    *others, hook = made.event_hooks["response"]
    assert (others, made.event_hooks["request"]) == ([print], [len])
    hook.answers["/x"] = 5
    module.guard()  # a question of its own: it is counted anew
    assert (len(factories), hook.answers) == (1, {})


def http(kind: type[Exception], status: int, path: str = FILE) -> Exception:
    return kind("said", response=response(path, status=status))  # type: ignore[call-arg]  # of the library's errors


def failure(kind: type[Exception], *words: Any, path: str | None = FILE) -> Exception:
    error = kind(*words)
    if path:
        error.request = httpx2.Request("GET", f"https://hub.test{path}")  # type: ignore[attr-defined]
    return error


PLACE = "acme/tiny: sub/model a.safetensors"
ERRORS: list[tuple[Exception, type[Exception], str, str]] = [
    (errors.HFValidationError("said"), UsageError, "said", ""),
    (http(errors.GatedRepoError, 403), NetworkError, "acme/tiny is gated", "https://huggingface.co/acme/tiny"),
    (http(errors.RepositoryNotFoundError, 404), Absent, "acme/tiny is not on the hub", "hf auth login"),
    (http(errors.RemoteEntryNotFoundError, 404), CheckpointError, f"{PLACE}: the hub answered 404", ""),
    (http(errors.HfHubHTTPError, 401), NetworkError, f"{PLACE}: the hub answered 401", "log in: hf auth login"),
    (http(errors.HfHubHTTPError, 403), NetworkError, f"{PLACE}: the hub answered 403", "may read it"),
    (http(errors.HfHubHTTPError, 429), NetworkError, f"{PLACE}: the hub answered 429", "wait a while"),
    (http(errors.HfHubHTTPError, 410), NetworkError, f"{PLACE}: the hub answered 410", ""),
    (http(errors.HfHubHTTPError, 499), NetworkError, f"{PLACE}: the hub answered 499", ""),
    (http(errors.HfHubHTTPError, 500), Trouble, f"{PLACE}: the hub answered 500", "try again later"),
    (http(errors.HfHubHTTPError, 507, API), Trouble, "acme/tiny: the hub answered 507", "try again later"),
    *(
        (failure(kind, "x"), Unreachable, "acme/tiny: the hub cannot be reached", "")
        for kind in (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
    ),
    (errors.LocalEntryNotFoundError("x"), Unreachable, "acme/tiny: the hub cannot be reached", ""),
    (errors.OfflineModeIsEnabled("x"), Unreachable, "cannot be reached: HF_HUB_OFFLINE is set", ""),
    (failure(httpx2.ReadTimeout, "late"), Trouble, f"{PLACE}: ", "try again later"),
    (failure(httpx2.ReadError, "x", path=None), Trouble, "acme/tiny: ", "try again later"),
    (OSError("odd"), NetworkError, "acme/tiny was not fetched: odd", ""),
    (RuntimeError("odd"), NetworkError, "acme/tiny was not fetched: odd", ""),
    (PermissionError(errno.EACCES, "no"), NetworkError, "acme/tiny: a.bin: /cache ", ""),
    *(
        (OSError(number, "full"), NetworkError, "acme/tiny: a.bin: /cache ", "free some space")
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    ),
]


@pytest.mark.parametrize(("error", "kind", "words", "hint"), ERRORS, ids=range(len(ERRORS)))
def test_an_error_is_told_by_its_kind(error: Exception, kind: type, words: str, hint: str) -> None:
    told: Any = Telling("acme/tiny", None, Path("/cache"), ["a.bin"]).of(error, None)
    assert type(told) is kind
    assert words in str(told)
    assert (hint in told.hint) if hint else told.hint == ""


def test_a_disk_is_told_without_files_where_none_is_missing() -> None:
    told = Telling("acme/tiny", None, Path("/cache")).of(OSError(errno.EIO, "broken"), None)
    assert str(told).startswith("acme/tiny: /cache ")
    assert str(told).endswith("broken")


def test_a_revision_that_is_not_there_is_met_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Api:
        def __init__(self, token: object = None) -> None:
            self.token = token

        def list_repo_refs(self, name: str) -> Any:
            assert (self.token, name) == ("secret", "acme/tiny")
            named = [type("Ref", (), {"name": name}) for name in ("main", "v1.0")]
            return type("Refs", (), {"branches": named[:1], "tags": named[1:]})

    error = http(errors.RevisionNotFoundError, 404)
    telling = Telling("acme/tiny", "secret", Path("/cache"))
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    told: Any = telling.of(error, "v1.1")
    assert "no revision 'v1.1'" in told.what
    assert "v1.0" in told.why
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    assert telling.of(error, None).why == ""  # type: ignore[union-attr]


HEAD = "---\nlicense: mit\n---\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEAD, {"license": "mit"}),
        (HEAD.replace("\n", "\r\n"), {"license": "mit"}),
        (HEAD + "x" * (1_000_000 - len(HEAD)), {"license": "mit"}),
        (HEAD + "x" * (1_000_001 - len(HEAD)), {}),
        ("x" + HEAD, {}),
        ("---\na: &b 1\nc: *b\n---\n", {}),
        ("---\n- a\n---\n", {}),
        ("---\na: [\n---\n", {}),
        ("---\na: !!python/none x\n---\n", {}),
    ],
    ids=range(9),
)
def test_the_head_of_a_card_is_plain_metadata_of_a_file_of_a_megabyte(tmp_path: Path, text: str, found: Any) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    assert metadata_in(tmp_path / "README.md") == found
    assert license_in(tmp_path / "README.md") == found.get("license", "")


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: other\nlicense_name: my-own.1", "my-own.1"),
        ("license: other", ""),
        ("license: mit\nlicense_name: x", "mit"),
        ("license: [mit]", ""),
        (f"license: {'a' * 64}", "a" * 64),
        (f"license: {'a' * 65}", ""),
        ("license: -x", ""),
    ],
)
def test_a_licence_is_one_name(tmp_path: Path, head: str, licence: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n")
    assert license_in(tmp_path / "README.md") == licence
    assert metadata_in(tmp_path / "none.md") == {}


def test_a_card_says_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    bare = Facts("a/b", "f", "", "hf", 1234, 5678, "bfloat16")
    full = Facts("a/b", "f", "sum|mary", "hf", 1234, 5678, "bfloat16", "My Own (2)", "c/d", "0" * 40)
    (tmp_path / "bare.md").write_text(card_text(bare))
    (tmp_path / "full.md").write_text(card_text(full))
    assert metadata_in(tmp_path / "bare.md") == {"library_name": "zoo", "tags": ["f"]}
    assert metadata_in(tmp_path / "full.md") == {
        "library_name": "zoo", "license": "other", "license_name": "my-own-2", "base_model": "c/d", "tags": ["f"],
    }  # fmt: skip
    for text in (card_text(bare), card_text(full)):
        assert "# b\n" in text
        assert "1,234" in text
        assert "5,678 bytes" in text
        assert "bfloat16" in text
    assert card_text(bare).count("not stated") == 2
    assert "f: sum mary" in card_text(full)
    assert f"c/d at commit {'0' * 40}" in card_text(full)
    known = Facts("a/b", "f", "", "hf", 1, 1, "x", "apache-2.0")
    assert "license: apache-2.0" in card_text(known)
    assert "license_name" not in card_text(known)
