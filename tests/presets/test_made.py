"""Presets and options of files: what they extend and where they stand; what Hydra finds of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.object_type import ObjectType

from zoo.errors import ZooError
from zoo.presets import file as reading
from zoo.presets import hydra_source, overrides
from zoo.presets.file import merge, option, parts, resolve
from zoo.presets.hydra_source import CheckedPresets, ZooSearchPath, serving
from zoo.registry import Preset


def refused(told: str, work: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


class Files:
    """Presets and options of a package in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __call__(self, text: str, name: str = "a", group: str = "model", package: str = "p") -> Preset:
        self.count += 1
        file = self.folder / f"{self.count}.yaml"
        file.write_text(text)
        return Preset(name, package, file, "d", group)


@pytest.fixture
def made(tmp_path: Path) -> Files:
    return Files(tmp_path)


def of(*presets: Preset) -> dict[str, Preset]:
    return {p.name if p.group == "model" else f"{p.group}/{p.name}": p for p in presets}


def test_what_is_extended_lies_beneath_or_above_as_the_list_says(made: Files) -> None:
    base = made("defaults: [/schema/llama@_here_]\nx: 1\ny: {a: 1, b: 2}", "base")
    for entries, x in (("[base]", 2), ("[_self_, base]", 1), ("[base, _self_]", 2), ("[/model/base@_here_]", 2)):
        found = resolve("a", of(base, made(f"defaults: {entries}\nx: 2\ny: {{b: 3}}")))
        assert (found["x"], found["y"]["a"], found["family"]) == (x, 1, "llama")
    assert merge({"a": {"b": 1}, "c": {"d": 1}}, {"a": {"e": 2}, "c": 3}) == {"a": {"b": 1, "e": 2}, "c": 3}
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults: [a]", "a -> a"),
        ("defaults: [b]", "no model is called 'b'"),
        ("defaults: x", "its defaults are not a list"),
        ("defaults: [_self_, _self_]", "_self_ is named twice"),
        ("defaults: [/schema/llama@_here_, /schema/llama@_here_]", "the family of a preset is named twice"),
        ("defaults: [base, base]", "is named twice"),
        ("defaults: [5]", "5 is neither"),
        ("defaults: [{a: b, c: d}]", "is neither"),
        ("defaults: [{rope: yarn}]", "is neither"),
        ("defaults: [{/rope: 5}]", "is neither"),
        ("defaults: [{/rope: yarn, /x: y}]", "is neither"),
        ("defaults: [base@model]", "is neither"),
        ("defaults: [/schema/llama@model]", "is neither"),
        ("defaults: [{/rope@model.attn: yarn}]", "is neither"),
        ("# @package model.x\nx: 1", "line 1: @package model.x; expected none"),
        ("# @package model\n# @package model\nx: 1", "line 2: a second @package"),
        ("num_layers: 501", "num_layers=501"),
        ("x: ${y}", "an interpolation"),
    ],
)
def test_a_defaults_list_names_what_it_may(made: Files, text: str, told: str) -> None:
    rope = made("# @package model.rope\nx: 1", "yarn", "rope")
    refused(told, resolve, "a", of(made("x: 1", "base"), made(text)), lambda: of(rope))


def test_options_of_groups_stand_where_their_head_says(made: Files) -> None:
    rope = made("# @package model.attn.rope\ntheta: 1", "yarn", "rope")
    for entry in ("{/rope: yarn}", "{/rope@attn.rope: yarn}", "/rope/yarn"):
        assert resolve("a", of(made(f"defaults: [{entry}]\nx: 1")), lambda: of(rope)) == {
            "attn": {"rope": {"theta": 1}},
            "x": 1,
        }
    assert option("rope/yarn", of(rope)) == ("model.attn.rope", {"theta": 1})
    ours = made("# @package model.rope\n", "o", "rope", "zoo.conf")
    for head in ("", "# @package model.rope\n"):
        theirs = made(f"{head}theta: 1", "yarn", "rope")
        assert option("rope/yarn", of(ours, theirs)) == ("model.rope", {"theta": 1})
    refused("expected # @package model.rope", option, "rope/yarn", of(ours, rope))
    for head, told in (("", "expected # @package model"), ("# @package hydra\n", "line 1: @package hydra")):
        refused(told, option, "x/yarn", of(made(f"{head}a: 1", "yarn", "x")))
    assert option("x/yarn", of(made("# @package model\na: 1", "yarn", "x"))) == ("model", {"a": 1})


def test_a_folder_of_ones_own_is_told_of_the_way_to_more(made: Files) -> None:
    for package, hints in (("", True), ("p", False)):
        with pytest.raises(ZooError) as caught:
            resolve("a", of(made("# @package hydra\nx: 1", package=package)))
        assert ("--trust-config-dir" in caught.value.hint) is hints


