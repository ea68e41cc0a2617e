"""Bytes that a device takes, by arithmetic on what the blocks declare. Needs no torch.

What one rank holds is described as a model of its own, of which zoo.anatomy.size then counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from math import prod

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.records import AttentionSpec, Weight
from zoo.anatomy.size import Size, item_bytes
from zoo.errors import UsageError
from zoo.parallel.layout import Layout
from zoo.parallel.shares import Need, check, expert_share, layers_of, local_shape, need_of, tensor_share

STACK = "layers.{i}."  # whose layers the stages of a pipeline have; towers and embeddings are the first one's
TEXTS = (
    STACK,
    *(f"{part}.{STACK}" for part in ("encoder", "decoder", "trunk")),
)  # whose states ranks can have parts of
FIRST = ("embedding", "position", "vision")  # what else the first stage has, and the norm of embeddings


@dataclass(frozen=True)
class Spread:
    """Bytes on a device of one training step, where `dp` ranks read different texts, without the activations."""

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer


def check_layout(anatomy: Anatomy, layout: Layout) -> None:
    """Raise UsageError for a layout that the model cannot be laid out in, with the sizes that work."""
    check(_needs(anatomy.weights), layout.tp, "parallel.tp")
    experts = [w for w in anatomy.weights if expert_share(w.shares)]
    if layout.ep > 1 and not experts:
        raise UsageError(f"parallel.ep={layout.ep}: the model has no experts")
    check((Need("num_experts", w.shape[0], can_repeat=False) for w in experts), layout.ep, "parallel.ep")
    if layout.sp and not any(w.name.startswith(TEXTS) for w in anatomy.weights):
        raise UsageError("parallel.sp=true: the model has no stack of layers that reads texts")
    layers = num_layers(anatomy)
    if layout.pp > 1 and (anatomy.cross or layers < layout.pp):
        told = "stages of an encoder-decoder are not counted" if anatomy.cross else f"there are {layers} layers"
        raise UsageError(f"parallel.pp={layout.pp}: {told}")


def of_rank(anatomy: Anatomy, layout: Layout, *, rank: int = 0, stage: int = 0) -> Anatomy:
    """What one rank holds of a model, described as a model: rank `rank` of `tp`, in a stage of the pipeline."""
    mine = layers_of(num_layers(anatomy), layout.pp, stage) if layout.pp > 1 else None
    found = copy(anatomy)
    found.weights = list(_weights(anatomy, layout, rank, stage, mine))
    found.attention = [
        replace(a, layers=_within(a.layers, mine), num_heads=a.num_heads // layout.tp, cached=_cached(a, layout.tp))
        for a in anatomy.attention
    ]
    found.states = [replace(s, layers=_within(s.layers, mine)) for s in anatomy.states]
    found.cross = [replace(c, cached=c.cached // layout.tp, num_heads=c.num_heads // layout.tp) for c in anatomy.cross]
    if stage < layout.pp - 1:
        found.tied_head = None
    return found


def stages(anatomy: Anatomy, layout: Layout) -> Iterator[Anatomy]:
    """What the first rank of each stage holds, which is never less than what the others of it hold."""
    return (of_rank(anatomy, layout, stage=stage) for stage in range(layout.pp))


def spread(anatomy: Anatomy, layout: Layout, zero: int, dtype: str) -> Spread:
    """Weights, gradients and AdamW's state of the fullest device, at stage 0 to 3 of ZeRO (arXiv:1910.02054).

    1 parts the optimizer's state over the `dp` ranks, 2 the gradients too, 3 (FSDP2) the weights too, of which the
    largest layer is then whole for as long as it computes.
    """
    width, dp = item_bytes(dtype), layout.dp
    numbers = max(sum(w.numel for w in part.weights) for part in stages(anatomy, layout))
    parted = -(-numbers // dp)
    gathered = gathered_numbers(anatomy, layout)
    return Spread(
        weights=(parted + gathered if zero > 2 else numbers) * width,
        gradients=(parted if zero > 1 else numbers) * width,
        optimizer=(parted if zero > 0 else numbers) * (8 if width >= 4 else 12),
    )


def gathered_numbers(anatomy: Anatomy, layout: Layout) -> int:
    """Numbers of the largest layer, which FSDP2 makes whole for as long as it computes."""
    return max((_of_layer(part) for part in stages(anatomy, layout)), default=0) if layout.dp > 1 else 0


def activations(anatomy: Anatomy, layout: Layout, length: int, dtype: str, *, is_recomputed: bool = False) -> int:
    """Bytes of the activations of one text of so many tokens; the logits, which all ranks of `tp` gather, are whole."""
    most = 0
    for part in stages(anatomy, layout):
        size, whole = Size(part, dtype), Size(anatomy, dtype)
        parts = layout.tp if layout.sp else 1
        need = size.training_bytes(1, length, parts=parts).activations
        need = size.recomputed_activations(1, length, parts=parts) if is_recomputed else need
        if size._vocab_size:
            need += (whole._vocab_size - size._vocab_size) * 4 * length
        most = max(most, need)
    return -(-most // layout.cp)


def _weights(a: Anatomy, layout: Layout, rank: int, stage: int, mine: range | None) -> Iterator[Weight]:
    for weight in a.weights:
        share, by_expert = tensor_share(weight.shares), expert_share(weight.shares)
        shape = local_shape(weight.shape, share, layout.tp, rank)
        shape = local_shape(shape, by_expert, layout.ep) if by_expert else shape
        layers = weight.layers
        if mine is not None and layers is not None and weight.name.startswith(STACK):
            layers = _within(layers, mine)
        elif not _is_at(weight, stage, layout.pp, a.tied_head is not None):
            continue
        if layers != ():
            yield replace(weight, shape=shape, layers=layers)


def _is_at(weight: Weight, stage: int, count: int, is_tied: bool) -> bool:
    """Whether a weight outside the layers is in a stage; an embedding that is the head too is in the last as well."""
    if weight.role in FIRST or weight.is_of_source or weight.name.startswith("embed_"):
        return stage == 0 or (is_tied and weight.name == "embed.weight" and stage == count - 1)
    return stage == count - 1


def _cached(a: AttentionSpec, tp: int) -> int:
    """Numbers that one token adds to the cache of a rank in each of these layers; a latent is whole on each."""
    if not a.cached or a.is_whole or a.decode_dims is not None:
        return a.cached
    kv_heads = a.cached // (a.qk_dim + a.v_dim)
    return max(1, kv_heads // tp) * (a.qk_dim + a.v_dim)


def _within(layers: Iterable[int], mine: range | None) -> tuple[int, ...]:
    return tuple(i for i in layers if mine is None or i in mine)


def _of_layer(part: Anatomy) -> int:
    """Parameters of the largest layer."""
    counts: dict[int, int] = {}
    for weight in part.weights:
        for i in weight.layers or ():
            counts[i] = counts.get(i, 0) + prod(weight.shape)
    return max(counts.values(), default=0)


def num_layers(anatomy: Anatomy) -> int:
    named = [max(w.layers) + 1 for w in anatomy.weights if w.layers and w.name.startswith(STACK)]
    return max(named, default=1)


def _needs(weights: Iterable[Weight]) -> Iterator[Need]:
    for weight in weights:
        if need := need_of(weight.name, weight.shape, tensor_share(weight.shares)):
            yield need
