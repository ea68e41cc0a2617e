"""Which files of a repository are fetched, where from, and what stands in for a hub that is out of reach."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError, NetworkError, ZooWarning
from zoo.hub import place
from zoo.hub.errors import Trouble, Unreachable
from zoo.hub.listing import HubFile, is_text, texts
from zoo.hub.repository import Repository, check_content, git_oid

COMMIT, OTHER = "0123456789" * 4, "f" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"ab", "pytorch_model.bin": b"abc", "README.md": b"hi", "x.py": b""}
NEEDED = {"config.json", "model.safetensors"}


class Client:
    """A hub of one repository, and a cache below `root`."""

    name = "acme/tiny"

    def __init__(self, root: Path, files: dict[str, bytes] | None = None) -> None:
        self.root, self.content = root, dict(FILES if files is None else files)
        self.trouble: dict[str, Exception] = {}  # what is asked for -> what comes in place of an answer
        self.asked: list[Any] = []
        self.snapshot: Path | None = None

    def _ask(self, what: str, *more: Any) -> None:
        self.asked.append((what, *more))
        if error := self.trouble.get(what):
            raise error

    def commit_of(self, revision: str) -> str:
        self._ask("commit", revision)
        return COMMIT

    def files(self, commit: str) -> list[HubFile]:
        self._ask("files", commit)
        return [HubFile(name, len(data), False, oid=git_oid(data)) for name, data in self.content.items()]

    def is_cached(self, commit: str, file: str) -> bool:
        return (self.root / "snapshots" / commit / file).exists()

    def download(self, commit: str, files: Sequence[str]) -> Path:
        self._ask("download", commit, sorted(files))
        folder = self.root / "snapshots" / commit
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.content[name])
        return folder

    def cached_folder(self, revision: str | None) -> Path | None:
        self.asked.append(("cached", revision))
        return self.snapshot

    def cached_names(self) -> list[str]:
        return ["acme/other"]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def repository(client: Client, revision: str | None = None, path: str = "") -> Repository:
    return Repository(client, revision, path)  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize(
    ("revision", "asked"),
    [
        (None, "main"),
        ("v1", "v1"),
        (COMMIT, None),
        (COMMIT[:39], COMMIT[:39]),
        (COMMIT + "0", COMMIT + "0"),
        ("A" * 40, "A" * 40),
        ("x" * 40, "x" * 40),
    ],
)
def test_only_a_commit_is_not_asked_for(client: Client, revision: str | None, asked: str | None) -> None:
    assert repository(client, revision).commit() == COMMIT
    assert client.asked == ([("commit", asked)] if asked else [])


@pytest.mark.parametrize(
    ("revision", "path", "spelt"),
    [
        (None, "", "hf://acme/tiny"),
        ("v1", "", "hf://acme/tiny@v1"),
        (None, "a/b", "hf://acme/tiny/a/b"),
        ("v1", "a", "hf://acme/tiny@v1/a"),
    ],
)
def test_a_repository_is_spelt_as_its_source(client: Client, revision: str | None, path: str, spelt: str) -> None:
    assert str(repository(client, revision, path)) == spelt


def note(client: Client, name: str = "main") -> Path:
    return client.root / "refs" / name


def test_what_is_needed_is_fetched_checked_and_its_branch_noted(client: Client) -> None:
    path, commit = repository(client).fetch(allow_pickle=False)
    assert (path, commit) == (client.root / "snapshots" / COMMIT, COMMIT)
    assert client.asked[-1] == ("download", COMMIT, sorted(NEEDED))
    assert note(client).read_text() == COMMIT
    assert list(client.root.glob(".ref*")) == []
    repository(client, "refs/pr/1").fetch(allow_pickle=False)
    assert note(client, "refs/pr/1").read_text() == COMMIT
    repository(client, "../../x").fetch(allow_pickle=False)
    assert not (client.root.parent / "x").exists()


def test_a_commit_is_no_branch_to_note_and_pickles_want_consent(client: Client) -> None:
    del client.content["model.safetensors"]
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        repository(client, COMMIT).fetch(allow_pickle=False)
    repository(client, COMMIT).fetch(allow_pickle=True)
    assert client.asked[-1] == ("download", COMMIT, ["config.json", "pytorch_model.bin"])
    assert not note(client, COMMIT).exists()


def test_a_path_within_is_given_below_the_snapshot(tmp_path: Path) -> None:
    client = Client(tmp_path, {f"sub/{name}": data for name, data in FILES.items()})
    path, _ = repository(client, path="sub").fetch(allow_pickle=False)
    assert path == tmp_path / "snapshots" / COMMIT / "sub"
    client.snapshot = tmp_path / "snapshots" / COMMIT
    assert repository(client, "v1", "sub").cached() == (client.snapshot / "sub", COMMIT)
    assert client.asked[-1] == ("cached", "v1")


def test_only_what_comes_now_is_checked(client: Client) -> None:
    repository(client).fetch(allow_pickle=False)
    (client.root / "snapshots" / COMMIT / "config.json").write_bytes(b"spoilt")
    client.download = lambda commit, files: client.root / "snapshots" / commit  # type: ignore[method-assign]
    repository(client).fetch(allow_pickle=False)  # it was there, and costs no reading again
    (client.root / "snapshots" / COMMIT / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: is not there"):
        repository(client).fetch(allow_pickle=False)


def test_the_cache_stands_in_for_a_hub_out_of_reach_and_that_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(client).fetch(allow_pickle=False)
    client.snapshot = client.root / "snapshots" / COMMIT
    client.trouble["commit"] = Unreachable("nobody answers")
    monkeypatch.setattr(place, "HubClient", lambda *args: client)
    with pytest.warns(ZooWarning, match=f"nobody answers: hf://acme/tiny is the cached commit {COMMIT}") as told:
        assert place.locate("hf://acme/tiny")[:2] == (client.snapshot, COMMIT)
    assert told[0].filename == __file__  # the line of whoever asked for it
    client.trouble["files"] = Unreachable("nobody answers")  # nobody knows what should be there
    with pytest.warns(ZooWarning):
        assert repository(client, path="sub").fetch(allow_pickle=False) == (client.snapshot / "sub", COMMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repository(client, COMMIT).fetch(allow_pickle=False) == (client.snapshot, COMMIT)


def test_half_a_checkpoint_does_not_stand_in(client: Client) -> None:
    client.snapshot = client.root / "snapshots" / COMMIT
    client.download(COMMIT, ["config.json"])
    client.trouble["commit"] = Unreachable("nobody answers")
    with pytest.raises(Unreachable) as caught:
        repository(client).fetch(allow_pickle=False)
    assert caught.value.what == "offline, and acme/tiny is not in the cache, or not all of it"
    assert caught.value.why == "nobody answers\nIn the box: tiny. Cached: acme/other."
    assert caught.value.hint.startswith("To fetch: hf://acme/tiny, ")
    client.snapshot = None
    with pytest.raises(Unreachable, match=r"^offline, and acme/tiny is not in the cache\n"):
        repository(client).fetch(allow_pickle=False)
    client.trouble["commit"] = Trouble("the hub answered 501", why="it says so", hint="later")
    with pytest.raises(Trouble) as caught:
        repository(client).fetch(allow_pickle=False)
    assert (caught.value.what, caught.value.hint) == ("the hub answered 501", "later")
    assert caught.value.why.startswith("it says so\nacme/tiny is not in the cache. In the box: tiny.")


def test_a_cache_that_cannot_be_written_serves_all_the_same(client: Client) -> None:
    (client.root / "refs").write_text("no folder")
    assert repository(client).fetch(allow_pickle=False)[1] == COMMIT


def test_what_is_not_in_the_cache_is_told_with_what_is(client: Client) -> None:
    with pytest.raises(NetworkError) as caught:
        repository(client).cached()
    assert caught.value.what == "acme/tiny is not in the cache"
    assert caught.value.why == "In the box: tiny. Cached: acme/other."
    client.cached_names = list  # type: ignore[method-assign]
    with pytest.raises(NetworkError, match="Cached: nothing"):
        repository(client).cached()


def test_settling_lists_texts_too_but_offline_only_those_that_are_cached(client: Client) -> None:
    commit, files = repository(client).settle(allow_pickle=False)
    assert (commit, {file.name for file in files}) == (COMMIT, NEEDED | {"README.md"})
    assert not any(file.is_cached for file in files)
    client.download(COMMIT, sorted(NEEDED))
    client.snapshot = client.root / "snapshots" / COMMIT
    client.trouble["commit"] = Unreachable("nobody answers")
    with pytest.warns(ZooWarning):
        assert {file.name for file in repository(client).settle(allow_pickle=False)[1]} == NEEDED
    client.download(COMMIT, ["README.md"])
    with pytest.warns(ZooWarning):
        assert len(repository(client).settle(allow_pickle=False)[1]) == 3
    client.trouble["files"] = Unreachable("nobody answers")
    with pytest.raises(Unreachable, match="or not all of it"):
        repository(client, COMMIT).settle(allow_pickle=False)
    del client.content["model.safetensors"], client.trouble["files"]
    assert len(repository(client, COMMIT).settle(allow_pickle=True)[1]) == 3
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        repository(client, COMMIT).settle(allow_pickle=False)


def test_what_is_brought_is_checked_and_noted(client: Client) -> None:
    files = client.files(COMMIT)[:2]
    assert repository(client).bring(COMMIT, files) == client.root / "snapshots" / COMMIT
    assert note(client).read_text() == COMMIT
    client.content["config.json"] = b"[]"
    with pytest.raises(CheckpointError, match=r"config.json: .* its hash differs"):
        repository(client).bring(COMMIT, files)
    client.trouble["download"] = Unreachable("nobody answers")
    with pytest.raises(Unreachable, match="or not all of it"):
        repository(client).bring(COMMIT, files)


INDEX = json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "gone.safetensors"}}).encode()
SHARDED = {"model.safetensors.index.json": INDEX, "1.safetensors": b"1", "2.safetensors": b"2", "3.safetensors": b"3"}


def test_an_index_that_was_fetched_to_know_the_files_counts_as_not_cached_yet(tmp_path: Path) -> None:
    client = Client(tmp_path, SHARDED)
    for is_cached in (False, True):
        found = {f.name: f.is_cached for f in repository(client).wanted(COMMIT, allow_pickle=False)}
        assert found == {
            "model.safetensors.index.json": is_cached,
            "1.safetensors": False,
            "2.safetensors": False,
        }


@pytest.mark.parametrize(
    ("path", "expected"), [("", {"LICENSE"}), ("sub", {"sub/README.md"}), ("sub/x.gguf", {"sub/README.md"})]
)
def test_texts_are_those_of_the_folder_that_the_weights_lie_in(tmp_path: Path, path: str, expected: set[str]) -> None:
    names = ["LICENSE", "sub/README.md", "sub/x.gguf", "sub/model.safetensors", "model.safetensors", "sub/deep/NOTICE"]
    found = repository(Client(tmp_path, dict.fromkeys(names, b"")), path=path).wanted(
        COMMIT, allow_pickle=False, with_texts=True
    )
    assert {file.name for file in found if is_text(file.name.rpartition("/")[2])} == expected
    assert texts(["README.md", "sub/a"], "sub") == {"README.md"}


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE", "licence.txt", "LICENSE-MIT", "NOTICE", "COPYING", "USE_POLICY.md"]
)
def test_texts_have_their_names(name: str) -> None:
    assert is_text(name)
    assert not is_text(f"x{name}")
    assert not is_text("READMEX")


SHA = hashlib.sha256(b"ab").hexdigest()


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (HubFile("w", 2, False), ""),
        (HubFile("w", 2, False, SHA), ""),
        (HubFile("w", 2, False, SHA, "x"), ""),  # git's name is of the pointer to a large file
        (HubFile("w", 2, False, "", git_oid(b"ab")), ""),
        (HubFile("w", 3, False), "has 2 bytes, .* 3"),
        (HubFile("w", 1, False), "has 2 bytes, .* 1"),
        (HubFile("w", 2, False, SHA[::-1]), "its sha256 differs"),
        (HubFile("w", 2, False, "", "x"), "its hash differs"),
        (HubFile("v", 2, False), "is not there"),
    ],
)
def test_what_was_fetched_is_what_was_announced(tmp_path: Path, file: HubFile, told: str) -> None:
    (tmp_path / "w").write_bytes(b"ab")
    if told:
        with pytest.raises(CheckpointError, match=told):
            check_content(tmp_path, [file])
    else:
        check_content(tmp_path, [file])


def test_git_names_a_file_by_its_content() -> None:
    assert git_oid(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
