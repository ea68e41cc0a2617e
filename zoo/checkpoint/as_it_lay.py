"""Packed weights written as they lay in the file that they were kept from, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

from torch import Tensor, nn

from zoo.checkpoint.inspection import Ledger
from zoo.errors import UsageError, some
from zoo.files.packed import Packing
from zoo.nn.packed import OfFile, PackedLinear
from zoo.parallel.gathering import mesh_of
from zoo.weights.account import grouped
from zoo.weights.table import Step

HINT = "zoo.convert writes the numbers that they stand for"


def as_it_lay(model: nn.Module, format: str, packed: Mapping[str, PackedLinear]) -> dict[str, Tensor]:
    """The parts of all packed weights of a model by their names in its file.

    Raises UsageError for weights that are no longer, or never were, just what that file holds.
    """
    if mesh_of(model) is not None:
        raise _refused("each rank has a part of them", hint="zoo.load without mesh= reads all, and can save it")
    ledger, packing = _source(model, format)
    found: dict[str, Tensor] = {}
    for step in ledger.account.steps:
        if kept := [name for name in step.ours if name in packed]:
            found |= _parts(ledger, step, kept, packed)
    missing = [
        name for name, matrix in packing.matrices.items() if any(i.name not in found for i in matrix.parts.values())
    ]
    if missing:
        raise _refused(f"{some(grouped(missing))} did not stay packed when the model was loaded")
    return found


def settings_of(model: nn.Module) -> dict[str, Any]:
    """What the file's config.json says of how its weights are packed."""
    checkpoint = cast(Ledger, model.ledger).checkpoint
    return {key: checkpoint.config[key] for key in sorted(cast(Packing, checkpoint.packing).keys)}


def check_dtype(model: nn.Module, dtype: str) -> None:
    """Raise UsageError for a model in another type than its file says, by which a reader rounds what it unpacks."""
    if (said := cast(Ledger, model.ledger).config.dtype) != dtype:
        raise _refused(
            f"the file says dtype {said}, and the model was loaded as {dtype}", hint="load it without dtype="
        )


def _source(model: nn.Module, format: str) -> tuple[Ledger, Packing]:
    """The ledger of the file that the weights were kept from, and how that packs them."""
    ledger = cast(Ledger | None, getattr(model, "ledger", None))
    packing = None if ledger is None else ledger.checkpoint.packing
    if ledger is None or packing is None:
        raise _refused("they come from no packed file of the hub's kind", hint="zoo quantize writes packed weights")
    if format != "hf" or ledger.dialect != "hf":
        raise _refused(f"they lie in a file of the format {ledger.dialect}, and {format} has no such weights")
    if not packing.keys:
        raise _refused("how they are packed stands in a file beside config.json")
    if nested := [key for key in packing.keys if "." in key]:
        raise _refused(f"how they are packed stands in a group of config.json, {nested[0]}")
    return ledger, packing


def _parts(ledger: Ledger, step: Step, kept: list[str], packed: Mapping[str, PackedLinear]) -> dict[str, Tensor]:
    """The parts of the foreign matrices of one step."""
    if len(kept) < len(step.ours):
        raise _refused(f"{some(grouped(set(step.ours) - set(kept)))} of the same matrix is packed no longer")
    if renamed := [name for name in step.theirs if ledger.account.actual[name] != name]:
        raise _refused(f"the file calls {renamed[0]} {ledger.account.actual[renamed[0]]}")
    found: dict[str, Tensor] = {}
    heights: dict[str, int] = {}
    rows = 0
    for name in kept:
        layer = packed[name]
        if not isinstance(layer.scheme, OfFile):
            raise _refused(f"{name} was put into the order of a kernel, or rounded by zoo")
        for piece in layer.scheme.pieces:
            rows += len(piece)
            heights[piece.record.name] = prod(piece.record.shape[:-1])
            found |= {info.name: layer.parts[piece.buffers[role]] for role, info in piece.record.parts.items()}
    if rows != sum(heights.values()):
        raise _refused(f"{some(grouped(kept))} have {rows} rows of the {sum(heights.values())} in the file")
    return found


def _refused(what: str, hint: str = HINT) -> UsageError:
    return UsageError(f"zoo.save: the packed weights cannot be written as they were: {what}", hint=hint)
