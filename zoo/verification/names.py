"""Which module of a foreign model is which of ours, read off the table that names the weights.

The table speaks the language of files. Modules in memory may go by other names: a prefix more or less is bridged here,
and a stack of layers is found by its length where its name says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from zoo.verification.recording import View, leaves, shared_prefix, stacks
from zoo.weights.table import Step, Table


def views_of(ours: nn.Module, theirs: nn.Module, table: Table) -> dict[str, View]:
    """Our modules with weights, and our layers, as they stand in `theirs`; those that are not found left out."""
    found = {
        name: view
        for name, view in counterparts(ours, theirs, table).items()
        if _has_bias(ours.get_submodule(name)) == _has_bias(view.module)
    }  # else one side adds the bias elsewhere, as Marian's head does in transformers, or not at all
    own, _ = table.plan(sorted(name for name, _ in ours.named_parameters()))
    return found | _layers(ours, theirs, own)


def counterparts(ours: nn.Module, theirs: nn.Module, table: Table) -> dict[str, View]:
    """The modules of `theirs` that hold the weights of ours."""
    steps, _ = table.plan(sorted(name for name, _ in ours.named_parameters(remove_duplicate=False)))
    modules = dict(theirs.named_modules())
    found: dict[str, View] = {}
    for name in leaves(ours):
        own = [s for s in steps if any(n.rpartition(".")[0] == name for n in s.ours)]
        own.sort(key=lambda s: not any(n.endswith(".weight") for n in s.ours))  # a bias may belong to what is around it
        views = (_leaf(name, step, modules) for step in own)
        view = next(filter(None, views), None) or _tied(name, ours, steps, table, modules)
        if view is not None:
            found[name] = view
    return found


def resolve(name: str, modules: Iterable[str]) -> str | None:
    """The one module whose dotted name is `name` with parts left out, or put in; the nearest, if it is the only one."""
    parts = name.split(".")
    close = [m for m in modules if m and (_is_within(m.split("."), parts) or _is_within(parts, m.split(".")))]
    close = [m for m in close if m.rpartition(".")[2] == parts[-1]]
    if not close:
        return None
    far = {m: abs(len(m.split(".")) - len(parts)) for m in close}
    best = min(far.values())
    nearest = [m for m in close if far[m] == best]
    return nearest[0] if len(nearest) == 1 else None


def _leaf(name: str, step: Step, modules: dict[str, nn.Module]) -> View | None:
    if len(step.theirs) > 1:  # experts, one file tensor each, are one module in memory
        found = resolve(shared_prefix(step.theirs), modules)
        return None if found is None else View(modules[found])
    found = resolve(step.theirs[0].rpartition(".")[0], modules)
    if found is None or _adds_its_own(modules[found]) or any(True for _ in modules[found].children()):
        return None
    if len(step.ours) == 1 and step.op.name == "same":
        return View(modules[found])
    columns = _columns(name, step, modules[found])
    return None if columns is None else View(modules[found], columns)


def _tied(
    name: str, ours: nn.Module, steps: Sequence[Step], table: Table, modules: dict[str, nn.Module]
) -> View | None:
    """A head that shares the embedding's weight, under the name that the table lets a second copy of it have."""
    module = ours.get_submodule(name)
    if isinstance(module, nn.Embedding):  # its copy is the head
        return None
    weight = getattr(module, "weight", None)
    twins = {n for n, p in ours.named_parameters(remove_duplicate=False) if p is weight}
    of = {n for s in steps if twins & set(s.ours) for n in s.theirs}
    copies = (a.theirs.rpartition(".")[0] for a in table.aliases if a.of in of and "embed" not in a.theirs)
    found = next(filter(None, (resolve(copy, modules) for copy in copies)), None)
    return None if found is None else View(modules[found])


def _has_bias(module: nn.Module) -> bool:
    return getattr(module, "bias", None) is not None


def _adds_its_own(module: nn.Module) -> bool:
    """An embedding that also scales what it gives, as Gemma's does in transformers, is no counterpart of ours."""
    return isinstance(module, nn.Embedding) and type(module) is not nn.Embedding


def _columns(name: str, step: Step, module: nn.Module) -> torch.Tensor | None:
    """Where our output features lie among theirs: what the op does to a bias, done to the numbers of the features."""
    bias = getattr(module, "bias", None)
    weight = getattr(module, "weight", None)
    size = bias.shape[0] if bias is not None else getattr(module, "nf", weight.shape[0] if weight is not None else 0)
    try:
        parts = step.op.load([torch.arange(size)])
    except (RuntimeError, IndexError, ValueError):
        return None  # the op is not one on output features
    which = next(i for i, own in enumerate(step.ours) if own.rpartition(".")[0] == name)
    return parts[which] if which < len(parts) and parts[which].ndim == 1 else None


def _layers(ours: nn.Module, theirs: nn.Module, steps: Sequence[Step]) -> dict[str, View]:
    """Layers that hold the same weights on both sides; else, layer by layer, the only other stack of that length."""
    modules, known = dict(theirs.named_modules()), stacks(ours)
    found: dict[str, View] = {}
    for layer in known:
        inside = [s for s in steps if any(own.startswith(f"{layer}.") for own in s.ours)]
        names = [n.rpartition(".")[0] for s in inside for n in s.theirs]
        home = shared_prefix(names)
        outside = {n for s in steps if s not in inside for n in s.theirs}
        name = resolve(home, modules) if home and not any(n.startswith(f"{home}.") for n in outside) else None
        while name and isinstance(modules[name], nn.ModuleList):  # a list is not called, what holds it is
            name = name.rpartition(".")[0]
        if name:
            found[layer] = View(modules[name])
    lists = [m for m in theirs.modules() if isinstance(m, nn.ModuleList)]
    for stack in dict.fromkeys(layer.rpartition(".")[0] for layer in known):
        members = [layer for layer in known if layer.rpartition(".")[0] == stack]
        alike = [m for m in lists if len(m) == len(members)]
        if not any(layer in found for layer in members) and len(alike) == 1:
            found |= {layer: View(m) for layer, m in zip(members, alike[0], strict=True)}
    return found


def _is_within(small: Sequence[str], large: Sequence[str]) -> bool:
    """Whether all parts of `small` occur in `large`, in that order."""
    rest = iter(large)
    return all(part in rest for part in small)
