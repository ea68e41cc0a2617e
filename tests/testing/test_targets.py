"""Whom a name means to check-plugin, what pytest collects of it, and what a fresh process reaches for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.testing.install import Plant, plant  # noqa: F401 - a fixture
from zoo.errors import UnknownName
from zoo.registry import Plugin, installed
from zoo.testing import NUMBERS, Subject, pytest_plugin, registration, targets
from zoo.testing.caching import decoding_one_by_one_equals_the_whole
from zoo.testing.check import Broken, Skipped
from zoo.testing.documentation import its_public_classes_have_docstrings, the_family_has_a_summary
from zoo.testing.imports import imported, is_public

# whom a name means


def test_a_name_means_a_family_a_plugin_or_a_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = SimpleNamespace(name="alpha"), SimpleNamespace(name="beta")
    rows = [Plugin("first", "Zoo_Mine", "1", "loaded", families=(one, two), seconds=0.0125),  # type: ignore[arg-type]
            Plugin("second", "zoo.mine", "1", "broken", "why"), Plugin("third", "other", "1", "loaded")]  # fmt: skip
    registry = SimpleNamespace(
        origin={"alpha": rows[0], "beta": rows[0]}, plugins=rows, families={"alpha": 1, "beta": 2}
    )
    monkeypatch.setattr(targets, "installed", lambda: registry)
    assert targets.plugins_of("alpha") == [rows[0]]
    assert targets.plugins_of("zoo--mine") == rows[:2]
    assert targets.plugins_of("third") == rows[2:]
    assert targets.families_of("beta") == ["beta"]
    assert targets.families_of("zoo-mine") == ["alpha", "beta"]
    with pytest.raises(UnknownName, match="thirt"):
        targets.plugins_of("thirt")
    assert [targets.loading(p).state for p in rows] == ["ok", "fail", "skip"]
    assert targets.loading(rows[0]).detail == "Zoo_Mine 1, 12 ms"
    assert targets.loading(rows[1]).detail == "broken: why"


def test_each_family_and_property_is_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def metafunc(*args: Any, names: tuple[str, ...] = ("zoo_check",)) -> Any:
        marker = SimpleNamespace(args=args)
        return SimpleNamespace(
            fixturenames=names, definition=SimpleNamespace(get_closest_marker=lambda name: marker),
            parametrize=lambda *given, **more: made.append((given, more)),
        )  # fmt: skip

    pytest_plugin.pytest_generate_tests(metafunc("gpt2", names=()))
    assert made == []
    unmarked = metafunc()
    unmarked.definition = SimpleNamespace(get_closest_marker=lambda name: None)
    for wrong in (metafunc(), unmarked):
        with pytest.raises(pytest.UsageError, match="zoo_check needs"):
            pytest_plugin.pytest_generate_tests(wrong)
    pytest_plugin.pytest_generate_tests(metafunc("gpt2"))
    (((name, cases), more),) = made
    assert (name, more["indirect"], len(cases)) == ("zoo_check", True, len(NUMBERS))
    assert more["ids"][0] == f"gpt2-registry-{cases[0][2].__name__}"
    lines: list[Any] = []
    pytest_plugin.pytest_configure(SimpleNamespace(addinivalue_line=lambda *given: lines.append(given)))  # type: ignore[arg-type]
    assert lines[0][0] == "markers"
    assert lines[0][1].startswith("zoo_distribution(name)")
    check = pytest_plugin.zoo_check.__wrapped__ if hasattr(pytest_plugin.zoo_check, "__wrapped__") else None
    if check is not None:
        asked = SimpleNamespace(param=("gpt2", "docs", the_family_has_a_summary))
        found = check(asked)
        assert (found.state, found.number) == ("ok", NUMBERS[the_family_has_a_summary])
        with pytest.raises(pytest.skip.Exception):
            check(SimpleNamespace(param=("bert", "cache", decoding_one_by_one_equals_the_whole)))


def test_the_entry_point_of_a_family_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> Iterator[Any]:
        assert group == "zoo"
        for name, dist in (("other", "zoo-x"), ("mine", "zoo-y"), ("mine", "zoo-x")):
            yield SimpleNamespace(name=name, dist=SimpleNamespace(name=dist), module=f"{name}.{dist}")
        yield SimpleNamespace(name="mine", dist=None, module="")

    monkeypatch.setattr(registration, "entry_points", points)
    origin = {"f": SimpleNamespace(name="mine", distribution="zoo-x")}
    monkeypatch.setattr(registration, "installed", lambda: SimpleNamespace(origin=origin))
    asked = SimpleNamespace(family=SimpleNamespace(name="f", config="c.config:C", formats={"hf": "c.hf:H"}))
    assert registration.entry_point(asked).module == "mine.zoo-x"  # type: ignore[arg-type, union-attr]
    given: list[Any] = []
    monkeypatch.setattr(registration, "heavy_imports", lambda *words: given.append(words) or [])
    assert registration.its_plugin_is_light_to_import(asked) == "mine.zoo-x"  # type: ignore[arg-type]
    assert registration.its_config_and_formats_need_no_torch(asked) == "c.config, c.hf"  # type: ignore[arg-type]
    assert given == [(["mine.zoo-x"], registration.HEAVY), (["c.config", "c.hf"], registration.TRANSLATING)]
    assert {"torch", "hydra", "omegaconf", "huggingface_hub", "transformers"} == set(registration.HEAVY)
    origin.clear()
    assert registration.entry_point(asked) is None  # type: ignore[arg-type]
    with pytest.raises(Skipped):
        registration.its_plugin_is_light_to_import(asked)  # type: ignore[arg-type]


def test_a_fresh_process_tells_what_it_reaches_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def run(words: list[str], **more: Any) -> Any:
        ran.append(words)
        return SimpleNamespace(returncode=int(words[-1] == "bad"), stderr="first\nlast\n", stdout="m imports torch\n")

    monkeypatch.setattr(registration.subprocess, "run", run)
    assert registration.heavy_imports(["a", "b"], ["torch", "hydra"]) == ["m imports torch"]
    assert ran[0][3:] == ["torch hydra", "a", "b"]
    with pytest.raises(Broken, match="importing bad: last"):
        registration.heavy_imports(["bad"], ["torch"])


def test_imports_of_zoo_are_told_by_their_dotted_names(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "import zoo.nn, os, zoology\nfrom zoo.nn import Rope\nfrom zoo.plugins.x import y\nfrom . import z\n"
        "from os import path\nfrom zoo.nn.cache import KVCache as K\n"
    )
    assert sorted(imported(file)) == ["zoo.nn", "zoo.nn.Rope", "zoo.nn.cache.KVCache"]
    dotted = ("zoo.nn", "zoo.nn.Rope", "zoo.nn.cache.KVCache", "zoo.nn.no", "zoo.cli", "zoo.cli.main")
    assert [is_public(name) for name in dotted] == [True, True, False, False, False, False]
    assert its_public_classes_have_docstrings(Subject(installed()["gpt2"])).endswith(" classes")
