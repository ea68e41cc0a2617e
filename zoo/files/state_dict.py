"""Where the weights are in what trainers save: a state dict, plain or under a name, with an optimizer and more beside.

The same search runs over what a pickle describes and over what torch makes of it. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from zoo.errors import CheckpointError, clean, some

T = TypeVar("T")

DEEPEST = 4  # tables within tables that are searched
# Words in the names of what is no model: tensors in there are left out, and told.
_NOT_WEIGHTS = re.compile(
    r"(?:^|_)(?:optim|optims|optimizers?|schedulers?|scaler|rng|random|callbacks|loops|args|config|hparams|hyper|amp"
    r"|history|metrics|stats?|losses|loss|step|epoch)(?:$|_)",
    re.IGNORECASE,
)


class Weights(NamedTuple, Generic[T]):
    """A state dict, the names that led to it, and all that lies beside it."""

    tensors: dict[str, T]
    inside: tuple[str, ...]
    beside: tuple[str, ...]

    def told(self, file: str) -> tuple[str, ...]:
        """What is to be said of weights that lie under a name."""
        if not self.inside:
            return ()
        left = f"; left out: {clean(some([*map(clean, self.beside)], 12), 300)}" if self.beside else ""
        return (f"{file}: the weights are those under {clean('.'.join(self.inside))!r}{left}",)


def find_weights(tree: Any, kind: type[T], file: Path) -> Weights[T]:
    """The one state dict of tensors of a `kind` that is in a pickle's `tree`.

    Raises CheckpointError where there is none or more than one, or where tensors beside it may belong to it.
    """
    if not isinstance(tree, Mapping):
        raise CheckpointError(file, "", f"holds {_a(tree)}, not a state dict")
    found = [*_state_dicts(tree, kind, ())]
    if len(found) > 1:
        names = some([clean(".".join(path)) for path in found], 8)
        hint = f"save the one that you want alone, such as what is under {clean(found[0][-1])!r}, as safetensors"
        raise CheckpointError(file, "", f"holds {len(found)} state dicts: {names}", hint=hint)
    if not found:
        raise _no_weights(tree, kind, file)
    inside, beside, within = found[0], [], tree
    for name in inside:
        if stray := [n for n, v in within.items() if isinstance(v, kind) and not _is_not_weights(n)]:
            what = f"has tensors beside {clean(name)!r}: {clean(some([*map(str, stray)], 4), 200)}"
            raise CheckpointError(file, "", what, hint="save the weights alone, as safetensors")
        beside += [str(n) for n in within if n != name]
        within = within[name]
    return Weights(dict(within), inside, tuple(beside))


def _state_dicts(tree: Mapping[Any, Any], kind: type[Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all state dicts that may be a model's."""
    if all(isinstance(name, str) and isinstance(value, kind) for name, value in tree.items()):
        if tree or not path:
            yield path
    elif len(path) < DEEPEST:
        for name, value in tree.items():
            if isinstance(value, Mapping) and isinstance(name, str) and not _is_not_weights(name):
                yield from _state_dicts(value, kind, (*path, name))


def _no_weights(tree: Mapping[Any, Any], kind: type[Any], file: Path) -> CheckpointError:
    name, value = next((n, v) for n, v in tree.items() if not isinstance(n, str) or not isinstance(v, kind))
    why = "zoo reads a state dict of tensors, alone or under a name such as 'model' or 'state_dict'"
    return CheckpointError(file, str(name), f"is {_a(value)}, not a tensor", why=why)


def _is_not_weights(name: object) -> bool:
    return not isinstance(name, str) or _NOT_WEIGHTS.search(name) is not None


def _a(value: object) -> str:
    return f"a {type(value).__name__.lstrip('_')}"
