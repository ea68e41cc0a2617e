"""Which files of a folder are presets, at each limit and beyond."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.registry.preset_folder import MAX_FOLDERS, options_in, presets_in
from zoo.registry.records import Plugin, Preset


def test_presets_lie_so_deep_at_most(tmp_path: Path) -> None:
    deep = tmp_path / "model" / "/".join("abcdefgh")
    (deep / "i").mkdir(parents=True)
    (deep / "x.yaml").touch()
    (deep / "i" / "y.yaml").touch()
    assert MAX_FOLDERS == 8
    found = {entry.name: entry.problem for entry in presets_in(tmp_path, is_package=False)}
    assert found.pop("a/b/c/d/e/f/g/h/x") == ""
    assert [name for name, problem in found.items() if "8 folders deep" in problem] == ["a/b/c/d/e/f/g/h/i/"]


@pytest.mark.parametrize(
    ("name", "is_plain"), [("a" * 100, True), ("a" * 101, False), ("a b+c-d.e", True), ("é", True)]
)
def test_a_plain_name_has_letters_of_words(tmp_path: Path, name: str, is_plain: bool) -> None:
    (tmp_path / "rope").mkdir()
    (tmp_path / "rope" / f"{name}.yaml").touch()
    (tmp_path / "rope" / "_hidden.yaml").touch()
    for hidden in ("_dir", ".dir"):
        (tmp_path / "rope" / hidden).mkdir()
        (tmp_path / "rope" / hidden / "x.yaml").touch()
    (tmp_path / "rope" / "x.yml").touch()
    found = {entry.name: bool(entry.problem) for entry in options_in(tmp_path, is_package=False)}
    assert found == {name: not is_plain, "_hidden": False}


def test_groups_have_plain_names_and_are_not_keys_of_commands(tmp_path: Path) -> None:
    for group in ("rope", "model", "seed", "prompt", "9x", "a-b", "x" * 100, "x" * 101):
        (tmp_path / group).mkdir()
        (tmp_path / group / "o.yaml").touch()
    (tmp_path / "file.yaml").touch()
    assert [entry.group for entry in options_in(tmp_path, is_package=False)] == ["rope", "x" * 100]
    assert options_in(tmp_path / "nothing", is_package=True) == []


def test_a_preset_with_a_problem_is_not_read_and_describes_nothing(tmp_path: Path) -> None:
    for text, said in (("# a   b \nx", "a b"), ("x: 1", ""), ("", ""), ("#\n", "")):
        (tmp_path / "x.yaml").write_text(text)
        preset = Preset("x", "p", tmp_path / "x.yaml", "d")
        assert preset.description.split() == said.split()
    broken = Preset("x", "p", tmp_path / "x.yaml", "d", problem="is odd")
    assert broken.description == ""
    with pytest.raises(ZooError, match=r"x.yaml: is odd"):
        broken.data()
    assert Plugin("a", "b", "1").id == "b:a"
