"""Tensors that go by the names of zoo's own modules: what a module's state dict holds, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.interpretation import our_shapes, table_for
from zoo.errors import UsageError, clean
from zoo.files.checkpoint import Checkpoint
from zoo.registry.family import Family
from zoo.weights.account import Account, settle
from zoo.weights.table import Table

GIVEN = "config"  # the word that names a config for weights that have none beside them


def settled(
    checkpoint: Checkpoint, family: Family, config: ModelConfig
) -> tuple[Checkpoint, Table, dict[str, Shape], Account]:
    """The table of a checkpoint, our shapes, and the account of its tensors.

    Where a config is of the hub and every tensor goes by our own name, the files hold the state dict of zoo's module.
    """
    shapes = our_shapes(family, config)
    table = table_for(family, checkpoint.dialect, config, checkpoint.tensors)
    account = settle(table, shapes, checkpoint.tensors, spare=checkpoint.spare)
    if account.is_settled or checkpoint.dialect == "zoo" or not shapes.keys() <= checkpoint.tensors.keys():
        return checkpoint, table, shapes, account
    own = table_for(family, "zoo", config, checkpoint.tensors)
    tried = settle(own, shapes, checkpoint.tensors)
    if not tried.is_settled:
        return checkpoint, table, shapes, account
    told = "the tensors go by the names of zoo's own modules, whatever the config is of"
    return replace(checkpoint, undone=(*checkpoint.undone, told)), own, shapes, tried


def given_config(overrides: tuple[str, ...]) -> tuple[Path | Mapping[str, Any] | None, tuple[str, ...]]:
    """The config that `config=FILE` or `config=PRESET` names, and the other words. Raises UsageError for neither."""
    found = [word.partition("=")[2] for word in overrides if word.partition("=")[0] == GIVEN]
    others = tuple(word for word in overrides if word.partition("=")[0] != GIVEN)
    if not found:
        return None, others
    if Path(found[-1]).exists():
        return Path(found[-1]), others
    from zoo.presets import config
    from zoo.registry import installed
    from zoo.version import __version__

    if found[-1] not in installed().presets():
        what = f"{GIVEN}={clean(found[-1])} is neither a file, a folder nor a preset"
        raise UsageError(what, hint=f"{GIVEN}=./config.json")
    return {"zoo": __version__, **config(found[-1]).to_dict()}, others
