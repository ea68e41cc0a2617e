"""What wrappers leave in tensor names: taken off where that explains every name, and never from some of them.

Parallel training, torch.compile and trainers hold the model as a child and save its names below theirs. Prefixes that
no model has are known by name; any other that stands on every tensor goes only if the family then knows the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from zoo.checkpoint.detection import reading_of
from zoo.errors import CheckpointError, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.files.open_tensors import OpenTensors
from zoo.files.tensor_info import TensorInfo
from zoo.registry.family import Family

# DataParallel and DistributedDataParallel; torch.compile; FSDP, new and old, and its checkpointing; DeepSpeed's engine.
INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module")
WRAPPERS = ("module", *INSIDE, "_forward_module")
DEEPEST = 6  # prefixes, one behind the other

_INSIDE = re.compile(rf"(?<=\.)(?:{'|'.join(INSIDE)})\.")
_FLAT = re.compile(r"(?:^|\.)_?flat_param(?:_\d+)?$")
Names = dict[str, str]  # as the family knows a tensor -> as the file does


def unwrapped(checkpoint: Checkpoint, family: Family) -> Checkpoint:
    """The checkpoint with the names that its model has, and what was taken off among what is to be told.

    Raises CheckpointError for a wrapper's prefix on some names only, for two names that become one, and for pieces of
    FSDP, which are no tensors of the model.
    """
    names = list(checkpoint.tensors)
    has_wrapper = any(_first(name) in WRAPPERS or _INSIDE.search(name) for name in names)
    if not has_wrapper and len({*map(_first, names)}) > 1:
        return checkpoint
    own = reading_of(family, checkpoint, ("*",))
    if own and (own.account.is_settled or (not has_wrapper and (own.account.loaded or own.account.mismatched))):
        return checkpoint
    prefix, plain = _plain(checkpoint, "", {name: name for name in names})
    best = _renamed(checkpoint, prefix, plain) if has_wrapper else checkpoint
    for _ in range(DEEPEST):
        if (prefix or has_wrapper) and _is_known(tried := _renamed(checkpoint, prefix, plain), family):
            return tried
        if len(shared := {*map(_first, plain)}) > 1 or not (more := shared.pop()):
            break
        prefix, plain = _plain(checkpoint, f"{prefix}{more}.", _cut(plain, more))
    return best


def _first(name: str) -> str:
    """What stands before the first dot; nothing where there is none."""
    return name.partition(".")[0] if "." in name else ""


def _cut(names: Names, prefix: str) -> Names:
    return {name.removeprefix(f"{prefix}."): old for name, old in names.items()}


def _plain(checkpoint: Checkpoint, prefix: str, names: Names) -> tuple[str, Names]:
    """Without the wrappers that stand before every name, and those inside names; the whole prefix and the names."""
    while found := [name for name in names if _first(name) in WRAPPERS]:
        first = _first(found[0])
        bare = [old for name, old in names.items() if _first(name) != first]
        if bare:
            what = f"{len(names) - len(bare)} of {len(names)} names begin with '{prefix}{first}.'"
            why = f"the others do not: {clean(some(bare), 200)}. A wrapper leaves its prefix on every name, or on none"
            hint = "two state dicts may have been mixed: save the weights of one model anew"
            raise CheckpointError(checkpoint.tensors[bare[0]].file, "", what, why=why, hint=hint)
        prefix, names = f"{prefix}{first}.", _cut(names, first)
    plain: Names = {}
    for name, old in names.items():
        if _FLAT.search(name):
            why, hint = "FSDP keeps several tensors in it", "save the model with FSDP's full state dict"
            raise CheckpointError(checkpoint.tensors[old].file, old, "is not a tensor of a model", why=why, hint=hint)
        short = _INSIDE.sub("", name)
        if short in plain:
            what = f"and {clean(plain[short])} are both {clean(short)} without what wrappers add"
            raise CheckpointError(checkpoint.tensors[old].file, old, what)
        plain[short] = old
    return prefix, plain


def _is_known(checkpoint: Checkpoint, family: Family) -> bool:
    """Whether the family knows most of the tensors by their names."""
    found = reading_of(family, checkpoint, ("*",))
    return found is not None and 2 * (len(found.account.loaded) + len(found.account.mismatched)) > len(
        checkpoint.tensors
    )


def _renamed(checkpoint: Checkpoint, prefix: str, names: Names) -> Checkpoint:
    tensors = {name: replace(checkpoint.tensors[old], name=name) for name, old in names.items()}
    opener = partial(_open_renamed, checkpoint, tensors, names)  # no closure: a model with its ledger is pickled
    undone = (*checkpoint.undone, *_told(prefix, names))
    packing = checkpoint.packing
    if packing is not None:
        matrices = {name: packing.matrices[old] for name, old in names.items() if old in packing.matrices}
        spare = frozenset(name for name, old in names.items() if old in packing.spare)
        packing = replace(packing, matrices=matrices, spare=spare)
    return replace(checkpoint, tensors=tensors, _open=opener, undone=undone, packing=packing)


def _open_renamed(checkpoint: Checkpoint, tensors: Mapping[str, TensorInfo], names: Names) -> OpenTensors:
    opened = checkpoint.open()
    return OpenTensors(tensors, lambda name: opened[names[name]], opened.close)


def _told(prefix: str, names: Names) -> Iterable[str]:
    if prefix:
        yield f"every tensor name begins with {clean(prefix)!r} in the files: taken off, as a wrapper's"
    inside = {found for old in names.values() for found in _INSIDE.findall(old.removeprefix(prefix))}
    if inside:
        yield f"tensor names have {clean(some(sorted(inside)))!r} inside in the files: taken out, as a wrapper's"
