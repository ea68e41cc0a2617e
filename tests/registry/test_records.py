"""What a plugin hands the registry, held to its form: each field wrong once; and what metadata say of it."""

from __future__ import annotations

import importlib.metadata
import re
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.registry import Command, Family, Format, Registry, metadata, plugins
from zoo.registry.additions import check_additions
from zoo.registry.claims import checked_match
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
