"""A hub that lies, breaks off or is in trouble: nothing leaves the cache, and what is wrong is told with its file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.client import Client
from tests.hub.server import Hub, Lie, serving
from tests.hub.test_hub import FILES, SINGLE, Calls

pytestmark = pytest.mark.slow  # talks to a server

REPO = "acme/liar"
UP = "../../../../x.json"
WEIGHTS = "/model.safetensors"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    with serving() as hub:
        client = Client(hub.url, tmp_path_factory.mktemp("home"))
        yield hub, client
        client.close()


@pytest.fixture
def hub(served: tuple[Hub, Client]) -> Hub:
    served[0].clear()
    served[0].publish(REPO, FILES)
    return served[0]


@pytest.fixture
def client(served: tuple[Hub, Client], hub: Hub, tmp_path: Path) -> Calls:
    return Calls(served[1], tmp_path / "deep" / "down" / "in" / "cache")


def outside(cache: Path) -> list[Path]:
    """Files beside the cache, above it, or below it where no file of a cache lies."""
    top = cache.parents[2]
    known = ("blobs", "refs", "snapshots", "trees")
    return [
        file
        for file in top.rglob("*")
        if not file.is_dir()
        and not (file.is_relative_to(cache) and (file.parent == cache or ".locks" in file.parts))
        and not any(part in known for part in file.relative_to(cache).parts[1:2] if file.is_relative_to(cache))
    ]


ETAGS = [UP, "/etc/x", "a/b", "..", ".", "a\\b", "x" * 300, "W/../../x", ".hidden", "a b", '"']
COMMITS = [UP, "..", "main", "", "0" * 39, "0" * 41, "A" * 40]


@pytest.mark.parametrize("etag", ETAGS)
@pytest.mark.parametrize("header", ["ETag", "X-Linked-ETag"])
def test_an_etag_that_can_name_no_file_is_refused(hub: Hub, client: Calls, header: str, etag: str) -> None:
    for end in (WEIGHTS, "/config.json"):
        hub.lies[end] = Lie(headers={header: f'"{etag}"'})
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] == "NetworkError", answer
    assert "cannot name a file" in answer["text"]
    assert "/acme/liar/resolve/" in answer["text"]
    assert outside(client.cache) == []


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("status", [200, 404])
def test_a_commit_that_is_none_is_refused(hub: Hub, client: Calls, commit: str, status: int) -> None:
    hub.lies["/config.json"] = Lie(status, headers={"X-Repo-Commit": commit, "X-Error-Code": "EntryNotFound"})
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] == "NetworkError", answer
    assert "names the commit" in answer["text"]
    assert outside(client.cache) == []


@pytest.mark.parametrize("sha", [*COMMITS, None, 5, {}, []])
def test_a_branch_that_stands_for_no_commit_is_refused(hub: Hub, client: Calls, sha: Any) -> None:
    hub.lies["/revision/main"] = Lie(body=json.dumps({"id": REPO, "sha": sha}).encode())
    answer = client.locate(f"hf://{REPO}")
    assert (answer["error"], "names the commit" in answer["text"]) == ("NetworkError", True), answer
    assert outside(client.cache) == []


ENTRY = {"type": "file", "size": 2, "oid": "0" * 40}
PATHS = [
    UP,
    "/etc/passwd",
    "a//b",
    "a/./b",
    "a/../b",
    "..",
    ".",
    "",
    "a\\..\\b",
    "a\0b",
    "\x1b[2J",
    "x" * 2000,
    5,
    None,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path)[:20])
def test_a_listing_that_leads_elsewhere_is_refused(hub: Hub, client: Calls, path: Any) -> None:
    tree = [ENTRY | {"path": "config.json"}, ENTRY | {"path": path}]
    hub.lies[f"/tree/{hub.repos[REPO]['main']}"] = Lie(body=json.dumps(tree).encode())
    answer = client.locate(f"hf://{REPO}")
    assert (answer["error"], "which is not a file of a repository" in answer["text"]) == ("NetworkError", True), answer
    assert outside(client.cache) == []


LISTINGS: list[Any] = [
    {}, 5, None, "x", [5], [[]], [{}], [{"path": "a"}], [ENTRY | {"path": "a", "size": "big"}],
    [ENTRY | {"path": "a", "size": -1}], [ENTRY | {"path": "a", "lfs": 5}], [ENTRY | {"path": "a", "lfs": {}}],
    [ENTRY | {"path": "a", "lfs": {"oid": UP, "size": 1, "pointerSize": 1}}], [ENTRY | {"path": "a", "oid": UP}],
    [ENTRY | {"path": "a", "type": 3}], [ENTRY | {"path": "a"}] * 2, [ENTRY | {"path": "a", "xetHash": "../x"}],
]  # fmt: skip


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda found: json.dumps(found)[:60])
def test_a_listing_of_another_form_is_refused_in_our_words(hub: Hub, client: Calls, listing: Any) -> None:
    hub.lies[f"/tree/{hub.repos[REPO]['main']}"] = Lie(body=json.dumps(listing).encode())
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] in ("NetworkError", "CheckpointError"), answer
    assert outside(client.cache) == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"5", b"[]", b'"x"'])
@pytest.mark.parametrize("end", ["/revision/main", "/tree/COMMIT"])
def test_an_answer_that_is_not_what_was_asked_for_is_told(hub: Hub, client: Calls, end: str, body: bytes) -> None:
    hub.lies[end.replace("COMMIT", hub.repos[REPO]["main"])] = Lie(body=body)
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] in ("NetworkError", "CheckpointError"), answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_answer_without_end_is_cut_short(hub: Hub, client: Calls, is_chunked: bool) -> None:
    hub.lies["/revision/main"] = Lie(body=b" " * (65 << 20), is_chunked=is_chunked)
    assert "is longer than 67,108,864 bytes" in client.locate(f"hf://{REPO}")["text"]


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (401, "NetworkError", "hf auth login"),
        (403, "NetworkError", "hf auth login"),
        (410, "NetworkError", ""),
        (451, "NetworkError", ""),
        (501, "Trouble", "try again later"),
        (507, "Trouble", "try again later"),
    ],
)
def test_a_hub_that_answers_is_not_offline(hub: Hub, client: Calls, status: int, error: str, hint: str) -> None:
    hub.lies[WEIGHTS] = Lie(status)
    answer = client.locate(f"hf://{REPO}")
    assert (answer["error"], answer["exit_code"]) == (error, 3), answer
    assert f"{REPO}: model.safetensors: the hub answered {status}" in answer["text"]
    assert "offline" not in answer["text"]
    assert hint in answer["text"]


def test_a_file_that_is_listed_and_not_there_is_named(hub: Hub, client: Calls) -> None:
    hub.lies[WEIGHTS] = Lie(404, headers={"X-Error-Code": "EntryNotFound"})
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] == "CheckpointError"
    assert f"{REPO}: model.safetensors: the hub answered 404: the repository lacks a file" in answer["text"]


def test_a_hub_that_wants_to_be_waited_for_is_not(hub: Hub, client: Calls) -> None:
    for headers in ({"Retry-After": "86400"}, {"RateLimit": '"api";r=0;t=86400'}):
        hub.lies[WEIGHTS] = Lie(429, headers=headers)
        answer = client.locate(f"hf://{REPO}")
        assert (
            "/model.safetensors: the hub answered 429: too many requests, ask again in 86,400 seconds" in answer["text"]
        )


def test_redirects_without_end_are_told(hub: Hub, client: Calls) -> None:
    path = f"/{REPO}/resolve/{hub.repos[REPO]['main']}{WEIGHTS}"
    hub.lies[WEIGHTS] = Lie(302, headers={"Location": path})
    answer = client.locate(f"hf://{REPO}")
    assert (answer["error"], answer["exit_code"]) == ("NetworkError", 3)
    assert "model.safetensors" in answer["text"]
    assert "redirects" in answer["text"]


def test_an_answer_that_breaks_off_is_told_with_the_file(hub: Hub, client: Calls) -> None:
    hub.lies[WEIGHTS] = Lie(methods="GET", body=b"", headers={"Content-Length": "100"}, is_cut=True)
    answer = client.locate(f"hf://{REPO}")  # which the library tries six times, a second apart
    assert (answer["error"], answer["exit_code"]) == ("Trouble", 3), answer
    assert f"{REPO}: model.safetensors: the hub stopped in the middle of its answer" in answer["text"]
    assert "offline" not in answer["text"]


def test_a_listing_of_pages_without_end_is_given_up(hub: Hub, client: Calls) -> None:
    end = f"/tree/{hub.repos[REPO]['main']}"
    page = json.dumps([ENTRY | {"path": "config.json"}]).encode()
    again = f'<{hub.url}/api/models/{REPO}{end}?cursor=x>; rel="next"'
    hub.lies[end] = Lie(body=page, headers={"Link": again})
    few = "from zoo.hub import guard\nguard.MAX_PAGES = found = {}"
    client.client.python(few.format(9))
    try:
        assert "the hub answered 9 times, and never completely" in client.locate(f"hf://{REPO}")["text"]
    finally:
        client.client.python(few.format(1000))


def test_another_size_than_announced_is_told_with_the_file(hub: Hub, client: Calls) -> None:
    hub.lies[WEIGHTS] = Lie(body=SINGLE["model.safetensors"][:-10], methods="GET")
    answer = client.locate(f"hf://{REPO}")
    assert answer["error"] in ("NetworkError", "CheckpointError"), answer
    assert "model.safetensors" in answer["text"]
    assert "size" in answer["text"]
    hub.lies.clear()
    assert "found" in client.locate(f"hf://{REPO}")


def test_what_the_disk_does_not_take_is_told_with_file_and_folder(hub: Hub, client: Calls) -> None:
    code = """if True:
        import resource
        from zoo.errors import ZooError
        from zoo.hub.place import locate
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            locate(source, cache_dir=cache)
        except ZooError as error:
            found = [type(error).__name__, str(error)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    """
    error, text = client.client.python(code, source=f"hf://{REPO}", cache=str(client.cache))
    assert error == "NetworkError"
    assert text.startswith(f"{REPO}: ")
    assert "model.safetensors" in text
    assert f"{client.cache} cannot store it: File too large\nfree some space there" in text


def test_what_a_killed_pull_left_goes_with_the_next(hub: Hub, client: Calls, tmp_path: Path) -> None:
    import fcntl

    folder = client.cache / f"models--{REPO.replace('/', '--')}"
    locks = client.cache / ".locks" / folder.name
    for place in (folder / "blobs", folder / "trees", locks):
        place.mkdir(parents=True)
    stale = [folder / "blobs" / f"{'a' * 64}.0123abcd.incomplete", folder / ".ref.999999999.incomplete"]
    stale += [folder / "trees" / "tmpx.tmp", folder / "blobs" / f"{'b' * 64}.0123abcd.incomplete"]
    kept = [folder / "blobs" / f"{'c' * 64}.0123abcd.incomplete", folder / "blobs" / ("d" * 64)]
    kept += [folder / f".ref.{os.getpid()}.incomplete"]
    for file in (*stale, *kept, locks / f"{'a' * 64}.lock", locks / f"{'c' * 64}.lock"):
        file.write_bytes(b"x")
    with (locks / f"{'c' * 64}.lock").open() as held:  # somebody is fetching it now
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "found" in client.locate(f"hf://{REPO}")
    assert [file.exists() for file in (*stale, *kept)] == [False] * len(stale) + [True] * len(kept)
