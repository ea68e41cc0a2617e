"""pyproject.toml names every package and plugin: what it leaves out would be missing from the wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = PROJECT["tool"]["setuptools"]["package-dir"]


def test_every_package_is_listed() -> None:
    found = {
        ".".join((name, *folder.parent.relative_to(ROOT / room).parts))
        for name, room in ROOMS.items()
        for folder in (ROOT / room).glob("**/__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_plugin_has_an_entry_point() -> None:
    folders = {f.parent.name: f"zoo.plugins.{f.parent.name}" for f in (ROOT / "plugins").glob("*/__init__.py")}
    assert folders == PROJECT["project"]["entry-points"]["zoo"]


def test_the_version_is_said_once() -> None:
    import zoo

    assert PROJECT["project"]["version"] == zoo.__version__


def test_all_packages_of_the_constraints_are_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))
