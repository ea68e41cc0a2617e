"""What `zoo show` says of a model over many devices: bytes on each, and the smallest layout that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.quantisation import quantisation, quantised_bytes
from zoo.anatomy.size import Size
from zoo.errors import UsageError
from zoo.parallel.estimate import activations, check_layout, num_layers, spread, stages
from zoo.parallel.layout import Layout
from zoo.units import human_bytes

MOST, TOGETHER = 4096, 8  # devices that are tried, and of those how many stand close enough to cut within layers
LENGTH = 512  # tokens of a model without a longest text, as zoo.cli.datasheet counts


def facts(config: ModelConfig, layout: Layout, quantize: str | None = None) -> dict[str, Any]:
    """Bytes on the fullest device, as JSON values; with `quantize` each holds its share of the rounded matrices.

    What learns is not rounded, so training is counted without. Raises UsageError for a layout that the model cannot be
    cut into.
    """
    size = Size.of(config)
    anatomy, dtype = size.anatomy, size.dtype
    check_layout(anatomy, layout)
    length = anatomy.max_seq_len or LENGTH
    parts = [Size(part, dtype) for part in stages(anatomy, layout)]
    return {
        **vars(layout),
        "devices": layout.num_ranks,
        "dtype": dtype,
        "length": length,
        **_weights(parts, quantize),
        "cache_bytes": max(part.cache_bytes(length) for part in parts),
        "training_bytes": {
            f"zero_{zero}": vars(of := spread(anatomy, layout, zero, dtype)) | {"total": of.total} for zero in range(4)
        },
        "activations": activations(anatomy, layout, length, dtype),
        "recomputed_activations": activations(anatomy, layout, length, dtype, is_recomputed=True),
    }


def rows(config: ModelConfig, layout: Layout, quantize: str | None = None) -> list[tuple[str, str]]:
    """The same, a label and a line each."""
    told = facts(config, layout, quantize)
    ways = " × ".join(f"{name} {value}" for name, value in vars(layout).items() if value > 1) or "one"
    ways += " with sp" if layout.sp else ""
    need = told["training_bytes"]
    kinds = [("AdamW", "zero_0"), *((f"ZeRO {zero}", f"zero_{zero}") for zero in (1, 2, 3) if layout.dp > 1)]
    states = " · ".join(f"{kind} {human_bytes(need[key]['total'])}" for kind, key in kinds)
    states = f"without quantize: {states}" if quantize else states
    kept, again = human_bytes(told["activations"]), human_bytes(told["recomputed_activations"])
    held = f"weights {human_bytes(told['weight_bytes'])} {told['dtype']}"
    if quantize is not None:
        packed, rest = human_bytes(told["packed_bytes"]), human_bytes(told["kept_bytes"])
        held = f"weights {human_bytes(told['weight_bytes'])} ({quantize} {packed} · the rest {told['dtype']} {rest})"
    if told["cache_bytes"]:
        held += f" · KV cache {human_bytes(told['cache_bytes'])} at {told['length']:,}"
    return [
        ("Devices", f"{told['devices']}: {ways}"),
        ("Each holds", held),
        (
            "Each trains",
            f"{states} · activations {kept} without recomputation, {again} with",
        ),
    ]


def smallest(config: ModelConfig, nbytes: int, quantize: str | None = None) -> Layout:
    """The layout of fewest devices whose weights and cache, for one whole text, fit into so many bytes each.

    Raises UsageError where none does.
    """
    size = Size.of(config)
    whole = _weights([size], quantize)["weight_bytes"]
    for layout in _layouts(size):
        if whole > nbytes * layout.num_ranks:
            continue  # not even if all of it could be parted
        told = facts(config, layout, quantize)
        if told["weight_bytes"] + told["cache_bytes"] <= nbytes:
            return layout
    hint = "a number without a unit is bytes: 80GiB, 24GB" if nbytes < 1 << 20 else ""
    raise UsageError(f"no layout of up to {MOST} devices of {human_bytes(nbytes)} holds this model", hint=hint)


def _weights(parts: Sequence[Size], quantize: str | None) -> dict[str, Any]:
    """Bytes of the weights of the fullest of these parts of a model; with `quantize` of both kinds of them."""
    if quantize is None:
        return {"weight_bytes": max(part.weight_bytes() for part in parts)}
    how = quantisation(quantize)
    packed, kept = max((quantised_bytes(part.anatomy.weights, how, part.dtype) for part in parts), key=sum)
    return {"weight_bytes": packed + kept, "quantize": quantize, "packed_bytes": packed, "kept_bytes": kept}


def _layouts(size: Size) -> Iterator[Layout]:
    """Layouts that the model can be cut into, the fewest devices first; within layers before between them."""
    count, layers = 1, num_layers(size.anatomy)
    while count <= min(MOST, TOGETHER * layers):
        for tp in range(min(count, TOGETHER), 0, -1):
            if count % tp == 0:
                layout = Layout(tp=tp, pp=count // tp)
                try:
                    check_layout(size.anatomy, layout)
                except UsageError:
                    continue
                yield layout
        count += 1 if count < TOGETHER else TOGETHER
