"""Where each tensor of the files goes in a class of transformers: the table that its own renamings and merges make.

What transformers does while it loads, it is asked for here name by name, on shapes alone. Whatever has no place then
is missing, unexpected or of another shape in zoo's ledger, as for any other family; nothing is left for it to draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy.records import Shape
from zoo.errors import UsageError
from zoo.files.tensor_info import TensorInfo
from zoo.models.construction import on_meta, shared_parameters
from zoo.models.theirs.config import TransformersConfig
from zoo.models.theirs.model import PART
from zoo.weights.entries import Ignore, alias
from zoo.weights.ops import Op, same
from zoo.weights.table import Step, Table

FREQUENCIES = r"rotary_emb\.inv_freq$"
COUNTED = ("position_ids", "num_batches_tracked")
Found = list[tuple[str, str]]  # the tensors that make one of theirs: each with the pattern that caught it


@dataclass(frozen=True, init=False)
class TheirTable(Table):
    """A table that was worked out for one set of files, name by name."""

    steps: Mapping[str, Step]  # by each of our names
    left_out: Mapping[str, str]  # a foreign tensor -> why it is of no use

    def __init__(self, steps: Iterable[Step], left_out: Mapping[str, str], copies: Mapping[str, str]) -> None:
        super().__init__([alias(copy, of) for copy, of in copies.items()])
        object.__setattr__(self, "steps", {name: step for step in steps for name in step.ours})
        object.__setattr__(self, "left_out", left_out)

    def plan(self, ours: Iterable[str], present: Iterable[str] | None = None) -> tuple[list[Step], list[str]]:
        """The step of each of our names; one that no tensor is for comes from a tensor of its own name, not there."""
        chosen = [self.steps.get(n) or Step((n,), (n.removeprefix(PART),), same) for n in ours]
        return list({step.ours: step for step in chosen}.values()), []

    def ignoring(self, name: str) -> Ignore | None:
        return Ignore(name, self.left_out[name]) if name in self.left_out else None


def planned(c: TransformersConfig, tensors: Mapping[str, TensorInfo]) -> TheirTable:
    """The table of these files."""
    model: Any = on_meta(c)
    theirs: Any = model.theirs
    state = {name: tuple(x.shape) for name, x in theirs.state_dict().items()}
    first = {name.removeprefix(PART): names[0] for names, _ in shared_parameters(model) for name in names}
    sources, converters = _sources(theirs, state, tensors)
    steps, copies, made = [], {}, {}
    for target, found in sources.items():
        if target not in first:
            continue
        step = _step(theirs, target, found, converters, first, tensors)
        if step is None:
            continue
        if (ours := first[target]) in made:  # tied, and in the files twice
            copies[found[0][0]] = made[ours]
            continue
        made |= {name: found[0][0] for name in step.ours}
        steps.append(step)
    return TheirTable(steps, _left_out(theirs, sources, state, tensors), copies)


def _sources(
    theirs: Any, state: Mapping[str, Shape], tensors: Iterable[str]
) -> tuple[dict[str, Found], dict[str, Any]]:
    """By each of their names the tensors of the files that go there, and the merges by the patterns that call them."""
    from zoo.models.transformers_library import conversions

    rename, converters = conversions(theirs, state)
    found: dict[str, Found] = {}
    for name in sorted(tensors, key=_natural):
        target, pattern = rename(name)
        found.setdefault(target, []).append((name, pattern or ""))
    return found, converters


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Experts in the order of their numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]


def _step(
    theirs: Any,
    target: str,
    found: Found,
    converters: Mapping[str, Any],
    first: Mapping[str, str],
    tensors: Mapping[str, TensorInfo],
) -> Step | None:
    """How one of their weights comes about; None where the tensors do not make it: they are then left over."""
    names = [name for name, _ in found]
    converter = converters.get(found[0][1])
    if converter is None:
        return Step((first[target],), (names[0],), same) if len(names) == 1 else None
    given = [torch.empty(tensors[name].shape, device="meta") for name in names]
    try:
        made = _convert(theirs, target, found, converter, given)
    except Exception:  # a third party's, which may raise anything at tensors that do not fit
        return None
    shapes = [tuple(x.shape) for x in made.values()]
    state = theirs.state_dict()
    if any(name not in first or tuple(state[name].shape) != shape for name, shape in zip(made, shapes, strict=True)):
        return None
    read = [tensors[name].shape for name in names]
    change: Callable[[Sequence[Tensor]], list[Tensor]] = partial(_load, theirs, target, found, converter)
    op = Op("as transformers merges them", change, _cannot, lambda _: read, lambda _: shapes)
    return Step(tuple(first[name] for name in made), tuple(names), op)


def _convert(
    theirs: nn.Module, target: str, found: Found, converter: Any, given: Sequence[Tensor]
) -> dict[str, Tensor]:
    """What transformers makes of these tensors, by its names."""
    work, built = deepcopy(converter), theirs
    for (name, pattern), tensor in zip(found, given, strict=True):
        work.add_tensor(target, name, pattern, partial(_itself, tensor))
    made = work.convert(target, model=built, config=built.config)
    return {name: x[0] if isinstance(x, list) else x for name, x in made.items()}


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _load(theirs: nn.Module, target: str, found: Found, converter: Any, given: Sequence[Tensor]) -> list[Tensor]:
    return list(_convert(theirs, target, found, converter, given).values())


def _cannot(given: Sequence[Tensor]) -> list[Tensor]:
    raise UsageError(
        "zoo does not write the weights of a model that transformers computes",
        hint="copy the files, or save it with transformers",
    )


def _left_out(
    theirs: Any, sources: Mapping[str, Found], state: Mapping[str, Shape], tensors: Mapping[str, TensorInfo]
) -> dict[str, str]:
    """Tensors that the class itself says it has no use for, and numbers that it counts itself."""
    patterns = [*(getattr(theirs, "_keys_to_ignore_on_load_unexpected", None) or ()), FREQUENCIES]
    whole = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    out = {}
    for target, found in sources.items():
        for name, _ in found:
            if target not in state and whole.search(name):
                out[name] = "its class says that it has no use for it"
            elif target.endswith(COUNTED) and tensors[name].dtype.startswith("int"):
                out[name] = "a buffer that its class counts itself"
    return out
