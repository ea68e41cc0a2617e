"""Numbers per token that autograd keeps for the backward pass, with and without recomputation. Needs no torch."""

from __future__ import annotations

from collections import defaultdict
from math import prod

from zoo.anatomy.builder import Anatomy, Weight
from zoo.anatomy.cuts import COLUMNS

Layer = tuple[str, int] | None  # the stack and the number; None: outside the layers


def kept_numbers(anatomy: Anatomy, parts: int = 1) -> float:
    """Numbers per token that autograd keeps, in the dtype of the weights.

    The result of every matrix product (it enters a rotation, an activation, a product or the residual stream that
    the next norm reads), the result of every norm, what attention or a state gives to what follows, and twice what
    enters a down projection: the activation's result, and its product with the other half if gated.

    Of what is between the blocks of a layer a rank may have one of so many `parts` (arXiv:2205.05198, 4.2.2): what
    norms give, what blocks give that end in a product cut by columns, and what enters blocks that are all cut, for that
    is gathered anew. What leaves a stack is whole.
    """
    leaving = sum(_widths(anatomy).get(layer, 0) for layer in _ends(anatomy)) if parts > 1 else 0
    return sum(_by_layer(anatomy, parts).values()) + leaving * (1 - 1 / parts)


def recomputed_numbers(anatomy: Anatomy, parts: int = 1) -> float:
    """Numbers per token that are kept where each layer is computed again on the way back (arXiv:2205.05198, 5).

    What enters each layer, all that the largest layer keeps while it is computed again, and what is outside.
    """
    kept = _by_layer(anatomy, parts)
    outside = kept.pop(None, 0.0)
    widths = _widths(anatomy)
    widest = max(widths.values(), default=0)
    passes = _passes(anatomy)
    entered = sum(passes.get(layer, 1) * widths.get(layer, widest) for layer in kept) / parts
    if parts > 1:  # what enters a stack and what leaves it is whole
        entered += sum(2 * widths.get(layer, widest) for layer in _ends(anatomy)) * (1 - 1 / parts)
    return entered + max((numbers / passes.get(layer, 1) for layer, numbers in kept.items()), default=0) + outside


def largest_layer(anatomy: Anatomy, parts: int = 1) -> float:
    """Numbers per token that the layer which keeps most keeps."""
    passes, kept = _passes(anatomy), _by_layer(anatomy, parts).items()
    return max((numbers / passes.get(layer, 1) for layer, numbers in kept if layer is not None), default=0.0)


def is_head(weight: Weight) -> bool:
    """Whether a weight makes logits: of those the loss keeps what it made of them."""
    return weight.role == "head" and weight.is_matmul


def _by_layer(anatomy: Anatomy, parts: int = 1) -> dict[Layer, float]:
    kept: dict[Layer, float] = defaultdict(float)
    for weight in anatomy.weights:
        for layer in _layers(weight):
            kept[layer] += _of_one(weight, parts if _is_parted(weight) else 1)
    widths = _widths(anatomy)
    for layer, _ in {
        (layer, path[0]) for w in anatomy.weights if _is_whole(path := _path(w), w) for layer in _layers(w)
    }:
        kept[layer] += widths.get(layer, 0) * (1 - 1 / parts)  # a block that keeps all that enters it
    for state in anatomy.states:
        for i in state.layers:
            kept[state.stack.removesuffix(".layers"), i] += state.width
    for a in anatomy.attention:
        for i in a.layers:
            kept[a.stack.removesuffix(".layers"), i] += a.num_heads * a.v_dim
    return {layer: numbers for layer, numbers in kept.items() if numbers}


def _of_one(weight: Weight, parts: int) -> float:
    kept = 0.0
    if weight.is_matmul and not is_head(weight):
        kept += weight.used * prod(weight.shape[:-1]) / parts
    if weight.is_matmul and "down_proj" in weight.name:
        kept += weight.used * prod(weight.shape) / weight.shape[-2] * 2
    if weight.role == "norm" and weight.name.endswith("weight"):
        kept += weight.used * weight.shape[0] / parts
    return kept


def _path(weight: Weight) -> list[str]:
    """Where a weight is within its layer: the block and its part, or one that stands between blocks."""
    return weight.name.partition("{i}.")[2].removesuffix(".weight").split(".")


def _is_parted(weight: Weight) -> bool:
    """Whether what a weight makes is between the blocks: of a norm or matrix beside them, or the last of a block."""
    if weight.layers is None or weight.role == "vision":
        return False
    path = _path(weight)
    return len(path) == 1 or (len(path) == 2 and any(share.by == COLUMNS for share in weight.shares))


def _is_whole(path: list[str], weight: Weight) -> bool:
    """Whether its block has all tokens for good, as experts and matrices that no rank has a part of."""
    is_in_block = weight.layers is not None and weight.role != "vision" and len(path) > 1
    return is_in_block and weight.is_matmul and (len(path) > 2 or not weight.shares)


def _ends(anatomy: Anatomy) -> list[Layer]:
    """The last layer of each stack that reads texts."""
    last: dict[str, int] = {}
    for weight in anatomy.weights:
        for layer in _layers(weight) if weight.role == "norm" else []:
            if layer is not None:
                last[layer[0]] = max(layer[1], last.get(layer[0], 0))
    return [*last.items()]


def _widths(anatomy: Anatomy) -> dict[Layer, int]:
    """The width of what enters each layer, which is that of its widest norm."""
    found: dict[Layer, int] = defaultdict(int)
    for weight in anatomy.weights:
        if weight.role == "norm":
            for layer in _layers(weight):
                found[layer] = max(found[layer], weight.shape[-1])
    return found


def _passes(anatomy: Anatomy) -> dict[Layer, float]:
    """How often states pass through each layer that has a norm: several times where layers are shared."""
    return {layer: weight.used for weight in anatomy.weights if weight.role == "norm" for layer in _layers(weight)}


def _layers(weight: Weight) -> list[Layer]:
    if weight.layers is None:
        return [None]
    stack = weight.name.partition(".{i}")[0].removesuffix(".layers")
    return [(stack, i) for i in weight.layers]
