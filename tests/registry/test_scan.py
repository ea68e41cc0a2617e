"""The scan of installed distributions gives what importlib.metadata gives, or leaves it to that."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from zoo.registry.metadata import entry_points_of, identity, unmet_requirement
from zoo.registry.scan import NotPlain, scanned_points

POINTS = """
[console_scripts]
run = thing:main [extra]

# a remark
[zoo]
first = thing.one
second=thing.two:Plugin.hooks
"""


def installed(
    site: Path, folder: str, name: str, version: str = "1", *, points: str = POINTS, needs: tuple[str, ...] = ()
) -> Path:
    """A distribution's folder of metadata as installers write it."""
    info = site / folder
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    required = "".join(f"Requires-Dist: {line}\n" for line in needs)
    text = f"{head}{required}\nName: not this one\nRequires-Dist: neither-this\n"
    (info / ("METADATA" if folder.endswith(".dist-info") else "PKG-INFO")).write_text(text)
    (info / "entry_points.txt").write_text(points)
    return info


def told(points: object) -> list[tuple[object, ...]]:
    """All that the registry asks of entry points."""
    return sorted(
        (p.name, p.value.partition("[")[0].strip(), p.group, *identity(p.dist), *(p.dist.requires or []))
        for p in points  # type: ignore[attr-defined]  # of either kind
    )


def theirs(group: str) -> list[tuple[object, ...]]:
    return told(importlib.metadata.entry_points(group=group))


@pytest.mark.parametrize("group", ["zoo", "console_scripts", "pytest11", "no.such.group"])
def test_this_environment_is_read_as_importlib_metadata_reads_it(group: str) -> None:
    points, unreadable = entry_points_of(group)
    assert told(points) == theirs(group)
    assert not unreadable


def test_folders_of_all_ages_are_read_as_importlib_metadata_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    installed(first, "Zoo_X.y-1.0.dist-info", "Zoo-X.y", needs=("zoo-lm>=0.1; extra == 'x'", "torch (>=2)"))
    installed(second, "zoo_x_y-9.dist-info", "zoo-x-y", "9")  # the same by another spelling: the first counts
    installed(second, "old.egg-info", "old", needs=("zoo-lm<99",))
    installed(second, "empty-1.dist-info", "empty", points="")
    (second / "gone-1.dist-info").mkdir()
    (second / "ancient.egg-info").write_text("Name: ancient\n")
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(tmp_path / "nowhere")])
    assert told(scanned_points("zoo")) == theirs("zoo")
    assert {identity(p.dist) for p in scanned_points("zoo")} == {("Zoo-X.y", "1"), ("old", "1")}
    assert [unmet_requirement(p) for p in scanned_points("zoo")] == [""] * 4


def test_an_entry_point_is_imported_as_importlib_metadata_imports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thing_of_scan.py").write_text("class Plugin:\n    hooks = 'found'\n")
    installed(
        tmp_path, "thing-1.dist-info", "thing", points="[zoo]\na = thing_of_scan\nb = thing_of_scan:Plugin.hooks\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    module, hooks = (point.load() for point in scanned_points("zoo"))
    assert (module.__name__, hooks) == ("thing_of_scan", "found")
    missing = scanned_points("zoo")[1].__class__("c", "thing_of_scan:Nothing", "zoo", scanned_points("zoo")[0].dist)
    with pytest.raises(AttributeError):
        missing.load()


@pytest.mark.parametrize(
    "points", ["[zoo]\nno equals sign\n", "[zoo]\na = b c\n", "[zoo]\na = \n", "stray\n[zoo]\na = b\n"]
)
def test_what_is_not_written_plainly_is_left_to_importlib_metadata(
    points: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "odd-1.dist-info", "odd", points=points)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(NotPlain):
        scanned_points("zoo")


def test_what_lies_elsewhere_than_in_folders_is_left_to_importlib_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("packed-1.dist-info/METADATA", "Name: packed\nVersion: 1\n")
        packed.writestr("packed-1.dist-info/entry_points.txt", "[zoo]\na = b\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packed.zip")])
    with pytest.raises(NotPlain):
        scanned_points("zoo")
    assert told(entry_points_of("zoo")[0]) == [("a", "b", "zoo", "packed", "1")]

    garbled = installed(tmp_path / "site", "garbled-1.dist-info", "garbled")
    (garbled / "entry_points.txt").write_bytes(b"[zoo]\nx = \xff\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    with pytest.raises(NotPlain):
        scanned_points("zoo")
    assert list(entry_points_of("zoo")[1]) == ["garbled-1.dist-info"]


def test_needs_that_stand_beside_the_headers_are_left_to_importlib_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = installed(tmp_path, "old.egg-info", "old")
    (info / "requires.txt").write_text("zoo-lm>=99\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    points, _ = entry_points_of("zoo")
    assert {unmet_requirement(p).partition(",")[0] for p in points} == {"requires zoo-lm>=99"}


def test_a_finder_that_finds_distributions_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_distributions(context: object = None) -> list[object]:
            return []

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(NotPlain):
        scanned_points("zoo")
