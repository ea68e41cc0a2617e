"""What a plugin hands the registry, held to its form: each field wrong once; and what metadata say of it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.errors import UnknownName, ZooError, ZooWarning
from zoo.registry import Command, Family, Format, Registry, metadata, plugins
from zoo.registry.additions import check_additions
from zoo.registry.claims import checked_match
from zoo.registry.hookspecs import hookimpl
from zoo.registry.isolation import PluginError
from zoo.registry.metadata import entry_points_of, identity, loading_order, unmet_requirement
from zoo.registry.scan import NotPlain
from zoo.version import __version__
from zoo.weights.dialect import Match

GOOD = {"name": "beast", "config": "a.b:C", "model": "a.b:M"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "a" * 64},
        {"name": "0_.-"},
        {"config": "a:b.C"},
        {"pictures": "a:b"},
        {"formats": {"hf": "a.b", "mine": "a.b:C"}},
        {"hf_types": ["a"]},
        {"near": {"a": "b"}},
        {"summary": "words"},
    ],
)
def test_a_family_of_the_right_form_has_no_problem(fields: dict[str, Any]) -> None:
    assert Family(**(GOOD | fields)).problem() == ""


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "Beast"}, "'Beast' "),
        ({"name": "a" * 65}, "family name"),
        ({"name": ""}, "family name"),
        ({"name": "_a"}, "family name"),
        ({"name": 5}, "5 "),
        ({"config": "a.b"}, "config='a.b' is not of the form"),
        ({"config": "a.b:"}, "config='a.b:'"),
        ({"config": ":C"}, "config=':C'"),
        ({"config": "a.0:C"}, "config='a.0:C'"),
        ({"config": "a:C!"}, "config='a:C!'"),
        ({"config": None}, "config=None"),
        ({"model": "a b:C"}, "model='a b:C'"),
        ({"pictures": "a"}, "pictures='a'"),
        ({"formats": [("hf", "a")]}, "formats="),
        ({"formats": {"hf": 5}}, "formats="),
        ({"formats": {5: "a"}}, "formats="),
        ({"formats": {"zoo": "a.b"}}, "'zoo': 'a.b'"),
        ({"formats": {"hf": "a b"}}, "'hf': 'a b'"),
        ({"formats": {"hf": "a:b:c"}}, "'hf': 'a:b:c'"),
        ({"near": ["a"]}, "near="),
        ({"near": {"a": None}}, "near="),
        ({"hf_types": "llama"}, "hf_types='llama'"),
        ({"hf_types": (5,)}, "hf_types="),
        ({"summary": None}, "summary=None"),
    ],
)
def test_a_family_of_another_form_is_told_by_its_field(fields: dict[str, Any], told: str) -> None:
    assert told in Family(**(GOOD | fields)).problem()


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (Format("llama", "mine", "a.b:C"), ""),
        (Format("llama", "a" * 32, "a:C"), ""),
        (Format("llama", "Mine", "a.b:C"), "format"),
        (Format("llama", "a" * 33, "a:C"), "format"),
        (Format("llama", 5, "a:C"), "format"),
        (Format("llama", "mine", "a.b"), "the format 'mine': 'a.b' is not of the form"),
        (Format("llama", "mine", None), "the format 'mine': None"),
        (Command("mine", "a.b:c", "does"), ""),
        (Command("9", "a.b:c", "does"), "command"),
        (Command(None, "a.b:c", "does"), "command"),
        (Command("inspect", "a.b:c", "does"), "'inspect'"),
        (Command("in-spect", "a.b:c", "does"), ""),
        (Command("mine", "a.b:c d", "does"), "the command 'mine': 'a.b:c d' is not"),
        (Command("mine", 5, "does"), "the command 'mine': 5 is not"),
    ],
)  # fmt: skip
def test_an_addition_is_held_to_its_form(one: Any, told: str) -> None:
    problem = one.problem()
    assert told in problem if told else problem == ""
    if told:
        with pytest.raises(ZooError, match=re.escape(problem)):
            check_additions("hook", (one,), type(one))
    else:
        check_additions("hook", (one,), type(one))


def test_a_command_of_two_words_is_zoos_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.registry import additions

    asked: list[str] = []
    monkeypatch.setattr(additions, "find_spec", lambda name: asked.append(name))
    assert Command("two-words", "a:b", "").problem() == ""
    assert asked == ["zoo.cli.two_words"]


def test_additions_are_of_their_kind_and_named_once() -> None:
    one = Format("llama", "mine", "a:C")
    check_additions("hook", (one, Format("gpt2", "mine", "a:C"), Format("llama", "other", "a:C")), Format)
    for wrong, told in (((one, one), "'mine' twice"), (("x",), "'x', which is not a zoo.Format")):
        with pytest.raises(ZooError, match=told):
            check_additions("hook", wrong, Format)
    with pytest.raises(ZooError, match=r"not a zoo\.Command"):
        check_additions("hook", (one,), Command)


@pytest.mark.parametrize("score", [0, 1, 0.5])
def test_a_claim_has_a_score_from_0_to_1(score: Any) -> None:
    family, claim = Family(**GOOD), Match(score, ())
    assert checked_match(claim, family) is claim
    assert checked_match(None, family) is None
    for wrong in (Match(-0.1, ()), Match(1.1, ()), Match(float("nan"), ()), Match("1", ()), 1.0):
        with pytest.raises(PluginError, match=r"^beast: matches\(\) returned"):
            checked_match(wrong, family)


def distribution(*requires: str, **named: str) -> Any:
    return SimpleNamespace(requires=list(requires) or None, metadata=named)


def point(dist: Any, name: str = "a") -> Any:
    return SimpleNamespace(dist=dist, name=name)


@pytest.mark.parametrize(
    ("lines", "is_met"),
    [
        ((), True),
        (("torch>=99",), True),
        (("zoo-lm",), True),
        (("torch>=99", f"Zoo_LM=={__version__}"), True),
        (("zoo-lm>=99",), False),
        (("torch", "ZOO_lm<0.0.1"), False),
        (("zoo-lm>=99; extra == 'x'", "zoo-lm>=99; python_version < '3'"), True),
        (("zoo-lm>=99; python_version > '3'",), False),
        (("zoo-lm>=99; extra == 'x'", "zoo-lm>=98"), False),
    ],
)
def test_a_plugin_may_require_another_zoo(lines: tuple[str, ...], is_met: bool) -> None:
    told = unmet_requirement(point(distribution(*lines)))
    assert (told == "") is is_met
    assert is_met or f"this is zoo-lm {__version__}" in told
    assert unmet_requirement(point(None)) == ""


def test_a_distribution_is_known_by_name_and_version_or_not_at_all() -> None:
    class Broken:
        @property
        def metadata(self) -> Any:
            raise OSError

    class Named:
        def __init__(self, **metadata: Any) -> None:
            self.metadata = {"Name": None, "Version": None} | metadata

    assert identity(Named(Name="zoo-x", Version="1")) == ("zoo-x", "1")  # type: ignore[arg-type]  # a stand-in
    assert identity(Named(Name="zoo-x")) == ("zoo-x", "?")  # type: ignore[arg-type]  # a stand-in
    assert identity(Named()) == identity(Broken()) == identity(None) == ("?", "?")  # type: ignore[arg-type]


def test_our_own_plugins_come_first_and_then_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "identity", lambda dist: (dist, "1"))
    points = [point("b", "y"), point("a", "z"), point("b", "x"), point("zoo-lm", "zz"), point("zoo-lm", "m")]
    named = [(p.dist, p.name) for p in sorted(points, key=loading_order)]
    assert named == [("zoo-lm", "m"), ("zoo-lm", "zz"), ("a", "z"), ("b", "x"), ("b", "y")]


def test_metadata_that_cannot_be_read_hides_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dist:
        def __init__(self, name: str, *points: Any) -> None:
            self._path, self._points = SimpleNamespace(name=name), points

        @property
        def entry_points(self) -> Any:
            if not self._points:
                raise ValueError("garbled")
            return self._points

    def fails(group: str) -> Any:
        raise NotPlain

    one = EntryPoint("a", "b", "zoo")
    monkeypatch.setattr(metadata, "scanned_points", fails)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [group])
    assert entry_points_of("zoo") == (["zoo"], {})
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: 1 / 0)
    found = [Dist("bad.dist-info"), Dist("x", one, EntryPoint("o", "b", "other")), Dist("y", one)]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found)
    points, unreadable = entry_points_of("zoo")
    assert list(points) == [one]
    assert unreadable == {"bad.dist-info": "its metadata: ValueError: garbled"}
    monkeypatch.setattr(plugins, "entry_points_of", lambda group: ([], unreadable))
    broken = [(p.distribution, p.state, p.reason) for p in Registry(blocked=frozenset()).plugins]
    assert broken == [("bad.dist-info", "broken", "its metadata: ValueError: garbled")]


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


BEAST, OTHER = Family(**GOOD), Family(**(GOOD | {"name": "other"}))


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