def test_so_many_files_and_entries_make_a_preset_at_most(made: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    presets = of(made("x0: 1", "0"), *(made(f"defaults: ['{i - 1}']\nx{i}: 1", str(i)) for i in range(1, 9)))
    assert len(parts("7", presets)) == 8
    refused("more than 8 presets", parts, "8", presets)
    two = of(made("x: 1", "b"), made("defaults: [b]\ny: 1"))
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3 + 6)
    assert resolve("a", two) == {"x": 1, "y": 1}
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3 + 5)
    refused("more than 8 entries in all", resolve, "a", two)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name, text in {
        "model/mine.yaml": "defaults: [/schema/llama@_here_]\nnum_layers: 3",
        "model/sub/deep.yaml": "defaults: [mine]\nnum_layers: 4",
        "rope/mine.yaml": "# @package model.rope\ntheta: 5.0",
        "extra/one.yaml": "# @package model\nnum_layers: 2",
        "model/bad name!.yaml": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_hydra_is_given_the_presets_of_a_folder_as_data(own: Path) -> None:
    source = CheckedPresets("x", f"zoo://{own}")
    everything, groups, configs = None, ObjectType.GROUP, ObjectType.CONFIG
    assert source.list("", everything) == source.list("", groups) == ["extra", "model", "rope"]
    assert source.list("", configs) == []
    assert source.list("model", everything) == ["mine", "sub"]
    assert (source.list("model/", groups), source.list("/model", configs)) == (["sub"], ["mine"])
    assert source.list("model/sub", everything) == ["deep"]
    assert [source.is_group(path) for path in ("", "model", "model/sub/", "mod", "model/mine")] == [True] * 3 + [
        False
    ] * 2
    assert [source.is_config(path) for path in ("model/mine.yaml", "model/mine", "model", "mine")] == [True] * 2 + [
        False
    ] * 2
    assert (source.available(), source.scheme(), source.provider) == (True, "zoo", "x")
    found = source.load_config("model/sub/deep.yaml")
    assert found.config == {"defaults": ["/schema/llama@_here_", "_self_"], "num_layers": 4}
    assert (found.header, found.provider) == ({"package": "model"}, "x")
    for key, package, values in (
        ("rope/mine", "model.rope", {"theta": 5.0}),
        ("extra/one", "model", {"num_layers": 2}),
    ):
        found = source.load_config(key)
        assert (found.config, found.header) == (values, {"package": package})
    windows = CheckedPresets("x", "zoo://a\\b")
    assert windows.list("", everything) == []
    ours = CheckedPresets("x", "zoo://zoo.conf")
    assert "llama3" in ours.list("model", everything)
    assert CheckedPresets("x", "zoo://nobody").list("", everything) == []


class SearchPath:
    def __init__(self, *paths: str) -> None:
        self.paths, self.added = paths, []

    def get_path(self) -> list[Any]:
        return [type("Entry", (), {"path": path}) for path in self.paths]

    def append(self, provider: str, path: str) -> None:
        self.added.append((provider, path))


def test_only_zoos_own_commands_are_given_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"zoo.conf": "zoo-lm", "their.conf": "zoo-theirs"}
    monkeypatch.setattr(hydra_source, "installed", lambda: type("R", (), {"config_packages": packages}))
    for paths, folder, added in (
        (("file:///x",), tmp_path, []),
        (("file:///x", "pkg://zoo.conf"), None, [("zoo-theirs", "zoo://their.conf")]),
        (("pkg://zoo.conf",), tmp_path, [("zoo-theirs", "zoo://their.conf"), ("command-line", f"zoo://{tmp_path}")]),
    ):
        search = SearchPath(*paths)
        with serving(folder):
            ZooSearchPath().manipulate_search_path(search)  # type: ignore[arg-type]  # a stand-in
        assert search.added == added
    search = SearchPath("pkg://zoo.conf")
    ZooSearchPath().manipulate_search_path(search)  # type: ignore[arg-type]  # a stand-in
    assert search.added == [("zoo-theirs", "zoo://their.conf")]  # the folder is let go of afterwards


def test_strangers_presets_are_read_before_hydra_reads_them(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "model" / "evil.yaml").write_text("x: ${y}")
    (own / "rope" / "evil.yaml").write_text("# @package hydra\nx: 1")
    for word in (
        "model=mine",
        "+rope=mine",
        "rope=mine",
        "rope=nothing",
        "model=nothing",
        "rope@model.x='mine'",
        "model=llama3",
    ):
        overrides.vet([word], own)
    for word in (
        "model=evil",
        "model=mine,evil",
        "+rope=evil",
        "rope@model.x='evil'",
        'model="evil"',
        "model=mine, evil",
    ):
        refused("evil.yaml", overrides.vet, [word], own)
    overrides.vet(["model=evil"])  # which is none of the installed ones
