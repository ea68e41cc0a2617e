"""What `zoo show` says of a model: its parts and what they cost, a label and a line each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.costs import cache_in_words, compute_in_words, costs
from zoo.anatomy.quantisation import quantisation
from zoo.anatomy.size import Size
from zoo.cli import hub_cache
from zoo.errors import ConfigError, ZooError, clean
from zoo.presets import in_the_box
from zoo.units import human_bytes, human_count

LABELS = {"attention": "Attention", "position": "Position", "norm": "Norm", "mlp": "MLP", "block": "Block"}
FEW = (2, 3, 4)  # layers to try a model with: some have a least number


def rows(config: ModelConfig, quantize: str | None = None) -> list[tuple[str, str]]:
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
    known = costs(size, None, quantize=quantize)
    needed = [
        ("Parameters", _parameters(size)),
        ("Memory", _memory(size, known, config.stored_gib)),
        ("Compute", compute_in_words(known)),
        ("Training", _training(size)),
    ]
    return [*_shapes(config), *told, *needed]


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


def _memory(size: Size, told: dict[str, Any], stored_gib: float | None) -> str:
    words = f"weights {human_bytes(told['weight_bytes'])} {size.dtype}"
    if stored_gib:
        words += f" ({stored_gib:g} GiB as released, packed)"
    if form := told.get("quantize"):
        packed, kept = human_bytes(told["packed_bytes"]), human_bytes(told["kept_bytes"])
        what = "layers and head" if quantisation(form).takes_head else "layers"
        words = f"weights {human_bytes(told['weight_bytes'])}: {what} {packed} {form}, the others {kept} {size.dtype}"
    if cache := cache_in_words(told):
        words += f" · KV cache {cache}"
    if state := told["state_bytes"]:
        words += f" · state {human_bytes(state)} at any length"
    return words


def _training(size: Size) -> str:
    length = size.anatomy.max_seq_len or 512  # positions without a limit: what T5 was trained on
    need = size.training_bytes(1, length)
    again = size.recomputed_activations(1, length)
    return (
        f"AdamW {human_bytes(need.total - need.activations)} · activations for 1 × {length:,} tokens "
        f"{human_bytes(need.activations)} without recomputation, {human_bytes(again)} with · "
        f"compute-optimal on {human_count(size.optimal_tokens)} tokens"
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
    if c.stored_gib:
        return f"not in the cache, {c.stored_gib:g} GiB packed"
    try:
        return f"not in the cache, {human_bytes(Size.of(c).weight_bytes())}"
    except ZooError:
        return "not in the cache"


def fewer(config: ModelConfig) -> list[str]:
    """Overrides that leave a few layers of a model, and of its lists of layers those; none where that is no model."""
    import shlex

    held = vars(config).items()
    listed = {name: layers for name, layers in held if name.endswith("_layers") and isinstance(layers, list)}
    for count in FEW:
        kept = {name: [i for i in layers if i < count] for name, layers in listed.items()}
        cut = {name: layers for name, layers in kept.items() if layers != listed[name]}
        try:
            replace(config, num_layers=count, **cut)  # type: ignore[call-arg]  # not every config has them: TypeError
        except (ConfigError, TypeError):
            continue
        lists = [f"model.{name}=[{','.join(map(str, layers))}]" for name, layers in cut.items()]
        return [f"model.num_layers={count}", *(shlex.quote(word) for word in lists)]
    return []
