"""From a source to a place: who may connect, and what is passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import UsageError
from zoo.hub import place
from zoo.hub.repository import Repository
from zoo.hub.source import Source

COMMIT = "0123456789" * 4


class Spy:
    """Stands for the client and the repository of a place, and keeps what they were made with."""

    made: tuple[Any, ...] = ()
    answered = (Path("/there"), COMMIT)

    def __init__(self, name: str, token: Any, cache_dir: Any) -> None:
        type(self).made = (name, token, cache_dir)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(place, "HubClient", Spy)

    def note(name: str, answer: Any) -> Any:
        def ask(self: Repository, *args: Any, **options: Any) -> Any:
            found.append((name, self.revision, self.path, *args, *options.items()))
            return answer

        return ask

    for name, answer in (("fetch", Spy.answered), ("cached", Spy.answered), ("commit", COMMIT), ("wanted", ["file"])):
        monkeypatch.setattr(Repository, name, note(name, answer))
    return found


@pytest.mark.parametrize(
    ("source", "options", "how"),
    [
        ("hf://a/b", {}, "fetch"),
        ("hf://a/b", {"local_files_only": True}, "cached"),
        ("a/b", {}, "cached"),
        ("a/b", {"allow_network": True}, "fetch"),
        ("a/b", {"allow_network": True, "local_files_only": True}, "cached"),
    ],
)
def test_only_who_may_connect_does(asked: list[Any], source: str, options: Any, how: str) -> None:
    found = place.locate(source, revision="v1", token="t", cache_dir="/c", allow_pickle=True, **options)
    assert found == (Path("/there"), COMMIT, source, "a/b", "v1")
    assert Spy.made == ("a/b", "t", "/c")
    assert asked == [(how, "v1", "", *([("allow_pickle", True)] if how == "fetch" else []))]


def test_no_door_is_open_unless_asked_for(asked: list[Any]) -> None:
    place.locate("hf://a/b")
    assert asked == [("fetch", None, "", ("allow_pickle", False))]
    assert Spy.made == ("a/b", None, None)


def test_a_dry_run_asks_for_what_would_be_fetched(asked: list[Any]) -> None:
    assert place.dry_run("hf://a/b@v1/c", token="t", cache_dir="/c", allow_pickle=True) == ["file"]
    assert asked == [("commit", "v1", "c"), ("wanted", "v1", "c", COMMIT, ("allow_pickle", True))]
    assert Spy.made == ("a/b", "t", "/c")
    assert place.dry_run("a/b", revision="v2") == ["file"]
    assert asked[2:] == [("commit", "v2", ""), ("wanted", "v2", "", COMMIT, ("allow_pickle", False))]
    assert place.dry_run("./a") == place.dry_run(Source("local", "a/b")) == []
    assert len(asked) == 4


def test_a_source_of_another_kind_is_where_it_says(tmp_path: Path) -> None:
    assert place.locate("~/x") == (Path.home() / "x", None, "~/x", None, None)
    assert place.locate("pkg://zoo/box").path.name == "box"
    assert place.locate(Source("local", "a/b")) == (Path("a/b"), None, "a/b", None, None)
    for source in ("./x", "pkg://zoo/box"):
        with pytest.raises(UsageError, match="no revision 'v1'"):
            place.locate(source, revision="v1")


@pytest.mark.parametrize(
    ("named", "asked_for", "taken"),
    [(None, None, None), ("v1", None, "v1"), (None, "v1", "v1"), ("v1", "v1", "v1"), ("v1", "v2", "refused")],
)
def test_a_revision_may_be_named_once_or_twice_the_same(named: Any, asked_for: Any, taken: Any) -> None:
    source = Source("hub", "a/b", named, "c")
    if taken == "refused":
        with pytest.raises(UsageError, match=r"'v1', .*'v2'"):
            place.repository_of(source, revision=asked_for)
    else:
        found = place.repository_of(source, revision=asked_for, token=False, cache_dir="/c")
        assert (found.revision, found.path) == (taken, "c")
        assert (found.client.name, found.client.token, found.client.cache_dir) == ("a/b", False, "/c")
