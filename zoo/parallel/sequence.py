"""Sequence parallelism beside tensor parallelism (arXiv:2205.05198): between the cut blocks, states of some tokens.

It follows from what a class says that writes `forward`: `is_by_token`, that what it does beside calling its parts is
done to each token alone; `last_part`, that it gives what this part gave. What is said holds for that `forward`: a class
that writes it anew says so anew. Who says nothing is given all tokens. The class that calls the layers says of that
method `is_plain_stack`, that each is given what the one before gave; otherwise each layer parts and joins by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.anatomy.cuts import COLUMNS, ROWS
from zoo.errors import UsageError
from zoo.nn.decoder import Decoder
from zoo.nn.encoder_decoder import EncoderDecoder
from zoo.nn.products import is_linear
from zoo.parallel.between import Between, give_all, part_layer
from zoo.parallel.cutting import is_cut
from zoo.parallel.plan import ShardingPlan

ALONE = (nn.LayerNorm, nn.RMSNorm, nn.Identity)  # of torch, that work on each token alone


@dataclass
class SequencePlan(ShardingPlan):
    """Tensor parallelism, and layers that go on with a part of the tokens."""

    @classmethod
    def of(cls, model: nn.Module, mesh: DeviceMesh, way: str = "tp") -> SequencePlan:
        """The plan of a model on meta. Raises UsageError, with the reason, for what cannot be cut so."""
        layers = [layer for stack, _ in stacks_of(model) for layer in stack]
        if not any(map(is_by_token, layers)):
            kind, what = type(model).__name__, f"sp={mesh.size()}"
            named = min((type(layer).__name__ for layer in layers), default="")
            told = (
                f"{named} of {kind} does not say that it is_by_token, so its states are not parted between its blocks"
            )
            raise UsageError(
                f"{what}: {told if layers else f'{kind} has no stack of layers that reads texts'}",
                hint="cut it by tp alone: parallel.tp without parallel.sp",
            )
        return cast(SequencePlan, super().of(model, mesh))

    def install(self, meshes: Sequence[DeviceMesh] = ()) -> None:
        """Let the modules compute with their shares, and layers with their tokens."""
        found: dict[nn.Module, bool] = {}  # each layer, and whether it is the last of a row, at one of its places
        for stack, is_plain in stacks_of(self.model):
            for layer, after in zip(stack, [*[*stack][1:], None], strict=True):
                if is_by_token(layer):
                    is_last = not is_plain or after is None or not is_by_token(after)
                    found[layer] = found.get(layer, False) or is_last
        parts = {block: _parts(block) for layer in found for block in blocks_of(layer)}  # before they are other classes
        super().install(meshes)
        between = Between(self.ranks)
        for block, (rows, last) in parts.items():
            cut = [part for part in rows if is_cut(part, ROWS)]
            give_all(block, between, cut, last if is_cut(last, COLUMNS) else None)
        for layer, is_last in found.items():
            part_layer(layer, between, is_last=is_last)


def says(module: nn.Module, what: str, method: str = "forward") -> Any:
    """What the class that writes a module's `forward`, or another method, says of it."""
    owner = next(kind for kind in type(module).__mro__ if method in vars(kind))
    return vars(owner).get(what)


def is_by_token(module: nn.Module) -> bool:
    """Whether a module says so, or is one of torch's that are known; one that is cut itself is given all tokens."""
    if getattr(module, "cuts", ()):
        return False
    return is_linear(module) or type(module) in ALONE or bool(says(module, "is_by_token"))


def stacks_of(model: nn.Module) -> Iterator[tuple[Any, bool]]:
    """The layers that read texts, and whether nothing is done to the states from one to the next."""
    found = False
    for module in model.modules():
        if isinstance(module, Decoder):
            yield module.layers, says(module, "is_plain_stack", "read")
        elif isinstance(module, EncoderDecoder):
            yield module.encoder.layers, says(module, "is_plain_stack", "encode")
            yield module.decoder.layers, says(module, "is_plain_stack", "decode")
        else:
            continue
        found = True
    if not found and isinstance(layers := getattr(model, "layers", None), nn.ModuleList):
        yield layers, says(model, "is_plain_stack")


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a layer, at any depth, that are given all tokens."""
    for part in module.children():
        if is_by_token(part):
            yield from blocks_of(part)
        else:
            yield part


def _parts(block: nn.Module) -> tuple[list[Any], Any]:
    """What of a block is cut by rows, and what ends it, as far as it says so."""
    cuts: Any = getattr(block, "cuts", ())
    return [getattr(block, cut.part, None) for cut in cuts if cut.by == ROWS], getattr(
        block, says(block, "last_part") or "", None
    )
