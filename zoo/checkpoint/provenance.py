"""Where weights come from, as zoo.json tells it: the source, the hub's commit and the licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.checkpoint.inspection import Ledger
from zoo.errors import ZooError
from zoo.files.json_file import read_json
from zoo.files.manifest import MANIFEST
from zoo.files.regular import size_of
from zoo.hub.card import license_in

HOME = ("repo", "revision", "commit")


def origin(ledger: Ledger) -> dict[str, Any]:
    """The source as it was written, the hub's repository, the revision asked for, its commit, and the licence.

    For a folder that says where it came from in a zoo.json of its own, that is handed on.
    """
    before = recorded(ledger.checkpoint.folder)
    home: dict[str, Any] = {name: getattr(ledger, name) for name in HOME}
    if ledger.repo is None and before.get("repo"):
        home = {name: before.get(name) for name in HOME}
    return {"source": ledger.source, **home, "license": license_of(ledger, before) or None}


def license_of(ledger: Ledger, before: dict[str, Any] | None = None) -> str:
    """The licence that the folder's zoo.json, the config, the card beside the weights or the preset names; or ''."""
    folder = ledger.checkpoint.folder
    known = recorded(folder) if before is None else before
    return (
        str(known.get("license") or "") or ledger.config.license or license_in(folder / "README.md") or _preset(ledger)
    )


def recorded(folder: Path) -> dict[str, Any]:
    """What the folder's zoo.json says of its origin; nothing where it has none that can be read."""
    path = folder / MANIFEST
    try:
        size_of(path)
        found = read_json(path).get("provenance")
    except ZooError:
        return {}
    return found if isinstance(found, dict) else {}


def _preset(ledger: Ledger) -> str:
    from zoo.presets import config
    from zoo.registry import installed

    return config(ledger.source).license if ledger.source in installed().presets() else ""
