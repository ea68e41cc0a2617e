"""What zoo asks the library of the hub, word for word, and what it makes of the answers."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub.test_answers import http
from zoo.errors import NetworkError, UsageError
from zoo.hub import client as module
from zoo.hub import folder
from zoo.hub.client import HubClient, parse_uri
from zoo.hub.errors import Unreachable
from zoo.hub.folder import cache_folder, remove_leftovers
from zoo.hub.listing import HubFile

COMMIT = "0123456789" * 4
NAME = "acme/tiny"


class Hub:
    """What answers in the library's place, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}

    def library(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any, **options: Any) -> Any:
            self.asked.append((name, *args, *sorted(options.items())))
            answer = self.answers.get(name)
            if isinstance(answer, list) and answer and isinstance(answer[0], Exception | str):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    def api(self, *, token: Any = None) -> Any:
        names = "model_info list_repo_refs list_repo_tree create_repo create_branch create_commit whoami"
        return SimpleNamespace(**{name: self.library(f"{name} as {token}") for name in names.split()})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()
    monkeypatch.setattr(module, "guard", lambda: None)
    monkeypatch.setattr(huggingface_hub, "HfApi", found.api)
    for name in ("snapshot_download", "try_to_load_from_cache", "get_cached_repo_tree"):
        monkeypatch.setattr(huggingface_hub, name, found.library(name))
    return found


@pytest.fixture
def client(tmp_path: Path) -> HubClient:
    return HubClient(NAME, "secret", tmp_path)


def test_a_branch_is_asked_for_its_commit(hub: Hub, client: HubClient) -> None:
    hub.answers["model_info as secret"] = SimpleNamespace(sha=COMMIT, private=None)
    assert client.commit_of("v1") == COMMIT
    assert hub.asked == [("model_info as secret", NAME, ("revision", "v1"))]
    assert client.is_private() is False
    hub.answers["model_info as secret"] = SimpleNamespace(sha="main", private=True)
    assert client.is_private() is True
    assert hub.asked[1:] == [("model_info as secret", NAME)] * 2
    with pytest.raises(NetworkError, match="names the commit 'main'"):
        client.commit_of("v1")


@pytest.mark.parametrize("wrong", ["0" * 39, "A" * 40, None, 5])
def test_a_commit_is_forty_digits(client: HubClient, wrong: Any) -> None:
    assert client.checked_commit(COMMIT) == COMMIT
    with pytest.raises(NetworkError, match=r"acme/tiny: .*commit"):
        client.checked_commit(wrong)


def test_branches_are_listed_with_their_commits(hub: Hub, client: HubClient) -> None:
    ref = SimpleNamespace(name="v1", target_commit=COMMIT)
    hub.answers["list_repo_refs as secret"] = SimpleNamespace(branches=[ref])
    assert client.branches() == {"v1": COMMIT}
    assert hub.asked == [("list_repo_refs as secret", NAME)]
    ref.target_commit = "x"
    with pytest.raises(NetworkError, match="names the commit"):
        client.branches()


def entry(path: str, size: Any = 1, **more: Any) -> RepoFile:
    return RepoFile(path=path, size=size, oid="abc", **more)


