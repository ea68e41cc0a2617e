"""One commit on the hub, held against what was sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors
from huggingface_hub.hf_api import RepoFile

from tests.hub.test_answers import http
from tests.hub.test_asking import COMMIT, NAME, Hub, client, hub
from zoo.errors import CheckpointError, NetworkError, ZooError
from zoo.hub import upload
from zoo.hub.client import HubClient
from zoo.hub.repository import git_oid

__all__ = ["client", "hub"]  # fixtures


def push(client: HubClient, files: dict[str, Any], **options: Any) -> str:
    return upload.commit_files(client, files, branch=options.pop("branch", "main"), message="it is", **options)


def there(name: str, data: bytes, **more: Any) -> RepoFile:
    return RepoFile(path=name, size=len(data), oid=git_oid(data), **more)


def test_one_commit_is_made_on_top_of_what_was_looked_at(hub: Hub, client: HubClient, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"xyz")
    hub.answers |= {"create_commit as secret": SimpleNamespace(oid=COMMIT)}
    hub.answers["get_cached_repo_tree"] = [there("a", b"ab"), there("b", b"xyz"), there("more", b"")]
    files = {"a": b"ab", "b": tmp_path / "w"}
    assert push(client, files, delete=["c"], parent="p", branch="v1", private=True) == COMMIT
    create, branch, commit, _ = hub.asked
    assert create == ("create_repo as secret", NAME, ("exist_ok", True), ("private", True))
    assert branch == ("create_branch as secret", NAME, ("branch", "v1"), ("exist_ok", True))
    assert commit[:2] == ("create_commit as secret", NAME)
    assert dict(commit[3:]) == {"commit_message": "it is", "revision": "v1", "parent_commit": "p"}
    told = [(type(o).__name__, o.path_in_repo, getattr(o, "path_or_fileobj", None)) for o in commit[2]]
    added = "CommitOperationAdd"
    assert told == [(added, "a", b"ab"), (added, "b", str(tmp_path / "w")), ("CommitOperationDelete", "c", None)]
    assert commit[2][2].is_folder is False
    hub.asked.clear()
    push(client, files)
    assert [asked[0].partition(" ")[0] for asked in hub.asked] == [
        "create_repo",
        "create_commit",
        "get_cached_repo_tree",
    ]
    assert hub.asked[0][-1] == ("private", None)
    hub.answers["create_commit as secret"] = SimpleNamespace(oid="x")
    with pytest.raises(NetworkError, match="names the commit"):
        push(client, files)


SHA = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"  # sha256sum of `ab`


LFS = {"size": 2, "pointerSize": 1}


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([there("a", b"ab")], ""),
        ([there("a", b"ab", lfs=LFS | {"oid": SHA})], ""),
        ([there("a", b"ac", lfs=LFS | {"oid": SHA})], ""),  # which has git's name of the pointer
        ([RepoFile(path="a", size=2, oid="")], ""),
        ([], "is not there"),
        ([there("b", b"ab")], "is not there"),
        ([there("a", b"ac")], "is not what was sent"),
        ([there("a", b"abc")], "is not what was sent"),
        ([RepoFile(path="a", size=3, oid="")], "is not what was sent"),
        ([there("a", b"ab", lfs=LFS | {"oid": "f" * 64})], "is not what was sent"),
    ],
)
def test_what_the_hub_keeps_is_held_against_what_was_sent(
    hub: Hub, client: HubClient, kept: Any, told: str, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"ab")
    hub.answers["get_cached_repo_tree"] = kept
    for content in (b"ab", tmp_path / "w"):
        if told:
            with pytest.raises(CheckpointError, match=f"acme/tiny@01234567: a: {told}"):
                upload.check_published(client, COMMIT, {"a": content})
        else:
            upload.check_published(client, COMMIT, {"a": content})


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (errors.LocalTokenNotFoundError("x"), NetworkError, "does not know who you are"),
        (http(errors.HfHubHTTPError, 401), NetworkError, "does not know who you are"),
        (http(errors.HfHubHTTPError, 403), NetworkError, "may not write to acme/tiny"),
        (http(errors.HfHubHTTPError, 409), NetworkError, "acme/tiny has changed"),
        (http(errors.HfHubHTTPError, 412), NetworkError, "acme/tiny has changed"),
        (http(errors.HfHubHTTPError, 410), NetworkError, "the hub answered 410"),
        (ValueError("no such licence"), ZooError, "no such licence"),
        (ZooError("mine"), ZooError, "^mine$"),
        (errors.HFValidationError("x"), ZooError, "acme/tiny: "),
    ],
)
def test_a_hub_that_does_not_take_it_says_why(
    hub: Hub, client: HubClient, error: Exception, kind: type, told: str
) -> None:
    hub.answers["create_repo as secret"] = error
    with pytest.raises(kind, match=told) as caught:
        push(client, {})
    assert type(caught.value) is kind


def test_a_name_without_an_owner_gets_ones_own(hub: Hub) -> None:
    hub.answers["whoami as secret"] = {"name": "acme"}
    assert upload.full_name("tiny", "secret") == "acme/tiny"
    assert hub.asked == [("whoami as secret",)]
    assert upload.full_name("a/b", "secret") == "a/b"
    assert len(hub.asked) == 1
