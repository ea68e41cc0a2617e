"""Plugins are asked what they bring, and one that answers wrongly harms no other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.registry.test_records import GOOD
from zoo.errors import UnknownName, ZooError, ZooWarning
from zoo.registry import Command, Family, Format, Registry, plugins
from zoo.registry.hookspecs import hookimpl
from zoo.registry.isolation import PluginError
from zoo.weights.dialect import Match

BEAST, OTHER = Family(**GOOD), Family(**(GOOD | {"name": "other"}))


class Hooks:
    """A plugin as an object: what its hooks return."""

    def __init__(self, **returned: Any) -> None:
        for name, value in returned.items():
            setattr(self, name, hookimpl(self.returning(value)))

    @staticmethod
    def returning(value: Any) -> Callable[[], Any]:
        return lambda: value


def registry(*strangers: tuple[str, Any]) -> Registry:
    """Of plugins whose entry points give these objects."""
    points = [SimpleNamespace(name=name, dist=None, load=lambda hooks=hooks: hooks) for name, hooks in strangers]
    return Registry(points=points, blocked=frozenset())  # type: ignore[arg-type]  # stand-ins


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ({}, "it implements no hook"),
        ({"zoo_families": []}, "it implements no hook"),
        ({"zoo_families": "x"}, "zoo_families returned 'x', which is not a list"),
        ({"zoo_families": {}}, "which is not a list"),
        ({"zoo_families": 5}, "which is not a list"),
        ({"zoo_families": ["x"]}, "'x', which is not a zoo.Family"),
        ({"zoo_families": [Family("B", "a:b", "a:b")]}, "family name"),
        ({"zoo_families": [BEAST, BEAST]}, "zoo_families returned 'beast' twice"),
        ({"zoo_families": [OTHER] * 4}, "more than 3 items"),
        ({"zoo_config_packages": [5]}, "5, which is not the name of a package"),
        ({"zoo_config_packages": ["zoo.conf"]}, "'zoo.conf' is that of zoo-lm"),
        ({"zoo_config_packages": ["zoo.box"]}, "'zoo.box'"),
        ({"zoo_formats": [5]}, "not a zoo.Format"),
        ({"zoo_formats": [Format("nobody", "mine", "a:C")]}, "no family is called 'nobody'"),
        ({"zoo_formats": [Format("first", "hf", "a:C")]}, "'hf'"),
        ({"zoo_formats": [Format("first", "zoo", "a:C")]}, "'zoo'"),
        ({"zoo_commands": [5]}, "not a zoo.Command"),
        ({"zoo_commands": [Command("ours", "a:b", "")]}, "the command 'ours' is taken"),
        ({"zoo_families": [Family("first", "a:b", "a:b")]}, "the family name 'first' is taken by ?:afirst"),
    ],
)
def test_a_plugin_that_answers_wrongly_is_broken_and_provides_nothing(
    returned: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "MAX_ANSWERS", 3)
    family = Family("first", "a:b", "a:b", {"hf": "a"})
    kept = Hooks(zoo_families=[family, OTHER], zoo_commands=[Command("ours", "a:b", "")])
    found = registry(("afirst", kept), ("stranger", Hooks(**returned)))
    first, second = found.plugins
    assert (first.state, second.state) == ("loaded", "broken")
    assert reason in second.reason
    assert (set(found.families), found.origin["first"]) == ({"first", "other"}, first)
    if not second.formats:  # a format that clashes leaves the rest of what was read
        assert (second.families, second.config_packages, second.commands) == ((), (), ())
        assert not found.manager.has_plugin(second.id)
    assert second.seconds > 0


def test_a_plugin_brings_families_formats_and_commands() -> None:
    format_, command = Format("beast", "mine", "a:C"), Command("mine", "a:b", "")
    found = registry(("b", Hooks(zoo_families=(BEAST,))), ("a", Hooks(zoo_formats=[format_], zoo_commands=[command])))
    one, two = found.plugins
    assert (one.name, one.formats, one.commands, two.families) == ("a", (format_,), (command,), (BEAST,))
    assert found["beast"].formats == {"mine": "a:C"}  # though the plugin of the format came first
    assert {p.state for p in found.plugins} == {"loaded"}
    with pytest.raises(UnknownName, match="beest"):
        found["beest"]


def test_a_plugin_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points: Any = [SimpleNamespace(name=name, dist=None, load=lambda: Hooks(zoo_families=[BEAST])) for name in "ab"]
    for environment, blocked, states in (
        ({}, {"a"}, ["blocked", "loaded"]),
        ({"ZOO_BLOCK": "a, c"}, None, ["blocked", "loaded"]),
        ({"ZOO_BLOCK": "a"}, {"b"}, ["loaded", "blocked"]),
        ({"ZOO_PLUGINS": "a"}, None, ["loaded", "blocked"]),
        ({"ZOO_PLUGINS": ""}, None, ["blocked", "blocked"]),
    ):
        with monkeypatch.context() as patch:
            for name in ("ZOO_BLOCK", "ZOO_PLUGINS"):
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            found = Registry(points=points, blocked=blocked and frozenset(blocked))
        assert [p.state for p in found.plugins] == states
        assert all(p.reason for p in found.plugins if p.state == "blocked")
    with pytest.raises(ZooError, match=r"the plugin 'b' of . is blocked"):
        Registry(points=points, blocked=frozenset("ab"))["b"]


def test_what_fails_when_it_is_asked_takes_its_plugin_along() -> None:
    found = registry(
        ("a", Hooks(zoo_families=[BEAST, OTHER])), ("b", Hooks(zoo_families=[Family("third", "a:b", "a:b")]))
    )

    def ask(family: Family) -> str:
        if family.name == "beast":
            raise ValueError("on a Monday")
        return family.name

    with pytest.warns(ZooWarning, match="'a' of .* is broken: beast: ValueError: on a Monday") as told:
        answers = list(found.each(ask))
    assert [answer for _, answer in answers] == ["third"]
    assert (found.plugins[0].lost, set(found.families)) == (("beast", "other"), {"third"})
    with pytest.raises(ZooError, match=r"the plugin 'a' .* is broken"):
        found["other"]
    assert len(told) == 1


def test_a_claim_is_sorted_by_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry(("a", Hooks(zoo_families=[BEAST, OTHER, Family("third", "a:b", "a:b")])))
    scores = {"beast": Match(0.5, ()), "other": None, "third": Match(0.75, ())}
    asked: list[Any] = []
    monkeypatch.setattr(Family, "match", lambda self, raw, dialect: asked.append((raw, dialect)) or scores[self.name])
    assert [family.name for family, _ in found.detect({"x": 1}, "gguf")] == ["third", "beast"]
    assert asked == [({"x": 1}, "gguf")] * 3


def test_a_family_is_claimed_by_its_model_type_its_own_words_or_an_added_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims: dict[str, Any] = {"hf": None, "gguf": lambda raw: Match(0.25, ()), "mine": lambda raw: raw.get("mine")}
    monkeypatch.setattr(Family, "dialect", lambda self, name: SimpleNamespace(matches=claims[name]))
    family = Family(**GOOD, formats={"hf": "a", "gguf": "a", "mine": "a"}, hf_types=("beast", "monster"))
    assert family.match({"model_type": "monster"}) == Match(1.0, ("model_type is 'monster'",))
    assert family.match({"model_type": "other"}) is None
    assert family.match({}, "gguf") == Match(0.25, ())
    assert family.match({"model_type": "beast"}, "meta") is None
    assert family.match({"mine": Match(0.5, ())}) == Match(0.5, (), format="mine")
    assert family.match({"mine": Match(0.5, ())}, "gguf") == Match(0.25, ())  # only a config.json may be an added one


def test_a_reference_is_what_it_names() -> None:
    family = Family(
        "beast", "json:JSONDecoder", "json.nothing:M", {"hf": "json:loads", "gguf": "json"}, pictures="json:dumps"
    )
    import json

    assert (family.config_class, family.picture_reader) == (json.JSONDecoder, json.dumps)
    with pytest.raises(PluginError, match=r"'beast' cannot be used: json.nothing:M"):
        _ = family.model_class
    for name in ("hf", "gguf"):
        with pytest.raises(ZooError, match=f"beast's {name} format, .* .*zoo.weights.Dialect"):
            family.dialect(name)
    assert Family("beast", "wsgiref:x", "a:b", {"x": "wsgiref"})._imported("wsgiref").__name__ == "wsgiref"