def test_files_are_listed_by_the_cache_or_else_by_the_hub(hub: Hub, client: HubClient) -> None:
    lfs = {"size": 1, "oid": "f" * 64, "pointerSize": 1}
    listed = [entry("a"), entry("b", 0, lfs=lfs)]
    expected = [HubFile("a", 1, False, "", "abc"), HubFile("b", 0, False, "f" * 64, "abc")]
    tree = "list_repo_tree as secret"
    hub.answers |= {"get_cached_repo_tree": listed, tree: [*listed, RepoFolder(path="c", oid="x")]}
    assert client.files(COMMIT) == expected
    cached = ("get_cached_repo_tree", NAME, ("cache_dir", client.cache_dir), ("revision", COMMIT))
    assert hub.asked == [cached]
    hub.answers["get_cached_repo_tree"] = errors.CachedRepoTreeNotFoundError("x")
    assert client.files(COMMIT) == expected
    assert hub.asked == [cached, cached, (tree, NAME, ("recursive", True), ("revision", COMMIT))]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([entry("../a")], r"lists '\.\./a'"),
        ([entry("a", -1)], "-1 bytes"),
        ([entry("a", True)], "True bytes"),
        ([entry("a", None)], "None bytes"),
        ([entry("a"), entry("b"), entry("a")], "lists a file twice"),
        ([entry(name) for name in "abcd"], "more than 3 files"),
        ([entry("a", 1, oops=1), 5], "acme/tiny: the hub's answer"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(
    hub: Hub, client: HubClient, entries: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 3)
    hub.answers["get_cached_repo_tree"] = [entry(name) for name in "abc"]
    assert len(client.files(COMMIT)) == 3
    hub.answers["get_cached_repo_tree"] = entries
    with pytest.raises(NetworkError, match=told):
        client.files(COMMIT)
    if told == "more than 3 files":  # of a listing without end no more is taken than shows it
        hub.answers |= {"get_cached_repo_tree": errors.CachedRepoTreeNotFoundError("x")}
        hub.answers |= {"list_repo_tree as secret": (entry(f"{i}") for i in iter(lambda: len(hub.asked), -1))}
        with pytest.raises(NetworkError, match=r"twice|more than 3"):
            client.files(COMMIT)


def test_a_file_is_cached_if_the_library_has_a_path_of_it(hub: Hub, client: HubClient) -> None:
    for answer, is_cached in (("/x", True), (None, False), (object(), False)):
        hub.answers["try_to_load_from_cache"] = answer
        assert client.is_cached(COMMIT, "a") is is_cached
    assert hub.asked[0] == ("try_to_load_from_cache", NAME, "a", client.cache_dir, COMMIT)


def test_files_are_fetched_by_their_names_and_leftovers_go(hub: Hub, client: HubClient, tmp_path: Path) -> None:
    blobs = tmp_path / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.0123abcd.incomplete").touch()
    hub.answers["snapshot_download"] = "/there"
    assert client.download(COMMIT, ["a[1].json"]) == Path("/there")
    names = ("allow_patterns", ["a[[]1].json"])
    options = (names, ("cache_dir", tmp_path), ("revision", COMMIT), ("token", "secret"))
    assert hub.asked == [("snapshot_download", NAME, *options)]
    assert list(blobs.iterdir()) == []


def test_what_was_not_fetched_is_named_with_what_kept_it(hub: Hub, client: HubClient) -> None:
    full = OSError(errno.ENOSPC, "full")
    wrapped = errors.LocalEntryNotFoundError("x")
    wrapped.__cause__ = full
    for error in (full, wrapped):
        hub.answers |= {"snapshot_download": error, "try_to_load_from_cache": None}
        with pytest.raises(NetworkError, match=r"acme/tiny: a, b: .*: full"):
            client.download(COMMIT, ["a", "b"])
    hub.answers["try_to_load_from_cache"] = "/here"
    with pytest.raises(NetworkError, match=r"acme/tiny: /.*: full"):
        client.download(COMMIT, ["a", "b"])
    hub.answers["snapshot_download"] = errors.LocalEntryNotFoundError("x")
    with pytest.raises(Unreachable):
        client.download(COMMIT, ["a", "b"])
    for error in (TypeError("x"), KeyError("x"), AttributeError("x"), ValueError("x"), AssertionError("x")):
        hub.answers["snapshot_download"] = error
        with pytest.raises(NetworkError, match="acme/tiny: the hub's answer"):
            client.download(COMMIT, ["a"])


def test_the_cache_is_looked_into_without_connecting(hub: Hub, client: HubClient, tmp_path: Path) -> None:
    hub.answers["snapshot_download"] = ["/there", errors.LocalEntryNotFoundError("x")]
    assert client.cached_folder("v1") == Path("/there")
    alone = (("allow_patterns", []), ("cache_dir", tmp_path), ("local_files_only", True), ("revision", "v1"))
    assert hub.asked == [("snapshot_download", NAME, *alone)]
    assert client.cached_folder(None) is None


def test_the_cache_lists_its_repositories(client: HubClient, tmp_path: Path) -> None:
    for name in ("models--b--c--d", "models--a--x", "datasets--a--y", "models--z"):
        (tmp_path / name).mkdir()
    assert client.cached_names() == ["a/x", "b/c--d"]
    assert client.cache == tmp_path
    assert HubClient(NAME, cache_dir="~/x").cache == Path.home() / "x"
    assert HubClient(NAME).cache == cache_folder()


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (499, 1), (500, 3), (503, 3)])
def test_a_hub_in_trouble_is_asked_thrice(
    hub: Hub, client: HubClient, status: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    hub.answers["model_info as secret"] = http(errors.HfHubHTTPError, status)
    with pytest.raises(NetworkError, match=f"the hub answered {status}"):
        client.commit_of("v1")
    assert (len(hub.asked), pauses) == (tries, [1.0, 3.0][: tries - 1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hf://a/b", ("a/b", None, "")),
        ("hf://a/b@v1/c/d.gguf", ("a/b", "v1", "c/d.gguf")),
        ("hf://models/a/b/c/", ("a/b", None, "c")),
        ("hf://datasets/a/b", "is a dataset, not a model"),
        ("hf://spaces/a/b", "is a space, not a model"),
        ("hf://", "hf://org/name@revision"),
        ("hf://a", "hf://org/name@revision"),
    ],
)
def test_an_address_of_the_hub(text: str, found: Any) -> None:
    if isinstance(found, tuple):
        assert parse_uri(text) == found
    else:
        with pytest.raises(UsageError, match=found):
            parse_uri(text)


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("blobs/abc.0123abcd.incomplete", False),
        ("blobs/abc.0123abc.incomplete", True),
        ("blobs/held.0123abcd.incomplete", True),
        ("blobs/free.0123abcd.incomplete", False),
        ("blobs/dead.0123abcd.incomplete", True),  # whose lock is a link: it is not followed
        ("blobs/abc", True),
        (".ref.999999999.incomplete", False),
        (f".ref.{10**30}.incomplete", False),
        (".ref.OURS.incomplete", True),
        (".ref.x.incomplete", True),
        ("trees/x.tmp", False),
        ("trees/x.json", True),
    ],
)
def test_leftovers_go_where_nobody_writes_them(tmp_path: Path, name: str, stays: bool) -> None:
    file = tmp_path / "models--acme--tiny" / name.replace("OURS", str(os.getpid()))
    locks = tmp_path / ".locks" / "models--acme--tiny"
    for place in (file.parent, locks):
        place.mkdir(parents=True)
    file.touch()
    (locks / "free.lock").touch()
    (locks / "dead.lock").symlink_to("free.lock")
    with (locks / "held.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_leftovers(tmp_path, NAME)
    assert file.exists() is stays


def test_links_and_folders_are_no_leftovers(tmp_path: Path) -> None:
    trees = tmp_path / "models--acme--tiny" / "trees"
    (trees / "a.tmp").mkdir(parents=True)
    (trees / "b.tmp").symlink_to(__file__)
    remove_leftovers(tmp_path, NAME)
    assert sorted(os.listdir(trees)) == ["a.tmp", "b.tmp"]


def test_a_process_of_somebody_else_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (77, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert folder._is_alive(77)


# What is sent.
