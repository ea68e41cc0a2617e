"""A family's formats: tables that lose nothing, configs that forget nothing, files that come back as they went.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.differing import differences
from zoo.checkpoint.loading import load
from zoo.checkpoint.saving import save
from zoo.errors import UsageError
from zoo.models.construction import on_meta
from zoo.testing.check import Broken, Skipped, require, shown
from zoo.testing.measure import LIMIT, difference, runnable
from zoo.testing.subject import Subject
from zoo.testing.variants import flags, variants
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.proof import prove


def its_tables_are_bijections(s: Subject) -> str:
    """On index-valued tensors: every number of ours is in the foreign tensors, once, and comes back to its place."""
    proven = 0
    for dialect in _formats(s):
        for label, config in [("", s.config), *flags(s.config)]:
            try:
                table = s.family.dialect(dialect).mapping(config)
            except UsageError:
                continue  # the format has no word for this variant, and says so
            shapes = {name: tuple(p.shape) for name, p in on_meta(config).named_parameters()}
            faults = prove(table, shapes).faults
            require(not faults, f"{dialect}{label and f' with {label}'}: {shown(faults)}")
            proven += 1
    return f"{proven} tables"


def configs_come_back_as_they_went(s: Subject) -> str:
    """from_config(to_config(c)) == c for every field, each key accounted for; a field it cannot say it must refuse."""
    if "hf" not in s.family.formats:
        raise Skipped("it has no hf format")
    hf = s.family.dialect("hf")
    told = replace(s.config, dtype="bfloat16", bos_token_id=1, eos_token_id=[2, 5], pad_token_id=3)
    lost, kept, refused = [], 0, 0
    for label, config in [("", s.config), ("its tokens", told), *variants(s.config)]:
        try:
            raw = json.loads(json.dumps(hf.to_config(config)))
        except UsageError:
            refused += 1
            continue
        changes = _changes(config, _read(hf.from_config, raw, s.family.name))
        lost += [f"{label or 'the tiny config'}: {change}" for change in changes]
        kept += not changes
    require(not lost, shown(lost))
    return f"{kept} configs come back, {refused} are refused"


def files_come_back_as_they_went(s: Subject) -> str:
    """Saved and loaded in every format: the same config, the same weights bit for bit, and so the same logits.

    Logits are compared in float64, where the order of sums moves them by 1e-14 (see zoo.testing.measure). It depends on
    how memory is aligned and laid out, and a mapped file's weights lie elsewhere than those they were saved from.
    """
    kept, silent = [], []
    for dialect in ("zoo", *_formats(s)):
        try:
            detail = _saved_and_loaded(s, dialect)
        except UsageError as error:
            silent.append(f"{dialect} refuses: {str(error).splitlines()[0]}")
        else:
            kept.append(f"{dialect}{detail}")
    return "; ".join([*kept, *silent])


def _formats(s: Subject) -> tuple[str, ...]:
    return tuple(s.family.formats)


def _saved_and_loaded(s: Subject, dialect: str) -> str:
    model = s.built("float32")
    with TemporaryDirectory() as folder:
        path = save(model, Path(folder) / ("saved.gguf" if dialect == "gguf" else "saved"), format=dialect)
        back = load(path, family=s.family.name)
        ours, found = dict(model.named_parameters()), dict(back.named_parameters())
        require(
            ours.keys() == found.keys(),
            f"{dialect}: different weights come back: {shown(sorted(ours.keys() ^ found.keys()))}",
        )
        wrong = [name for name, p in ours.items() if p.dtype != found[name].dtype or not torch.equal(p, found[name])]
        require(not wrong, f"{dialect}: {shown(wrong)} come back changed")
        assert isinstance(back.config, ModelConfig)
        changes = _changes(replace(s.config, dtype="float32"), back.config)
        if dialect in ("zoo", "hf"):
            require(not changes, f"{dialect}: {shown(changes)}")
        _same_logits(s, dialect, model, back)
    return f" (without {', '.join(c.removeprefix('model.').partition(':')[0] for c in changes)})" if changes else ""


def _same_logits(s: Subject, dialect: str, model: torch.nn.Module, back: torch.nn.Module) -> None:
    try:
        tokens = runnable(s).tokens(2, s.longest)
    except Skipped:
        return  # its weights and config are the same; the kit cannot make its inputs
    with torch.no_grad():
        before, after = s.run(tokens, deepcopy(model).double()), s.run(tokens, back.double())
    for name, x in before.items():
        gap = difference(after[name], x)
        require(gap < LIMIT, f"{dialect}: {name} of the model that comes back differ by {gap:.2g}")


def _read(from_config: Callable[[ForeignConfig], ModelConfig], raw: dict[str, Any], family: str) -> ModelConfig:
    keys = ForeignConfig(raw)
    config = from_config(keys)
    keys.check(where=family)
    return config


def _changes(before: ModelConfig, after: ModelConfig) -> list[str]:
    """What comes back otherwise than it went, by field."""
    if type(before) is not type(after):
        raise Broken(f"a {type(before).__name__} comes back as a {type(after).__name__}")
    return differences(after, before)


PROPERTIES = (its_tables_are_bijections, configs_come_back_as_they_went, files_come_back_as_they_went)
