"""Where the weights are in what trainers save: a state dict, plain or under a name, with an optimizer and more beside.

The same search runs over what a pickle describes and over what torch makes of it. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from zoo.errors import CheckpointError, clean, some

T = TypeVar("T")

DEEPEST = 4  # tables within tables that are searched
MOST = 9  # state dicts of a file that are counted
# Words in the names of what is no model: tensors in there are left out, and told.
_NEVER = (
    "optim|optims|optimizers?|exp_avg|momentum|grads?|gradients?|schedulers?|scaler|rng|random|callbacks|loops|args"
    "|config|hparams|hyper|amp|history|metrics"
)
_OTHER_THINGS = re.compile(rf"(?:^|_)(?:{_NEVER})(?:$|_)", re.IGNORECASE)
# Nor are these a model, but models too are named by them: model_epoch_3.
_NOT_WEIGHTS = re.compile(rf"(?:^|_)(?:{_NEVER}|stats?|losses|loss|step|epoch)(?:$|_)", re.IGNORECASE)


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
    found = [*islice(_state_dicts(tree, kind, (), set()), MOST)]
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
        _refuse_others(within, name, kind, len(_at(tree, found[0])), file)
        beside += [str(n) for n in within if n != name]
        within = within[name]
    return Weights(dict(within), inside, tuple(beside))


def _state_dicts(
    tree: Mapping[Any, Any], kind: type[Any], path: tuple[str, ...], barren: set[tuple[int, int]]
) -> Iterator[tuple[str, ...]]:
    """The paths of all state dicts that may be a model's; a `barren` table at a depth is not searched again."""
    if (len(path), id(tree)) in barren:
        return
    count = 0
    if all(isinstance(name, str) and isinstance(value, kind) for name, value in tree.items()):
        if tree or not path:
            count = 1
            yield path
    elif len(path) < DEEPEST:
        for name, value in tree.items():
            if isinstance(value, Mapping) and isinstance(name, str) and not _is_not_weights(name):
                for deeper in _state_dicts(value, kind, (*path, name), barren):
                    count += 1
                    yield deeper
    if not count:
        barren.add((len(path), id(tree)))


def _refuse_others(tree: Mapping[Any, Any], name: str, kind: type[Any], count: int, file: Path) -> None:
    """Refuse what may be a model too, beside one of `count` tensors: a table of half as many that is not only them."""
    for other, value in tree.items():
        if other == name or (isinstance(other, str) and _OTHER_THINGS.search(other)):
            continue
        if 2 * max(_sizes(value, kind), default=0) >= count:
            what = f"has tensors under {clean(str(other))!r} too, which is not a plain state dict as {clean(name)!r} is"
            why = "either may be the model that you want"
            raise CheckpointError(file, "", what, why=why, hint="save the weights of one model alone, as safetensors")


def _sizes(tree: Any, kind: type[Any]) -> Iterator[int]:
    """How many tensors each table has that is anywhere in `tree`, which may hold itself."""
    seen, left = {id(tree)}, [tree]
    while left:
        top = left.pop()
        is_table = isinstance(top, Mapping)
        within = list(top.values()) if is_table else top if isinstance(top, list | tuple) else []
        if is_table and (size := sum(isinstance(value, kind) for value in within)):
            yield size
        more = [value for value in within if isinstance(value, Mapping | list | tuple) and id(value) not in seen]
        seen.update(map(id, more))
        left += more


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _no_weights(tree: Mapping[Any, Any], kind: type[Any], file: Path) -> CheckpointError:
    name, value = next((n, v) for n, v in tree.items() if not isinstance(n, str) or not isinstance(v, kind))
    why = "zoo reads a state dict of tensors, alone or under a name such as 'model' or 'state_dict'"
    return CheckpointError(file, str(name), f"is {_a(value)}, not a tensor", why=why)


def is_other(name: str) -> bool:
    """Whether a name is that of what is no model, such as an optimizer."""
    return _OTHER_THINGS.search(name) is not None


def _is_not_weights(name: object) -> bool:
    return not isinstance(name, str) or _NOT_WEIGHTS.search(name) is not None


def _a(value: object) -> str:
    return f"a {type(value).__name__.lstrip('_')}"
