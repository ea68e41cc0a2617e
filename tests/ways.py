"""In which ways a family is cut over ranks in every run: in those that touch something that none before it has.

Every family is cut within its layers and spread. What the other ways meet in a model is read off its modules and what
they declare (see `touched`), so that a block, a cache, or a mixture that is new is cut by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

from torch import nn

from tests.kinds import kind_of
from zoo.anatomy.cuts import EXPERTS
from zoo.errors import UsageError
from zoo.models.construction import on_meta
from zoo.parallel.declared import cuts_of, names_of
from zoo.parallel.layout import CUTS
from zoo.parallel.plans import of_way
from zoo.parallel.sequence import blocks_of, says, stacks_of
from zoo.testing import Subject
from zoo.testing.evened import evened


def ways_of(subjects: Iterable[Subject], ranks: int = 2) -> dict[str, tuple[str, ...]]:
    """The ways of each family, by its name: the first family of each kind is cut in the way that touches it."""
    seen: set[Any] = set()
    found: dict[str, tuple[str, ...]] = {}
    for s in subjects:
        model = on_meta(evened(s.config, ranks))
        ways = {way: {(way, *kind) for kind in touched(model, way)} for way in CUTS if _can(model, way, ranks)}
        found[s.family.name] = tuple(way for way, kinds in ways.items() if kinds - seen)
        seen.update(*ways.values())
    return found


def touched(model: Any, way: str) -> Iterator[tuple[Any, ...]]:
    """What a way of cutting meets in a model, kind by kind; one that is not told of here meets another in each."""
    if way == "ep":
        yield from _mixtures(model)
    elif way == "cp":
        yield from _of_trunk(model, "forward", "encode", "read", "new_cache")
        yield from _attention(model)
    elif way == "pp":
        yield from _of_trunk(model, "forward", "encode", "read", "decode", "new_cache")
        yield "tied", any(len(names) > 1 for names in names_of(model))
        yield from (("part", name) for name, _ in model.named_children())
        yield from (("layer", type(layer), _cache(layer)) for layer in model.layers)
    elif way == "sp":
        yield from _between(model)
    else:
        yield (object(),)


def _can(model: nn.Module, way: str, ranks: int) -> bool:
    try:
        of_way(model, way, SimpleNamespace(size=lambda: ranks))  # pyrefly: ignore[bad-argument-type]
    except UsageError:
        return False
    return True


def _of_trunk(model: nn.Module, *names: str) -> Iterator[tuple[Any, ...]]:
    """What it does by itself of what a decoder does, or as others do."""
    yield from ((name, inspect.unwrap(getattr(type(model), name))) for name in names)


def _mixtures(model: nn.Module) -> Iterator[tuple[Any, ...]]:
    """Of each stack of experts: its parts, what holds it, and what chooses among them."""
    for block in model.modules():
        for part in block.children():
            if cuts_of(part, (EXPERTS,)):
                beside = [(name, type(other)) for name, other in block.named_children()]
                yield type(block), type(part), *(n for n, p in part._parameters.items() if p is not None), *beside


def _between(model: nn.Module) -> Iterator[tuple[Any, ...]]:
    """Of each stack: how its layers follow each other, what they do by themselves, and what is given all tokens."""
    for layers, is_plain in stacks_of(model):
        yield "stack", is_plain
        for layer in layers:
            yield "layer", type(layer)
            blocks = [*blocks_of(layer)]
            yield from (("block", type(block), says(block, "last_part")) for block in blocks)
            yield from (("alone", type(part)) for part in layer.children() if part not in blocks)


def _attention(model: Any) -> Iterator[tuple[Any, ...]]:
    """Of each layer: the blocks that keep something of tokens, their switches and parts, and what is kept."""
    for layer in model.layers:
        for block in layer.modules():
            if hasattr(block, "new_cache") and block is not layer:
                parts = [(type(part), *_switches(part)) for part in block.children() if not isinstance(part, nn.Linear)]
                yield _cache(layer), type(block), *_switches(block), *parts


def _switches(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """What is said in words or is on or off, and which numbers and parts there are, however large."""
    for name, value in {**vars(part), **part._modules, **part._parameters}.items():
        if is_dataclass(value):
            yield name, kind_of(value)
        elif name[0] != "_" and name != "training":
            yield name, value if isinstance(value, bool | str) else value is not None


def _cache(layer: Any) -> str:
    return type(layer.new_cache(1, 2)).__name__
