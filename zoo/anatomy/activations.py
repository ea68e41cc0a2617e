"""Numbers per token that autograd keeps for the backward pass, with and without recomputation. Needs no torch."""

from __future__ import annotations

from collections import defaultdict
from math import prod

from zoo.anatomy.builder import Anatomy, Weight

Layer = tuple[str, int] | None  # the stack and the number; None: outside the layers


def kept_numbers(anatomy: Anatomy) -> float:
    """Numbers per token that autograd keeps, in the dtype of the weights.

    The result of every matrix product (it enters a rotation, an activation, a product or the residual stream that
    the next norm reads), the result of every norm, what attention or a state gives to what follows, and twice what
    enters a down projection: the activation's result, and its product with the other half if gated.
    """
    return sum(_by_layer(anatomy).values())


def recomputed_numbers(anatomy: Anatomy) -> float:
    """Numbers per token that are kept where each layer is computed again on the way back (arXiv:2205.05198, 5).

    What enters each layer, all that the largest layer keeps while it is computed again, and what is outside.
    """
    kept = _by_layer(anatomy)
    outside = kept.pop(None, 0.0)
    widths = _widths(anatomy)
    widest = max(widths.values(), default=0)
    entered = sum(widths.get(layer, widest) for layer in kept)
    return entered + max(kept.values(), default=0) + outside


def largest_layer(anatomy: Anatomy) -> float:
    """Numbers per token that the layer which keeps most keeps."""
    return max((numbers for layer, numbers in _by_layer(anatomy).items() if layer is not None), default=0.0)


def is_head(weight: Weight) -> bool:
    """Whether a weight makes logits: of those the loss keeps what it made of them."""
    return weight.role == "head" and weight.is_matmul


def _by_layer(anatomy: Anatomy) -> dict[Layer, float]:
    kept: dict[Layer, float] = defaultdict(float)
    for weight in anatomy.weights:
        for layer in _layers(weight):
            kept[layer] += _of_one(weight)
    for state in anatomy.states:
        for i in state.layers:
            kept[state.stack.removesuffix(".layers"), i] += state.width
    for a in anatomy.attention:
        for i in a.layers:
            kept[a.stack.removesuffix(".layers"), i] += a.num_heads * a.v_dim
    return {layer: numbers for layer, numbers in kept.items() if numbers}


def _of_one(weight: Weight) -> float:
    kept = 0.0
    if weight.is_matmul and not is_head(weight):
        kept += weight.used * prod(weight.shape[:-1])
    if weight.is_matmul and "down_proj" in weight.name:
        kept += weight.used * prod(weight.shape) / weight.shape[-2] * 2
    if weight.role == "norm" and weight.name.endswith("weight"):
        kept += weight.shape[0]
    return kept


def _widths(anatomy: Anatomy) -> dict[Layer, int]:
    """The width of what enters each layer, which is that of its widest norm."""
    found: dict[Layer, int] = defaultdict(int)
    for weight in anatomy.weights:
        if weight.role == "norm":
            for layer in _layers(weight):
                found[layer] = max(found[layer], weight.shape[-1])
    return found


def _layers(weight: Weight) -> list[Layer]:
    if weight.layers is None:
        return [None]
    stack = weight.name.partition(".{i}")[0].removesuffix(".layers")
    return [(stack, i) for i in weight.layers]
