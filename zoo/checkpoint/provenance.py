"""Where weights come from, as zoo.json tells it: the source, the hub's commit and the licence."""

from __future__ import annotations

from typing import Any

from zoo.checkpoint.concessions import FIELD, recorded
from zoo.checkpoint.inspection import Ledger
from zoo.hub.card import license_in

HOME = ("repo", "revision", "commit")


def origin(ledger: Ledger, *, is_packed: bool = False) -> dict[str, Any]:
    """The source as it was written, the hub's repository, the revision asked for, its commit, and the licence.

    What was let pass goes with them, and what packed weights were unpacked, unless they still are (`is_packed`). Where
    a folder's own zoo.json says where it came from, that is handed on.
    """
    before = recorded(ledger.checkpoint.folder)
    home: dict[str, Any] = {name: getattr(ledger, name) for name in HOME}
    if ledger.repo is None and before.get("repo"):
        home = {name: before.get(name) for name in HOME}
    told: dict[str, Any] = {FIELD: ledger.concessions} if ledger.concessions else {}
    if (packing := ledger.checkpoint.packing) and not is_packed:
        told["unpacked_from"] = packing.in_words(ledger.checkpoint.tensors)
    return {"source": ledger.source, **home, "license": license_of(ledger, before) or None, **told}


def license_of(ledger: Ledger, before: dict[str, Any] | None = None) -> str:
    """The licence that the folder's zoo.json, the config, the card beside the weights or the preset names; or ''."""
    folder = ledger.checkpoint.folder
    known = recorded(folder) if before is None else before
    return (
        str(known.get("license") or "") or ledger.config.license or license_in(folder / "README.md") or _preset(ledger)
    )


def _preset(ledger: Ledger) -> str:
    from zoo.presets import config
    from zoo.registry import installed

    return config(ledger.source).license if ledger.source in installed().presets() else ""
