"""What of a folder or package is read: regular files by plain names, no further than its root; the rest is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.files.resources import MAX_BYTES, read_bounded
from zoo.presets.overrides import grammar
from zoo.presets.users_folder import UsersFolder
from zoo.registry import Preset, preset_folder
from zoo.registry.preset_folder import options_in, presets_in, unread_in


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "attention").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.yaml").write_text("a: 1\n")
    return tmp_path / "own"


def problems(own: Path) -> dict[str, str]:
    return {e.name: e.problem for e in presets_in(own, is_package=False)}


def test_presets_are_named_by_their_paths(own: Path) -> None:
    (own / "model" / "decoder").mkdir()
    for name in ("b.yaml", "a.yaml", "decoder/c.d-1.5.yaml", "notes.txt"):
        (own / "model" / name).touch()
    assert problems(own) == {"a": "", "b": "", "decoder/c.d-1.5": ""}
    assert list(UsersFolder(own).presets) == ["a", "b", "decoder/c.d-1.5"]


def test_links_to_folders_are_not_entered_and_those_to_files_lead_no_further_than_the_root(own: Path) -> None:
    (own / "store").mkdir()
    (own / "store" / "x.yaml").touch()
    links = {"loop": ".", "away": "../../out", "in.yaml": "../store/x.yaml", "out.yaml": "../../out/secret.yaml",
             "proc.yaml": "/proc/self/environ", "none.yaml": "nowhere", "self.yaml": "self.yaml"}  # fmt: skip
    for name, target in links.items():
        (own / "model" / name).symlink_to(target)
    (own / "rope").symlink_to("../out")
    folder, leads = "is a link to a folder; zoo does not follow it", "is a link to a file outside the folder"
    lost = "is a link to a file that does not exist"
    assert problems(own) == {
        "away/": folder, "loop/": folder, "in": "", "out": leads, "proc": leads, "none": lost,
        "self": lost,
    }  # fmt: skip
    assert [(e.group, e.problem) for e in options_in(own, is_package=False)] == [("rope", folder), ("store", "")]


def test_a_package_that_an_installer_made_of_links_is_read(own: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "__init__.py").touch()
    (own / "__init__.py").symlink_to("../out/__init__.py")
    (own / "model" / "x.yaml").symlink_to("../../out/secret.yaml")
    assert [e.problem for e in presets_in(own, is_package=True)] == [""]
    assert [e.problem for e in presets_in(own, is_package=False)] == ["is a link to a file outside the folder"]


@pytest.mark.parametrize("name", ["a\nb", "a=b", "a,b", "-a", ".a", "a'b", "a\x1b[2J", "${a}", "x" * 101])
def test_a_name_that_is_no_plain_one_is_told_and_never_printed_raw(own: Path, name: str) -> None:
    (own / "model" / f"{name}.yaml").touch()
    ((shown, problem),) = problems(own).items()
    assert problem == "has a name with characters other than letters, digits, . + - and _"
    assert shown.isprintable()


def test_a_folder_without_end_is_refused_as_a_whole(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = own / "model" / Path(*"abcdefghij")
    deep.mkdir(parents=True)
    assert problems(own) == {"a/b/c/d/e/f/g/h/i/": "is more than 8 folders deep"}
    monkeypatch.setattr(preset_folder, "MAX_LISTED", 0)
    assert problems(own) == {"model/": "holds more than 0 files and folders"}
    monkeypatch.undo()
    monkeypatch.setattr(preset_folder, "MAX_FILES", 9)
    for i in range(9):
        (own / "model" / f"{i}.yaml").touch()
    assert problems(own) == {"model/": "holds more than 9 files and folders"}


def test_what_hydra_would_read_and_zoo_does_not_is_told(own: Path) -> None:
    (own / "hydra").mkdir()
    (own / "save").mkdir()
    (own / "build.yaml").touch()
    (own / "README.md").touch()
    told = list(unread_in(own))
    assert [sentence.rpartition(" is not read: ")[2] for sentence in told] == [
        "presets belong in model/, the options of a group in GROUP/", "presets cannot set hydra",
        "presets cannot set save",
    ]  # fmt: skip


def test_no_group_takes_the_name_of_a_commands_key() -> None:
    known = [grammar(command) for command in ("build", "bench", "train")]
    keys = {key for one in known for key in (*one.keys, *one.own_groups)}
    assert keys | {"schema"} == preset_folder.NO_GROUPS


def test_an_entry_with_a_problem_is_refused_by_it(own: Path) -> None:
    (own / "model" / "out.yaml").symlink_to("../../out/secret.yaml")
    preset = UsersFolder(own).presets["out"]
    assert preset.description == ""
    with pytest.raises(ZooError, match=r"out\.yaml: is a link to a file outside the folder"):
        preset.data()


def test_only_a_regular_file_is_read_and_never_more_of_it_than_a_preset_may_have(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 4 << 30)
    (tmp_path / "most").touch()
    os.truncate(tmp_path / "most", MAX_BYTES)
    (tmp_path / "endless").symlink_to("/proc/self/mem")  # said to be regular and of no bytes
    for name, told in {
        "pipe": "is a pipe, not a regular file", "zero": "is a device, not a regular file", "endless": "cannot be read",
        "folder": "is a folder, not a regular file",
        "huge": "4294967296 bytes are more than the 1048576 that a preset may",
        "none": "cannot be read: No such file",
    }.items():  # fmt: skip
        with pytest.raises(ZooError, match=told) as caught:
            read_bounded(tmp_path / name, MAX_BYTES)
        assert str(tmp_path / name) in caught.value.what
    assert len(read_bounded(tmp_path / "most", MAX_BYTES)) == MAX_BYTES


def test_a_description_is_one_line_and_safe_to_print(tmp_path: Path) -> None:
    for data, told in {
        b"# A \x1b[2Jb\rc\n": "A \\x1b[2Jb", b"# A\r\nb: 1": "A", b"# \xff": "\ufffd", b"a: 1": "", b"": "",
    }.items():  # fmt: skip
        (file := tmp_path / "some.yaml").write_bytes(data)
        assert Preset("some", "pkg", file, "dist").description == told
