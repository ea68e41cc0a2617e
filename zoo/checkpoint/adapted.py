"""A checkpoint with an adapter: whether the two fit, the model of both, and what their sum loses where it is stored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import warn

from zoo.adapters.file.folder import open_adapter
from zoo.adapters.fit.base import AdaptedBase
from zoo.adapters.fit.settled import AdapterFit, settle
from zoo.checkpoint.concessions import recorded
from zoo.checkpoint.inspection import Ledger
from zoo.errors import UsageError, ZooWarning
from zoo.presets.homes import located

if TYPE_CHECKING:
    from zoo.models.pretrained import Model


def fit_of(ledger: Ledger, adapter: str | Path, *, allow: Iterable[str] = (), allow_pickle: bool = False) -> AdapterFit:
    """An adapter beside the checkpoint of a ledger; `check()` says whether it fits. Reads headers only."""
    if (part := ledger.config.nested) is not None:
        hint = f"first write the slice: zoo convert {ledger.source} FOLDER --to hf model.slice={part.name}"
        raise UsageError(f"an adapter and model.slice={part.name}: whose layers it changes is not known", hint=hint)
    folder = located(adapter, allow_pickle=allow_pickle).path
    found = open_adapter(folder, allow_pickle=allow_pickle)
    base = AdaptedBase(ledger.family, ledger.config, ledger.shapes, ledger.source, tuple(_names(ledger)))
    return settle(found, base, allow)


def _names(ledger: Ledger) -> list[str]:
    """What the base is known by: its source, its repository, and what its files say of where they come from."""
    known = recorded(ledger.checkpoint.folder)
    said = [ledger.checkpoint.config.get("_name_or_path"), known.get("source"), known.get("repo"), ledger.config.hub]
    found = [ledger.source, ledger.repo, str(ledger.checkpoint.folder.resolve()), *said]
    return [name for name in found if isinstance(name, str) and name]


def with_adapter(model: Model, fit: AdapterFit) -> Model:
    """The model with an adapter beside its weights, both frozen."""
    from zoo.adapters.attaching import attach

    attach(model, fit)
    model.ledger.made += [*fit.notes, told(fit)]
    for note in fit.notes:
        warn(note, ZooWarning, stacklevel=4)
    return model


def told(fit: AdapterFit) -> str:
    """What stands beside the weights, in a sentence."""
    settings, adapter = fit.adapter.settings, fit.adapter
    whole = f", {len(fit.whole)} tensors in the place of the base's" if fit.whole else ""
    return f"adapter {adapter.path}: {settings.words} of rank {settings.rank} on {len(fit.pairs)} matrices{whole}"
