"""What `zoo show` says of a model: its parts and what they cost, a label and a line each."""

from __future__ import annotations

from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.size import Size
from zoo.cli import hub_cache
from zoo.errors import ZooError, clean
from zoo.presets import in_the_box
from zoo.units import human_bytes, human_count, human_flops

LABELS = {"attention": "Attention", "position": "Position", "norm": "Norm", "mlp": "MLP", "block": "Block"}


def rows(config: ModelConfig) -> list[tuple[str, str]]:
    """What a config describes, a label and a line each."""
    try:
        size = Size.of(config)
    except ZooError as error:
        return [*_shapes(config), ("Size", error.what)]
    traits = size.anatomy.traits
    told = [
        (LABELS.get(name, name.capitalize()), traits[name])
        for name in (*LABELS, *(traits.keys() - LABELS))
        if name in traits
    ]
    costs = [
        ("Parameters", _parameters(size)),
        ("Memory", _memory(size)),
        ("Compute", _compute(size)),
        ("Training", _training(size)),
    ]
    return [*_shapes(config), *told, *costs]


def numbers(size: Size) -> dict[str, Any]:
    """Every number of a model's size, by name."""
    length = size.anatomy.max_seq_len
    told: dict[str, Any] = {
        "parameters": size.parameters,
        "active_parameters": size.active_parameters,
        "by_role": size.by_role,
        "dtype": size.dtype,
        "weight_bytes": size.weight_bytes(),
        "cache_bytes_per_token": size.cache_bytes_per_token(),
        "source_cache_bytes_per_token": size.source_cache_bytes(1),
        "state_bytes": size.state_bytes(),
        "flops_per_token": size.flops_per_token(),
        "flops_per_source_token": size.prefill_flops(1) if size.anatomy.cross else None,
        "optimal_tokens": size.optimal_tokens,
        "max_seq_len": length,
    }
    if length:
        training = size.training_bytes(1, length)
        told |= {
            "cache_bytes": size.cache_bytes(length),
            "prefill_flops": size.prefill_flops(length),
            "training_bytes": vars(training) | {"total": training.total},
        }
    return told


def _shapes(c: ModelConfig) -> list[tuple[str, str]]:
    """The shape of a model, or of the tower for texts where that has all the numbers; of an image tower traits tell."""
    text = getattr(c, "text", None)
    shape = _shape(c) or (f"text: {_shape(text)}" if text is not None else "")
    return [("Shape", shape)] if shape else []


def _shape(c: Any) -> str:
    def get(name: str) -> Any:
        value = getattr(c, name, None)
        return f"{value:,}" if isinstance(value, int) and value >= 10_000 else value

    heads = [("heads", "num_heads"), ("kv", "num_kv_heads"), ("head", "head_dim")]
    parts = [
        f"{get('num_layers')} layers × {get('hidden_size')}" if get("num_layers") else "",
        ", ".join(f"{word} {get(name)}" for word, name in heads if get(name)),
        f"vocab {get('vocab_size')}" if get("vocab_size") else "",
        f"context {get('max_seq_len')}" if get("max_seq_len") else "",
    ]
    return " · ".join(filter(None, parts))


def _parameters(size: Size) -> str:
    active = f" ({human_count(size.active_parameters)} active)" if size.active_parameters < size.parameters else ""
    roles = [f"{role} {human_count(n)}" for role, n in size.by_role.items() if n * 1000 >= size.parameters]
    return f"{human_count(size.parameters)}{active}   {'  '.join(roles)}"


def _memory(size: Size) -> str:
    told = f"weights {human_bytes(size.weight_bytes())} {size.dtype}"
    if per_token := size.cache_bytes_per_token():
        told += f" · KV cache {human_bytes(per_token)}/token"
        if length := size.anatomy.max_seq_len:
            told += f", {human_bytes(size.cache_bytes(length))} at {length:,}"
    if source := size.source_cache_bytes(1):
        told += f" · {human_bytes(source)}/token of the source"
    if state := size.state_bytes():
        told += f" · state {human_bytes(state)} at any length"
    return told


def _compute(size: Size) -> str:
    told = f"{human_flops(size.flops_per_token())}/token forward"
    if length := size.anatomy.max_seq_len:
        told += f", {human_flops(size.flops_per_token(length - 1))} at {length:,}"
    if size.anatomy.cross:
        told += f" · {human_flops(size.prefill_flops(1))}/token of the source"
    return told


def _training(size: Size) -> str:
    length = size.anatomy.max_seq_len or 512  # positions without a limit: what T5 was trained on
    need = size.training_bytes(1, length)
    return (
        f"AdamW {human_bytes(need.total - need.activations)} · activations {human_bytes(need.activations)} for "
        f"1 × {length:,} tokens · compute-optimal on {human_count(size.optimal_tokens)} tokens"
    )


def weights(model: str, c: ModelConfig) -> str:
    """Where a model's released weights are, and on what terms."""
    if model in in_the_box():
        return "in the box"
    if not c.hub:
        return "none released"
    gated = " (gated)" if c.gated else ""
    return f"hf://{clean(c.hub)}   {_cached(c)}, licence {clean(c.license) or 'not recorded'}{gated}"


def _cached(c: ModelConfig) -> str:
    """What the machine's cache holds of the weights, or what there is to fetch."""
    if found := hub_cache.find(c.hub):
        return f"in the cache: {found.num_files} file{'s' * (found.num_files != 1)}, {human_bytes(found.nbytes)}"
    try:
        return f"not in the cache, {human_bytes(Size.of(c).weight_bytes())}"
    except ZooError:
        return "not in the cache"
