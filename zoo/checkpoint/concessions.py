"""What was let pass when a checkpoint was opened, a sentence each: every door tells them, and zoo.json keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import differing
from zoo.errors import ZooError, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.files.json_file import read_json
from zoo.files.manifest import MANIFEST
from zoo.files.regular import size_of
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.weights.account import Account, grouped
from zoo.weights.dialect import Match
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.packing import eight_bits

FIELD = "concessions"  # where zoo.json keeps them
MOST = 50  # of them that are read from a file


def concessions(
    checkpoint: Checkpoint, family: Family, keys: ForeignConfig, account: Account, configs: tuple[ModelConfig, ...]
) -> list[str]:
    """All that was let pass of a checkpoint read as `family`; `configs` are its own and the one with overrides."""
    found = [
        *checkpoint.undone,
        *_family(checkpoint, family),
        *_overrides(*configs),
        *_keys(keys),
        *_tensors(checkpoint, account),
    ]
    before = recorded(checkpoint.folder).get(FIELD)
    lines = [clean(line, 300) for line in before if isinstance(line, str)] if isinstance(before, list) else []
    return list(dict.fromkeys([*lines[:MOST], *found]))


def recorded(folder: Path) -> dict[str, Any]:
    """What the folder's zoo.json says of its origin; nothing where it has none that can be read."""
    path = folder / MANIFEST
    try:
        size_of(path)
        found = read_json(path).get("provenance")
    except ZooError:
        return {}
    return found if isinstance(found, dict) else {}


def _family(checkpoint: Checkpoint, family: Family) -> Iterator[str]:
    claims: list[tuple[Family, Match]] = []
    if checkpoint.dialect == "zoo":
        key, says = "family", checkpoint.config.get("family")
        is_own = says == family.name
    else:
        key = "general.architecture" if checkpoint.dialect == "gguf" else "model_type"
        says = checkpoint.config.get(key)
        claims = installed().detect(checkpoint.config, checkpoint.dialect)
        is_own = any(f is family and match.score == claims[0][1].score for f, match in claims)
    if not is_own:
        said = f"{checkpoint.config_name} says {key} {clean(repr(says))}" if says else f"no {key} says so"
        if claims and says in family.hf_types:  # it may be of both, and another's claim goes before
            said = f"{checkpoint.config_name} is {claims[0][0].name}'s"
        yield f"read as family={family.name}, although {said}: tensor names do not show how the model computes"


def _overrides(own: ModelConfig, config: ModelConfig) -> Iterator[str]:
    if config.nested is not None:
        yield str(config.nested)
    for path, (before, after) in differing(own, config).items():
        yield f"{path}={clean(json.dumps(after))} was asked for; the files say {clean(json.dumps(before))}"


def _keys(keys: ForeignConfig) -> Iterator[str]:
    for part in (keys, *keys.groups):
        if part.allowed:
            names = clean(some(sorted(part.allowed), 8), 200)
            yield f"{Path(part.file).name}: {names} not known, but allowed: it may change the model"


def _tensors(checkpoint: Checkpoint, account: Account) -> Iterator[str]:
    if account.random:
        yield f"random, because the files do not have them: {clean(some(grouped(account.random), 8), 300)}"
    if account.dropped:
        yield f"left out, although they are in the files: {clean(some(grouped(account.dropped), 8), 300)}"
    if account.unheld:
        yield f"not checked against the config: {clean(some(grouped(account.unheld), 8), 300)}"
    if small := eight_bits(checkpoint.tensors, account.loaded):
        yield f"8-bit floats without a scale, used as they are: {clean(some(grouped(small), 8), 300)}"
