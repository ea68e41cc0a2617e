"""What the blocks of a built module declare of how they are cut: each weight with its owner, and what must divide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

from zoo.anatomy.cuts import SHARED, Cut, Share, share_of
from zoo.errors import UsageError
from zoo.nn.products import Linear
from zoo.parallel.shares import TENSOR, Need, need_of

Kinds = tuple[str, ...]  # of cuts, of which zoo.anatomy.cuts names all
# What zoo.parallel.cutting puts another in the place of.
KNOWN = nn.Linear.forward, Linear.forward, nn.Embedding.forward


class CutWeight(NamedTuple):
    """A weight in a block: the module that owns it, by which name, and how it is cut."""

    block: nn.Module
    owner: nn.Module
    name: str
    cut: Cut
    share: Share


def places_of(model: nn.Module, kinds: Kinds = TENSOR) -> list[CutWeight]:
    """Every weight that a block declares, with how it is cut.

    What goes by several names, of which one is in no block's table, is left out: all must read it alike.
    """
    places = [place for block in model.modules() for cut in cuts_of(block, kinds) for place in _declared(block, cut)]
    found = {(id(place.owner), place.name): place.share for place in places}
    gone: set[tuple[int, str]] = set()
    for names in names_of(model):
        parted = [name.rpartition(".") for name in names]
        owners = [(id(model.get_submodule(path)), leaf) for path, _, leaf in parted]
        if len({found.get(owner) for owner in owners}) > 1:
            gone |= {*owners}
    return [place for place in places if (id(place.owner), place.name) not in gone]


def shares_of(model: nn.Module, places: list[CutWeight] | None = None, kinds: Kinds = TENSOR) -> dict[str, Share]:
    """How each declared weight is cut, by its first name."""
    found = {(id(place.owner), place.name): place.share for place in places or places_of(model, kinds)}
    shares: dict[str, Share] = {}
    for first, *_ in names_of(model):
        path, _, leaf = first.rpartition(".")
        if share := found.get((id(model.get_submodule(path)), leaf)):
            shares[first] = share
    return shares


def needs_of(model: nn.Module, kinds: Kinds = TENSOR) -> list[Need]:
    """What the weights of a model ask of the number of ranks."""
    needs: list[Need] = []
    for place in places_of(model, kinds):
        told = place.cut.of or f"{place.cut.part} of {type(place.block).__name__}"
        weight = place.owner._parameters[place.name]
        assert weight is not None
        if need := need_of(told, tuple(weight.shape), place.share):
            needs.append(need)
    return needs


def _declared(block: nn.Module, cut: Cut) -> Iterator[CutWeight]:
    units, owner = None if cut.of is None else getattr(block, cut.of), getattr(block, cut.part, None)
    if isinstance(owner, nn.Module) and cut.by != SHARED and type(owner).forward not in KNOWN:
        what = f"{cut.part} of {type(block).__name__} is a {type(owner).__name__}, which zoo cannot cut"
        raise UsageError(what, hint="let the block's own table `cuts` leave it out: it is then whole on every rank")
    weights = owner._parameters if isinstance(owner, nn.Module) else {cut.part: block._parameters.get(cut.part)}
    for name, weight in weights.items():
        if weight is not None:
            of = owner if isinstance(owner, nn.Module) else block
            yield CutWeight(block, of, name, cut, share_of(cut, weight.ndim, units))


def cuts_of(block: nn.Module, kinds: Kinds = TENSOR) -> tuple[Cut, ...]:
    """What a block declares of some kinds of cuts."""
    cuts: Any = getattr(block, "cuts", ())
    return tuple(cut for cut in cuts if isinstance(cut, Cut) and cut.by in kinds)


def names_of(model: nn.Module) -> Iterator[list[str]]:
    """All names of each parameter."""
    found: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), []).append(name)
    yield from found.values()
