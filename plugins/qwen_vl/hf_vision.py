"""The towers of Qwen2-VL and Qwen2.5-VL as Hugging Face stores them; apart from `hf` for its length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.errors import UsageError
from zoo.weights import Entry, ForeignConfig, key, rename, reshape, rule, split, under, write_keys

from .vision import DeepVisionConfig, VisionConfig, WindowedVisionConfig

SHARED_KEYS = (
    key("num_layers", "depth", default=32),
    key("num_heads", default=16),
    key("num_channels", "in_channels", also=("in_chans",), default=3),
    key("patch_size", default=14),
    key("temporal_patch_size", default=2),
    key("merge_size", "spatial_merge_size", default=2),
)
KEYS = (key("hidden_size", "embed_dim", default=1280), *SHARED_KEYS)
WINDOWED_KEYS = (
    key("hidden_size"),
    key("intermediate_size", default=3420),
    *SHARED_KEYS,
    key("window_size", default=112),
    key("full_layers", "fullatt_block_indexes", default=[7, 15, 23, 31]),
    key("tokens_per_second", default=4),  # the class's; every released file says 2
)
DEEP_KEYS = (
    key("hidden_size", default=1152),
    key("intermediate_size", default=4304),
    *(replace(k, default={"num_layers": 27, "patch_size": 16}.get(k.ours, k.default)) for k in SHARED_KEYS),
    key("num_positions", "num_position_embeddings", default=2304),
    key("deep_layers", "deepstack_visual_indexes", default=[8, 16, 24]),
)
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu"}
KINDS = {  # their keys, the activation of a file that names none, and where the decoder's width stands
    VisionConfig: (KEYS, "quick_gelu", "hidden_size"),
    WindowedVisionConfig: (WINDOWED_KEYS, "silu", "out_hidden_size"),
    DeepVisionConfig: (DEEP_KEYS, "gelu_pytorch_tanh", "out_hidden_size"),
}
AXIAL = {"rope_theta": 10000.0, "rope_type": "axial"}


def read_vision(hf: ForeignConfig, kind: type[VisionConfig], width: int) -> Any:
    """The tower under `vision_config`, which must give states of the decoder's `width`."""
    keys, activation, out = KINDS[kind]
    values = hf.read(kind, keys)
    values["activation"] = hf.one_of("hidden_act", ACTIVATIONS, activation)
    hf.require(**{out: width}, rope_parameters=AXIAL)
    hf.require(spatial_patch_size=values["patch_size"], in_chans=values["num_channels"])
    if kind is VisionConfig:
        ratio = hf.as_type(float, hf.get("mlp_ratio", 4), "mlp_ratio")
        values["intermediate_size"] = int(values["hidden_size"] * ratio)
    return kind(**values)


def write_vision(v: VisionConfig, width: int) -> dict[str, Any]:
    """The same, backwards."""
    out: dict[str, Any] = {"hidden_act": next(a for a, b in ACTIVATIONS.items() if b == v.activation)}
    keys, _, place = KINDS[type(v)]
    if place == "out_hidden_size":
        return {**out, **write_keys(v, keys), place: width}
    if v.intermediate_size % v.hidden_size:
        raise UsageError(
            f"a qwen2_vl config.json cannot store model.vision.intermediate_size={v.intermediate_size}",
            why=f"it can only store a multiple of model.vision.hidden_size={v.hidden_size}",
        )
    return {**out, **write_keys(v, KEYS), "mlp_ratio": v.intermediate_size // v.hidden_size, "hidden_size": width}


def tower_rules(v: VisionConfig) -> list[Entry]:
    """The tower's tensors below `visual`."""
    plain: list[Entry] = [rename("mlp.up_proj", "mlp.fc1"), rename("mlp.down_proj", "mlp.fc2")]
    gated: list[Entry] = [rename("mlp", "mlp")]
    return under(
        "visual", "visual",
        _patches(v),
        *_layers(v, gated if isinstance(v, WindowedVisionConfig) else plain),
        rename("merger.norm", "merger.ln_q"),
        rename("merger.up_proj", "merger.mlp.0"),
        rename("merger.down_proj", "merger.mlp.2"),
    )  # fmt: skip


def deep_rules(v: DeepVisionConfig) -> list[Entry]:
    """The tensors of Qwen3-VL's tower, which stand below `model.visual`."""
    twice = [rename("up_proj", "linear_fc1"), rename("down_proj", "linear_fc2")]
    return under(
        "visual", "model.visual",
        _patches(v),
        rename("patch_embed.bias", "patch_embed.proj.bias"),
        rename("positions", "pos_embed"),
        *_layers(v, under("mlp", "mlp", *twice)),
        *under("merger", "merger", rename("norm", "norm"), *twice),
        *under("deep_mergers.{i}", "deepstack_merger_list.{i}", rename("norm", "norm"), *twice),
    )  # fmt: skip


def _patches(v: VisionConfig) -> Entry:
    """The first product, which is a convolution there."""
    conv = (v.hidden_size, v.num_channels, v.temporal_patch_size, v.patch_size, v.patch_size)
    return rule("patch_embed.weight", "patch_embed.proj.weight", reshape((v.hidden_size, v.patch_dim), conv))


def _layers(v: VisionConfig, mlp: list[Entry]) -> list[Entry]:
    dim, names = v.hidden_size, ("q_proj", "k_proj", "v_proj")
    return under(
        "layers.{i}", "blocks.{i}",
        rename("attn_norm", "norm1"),
        *(rule(tuple(f"attn.{n}.{kind}" for n in names), f"attn.qkv.{kind}", split(dim, dim, dim))
          for kind in ("weight", "bias")),
        rename("attn.o_proj", "attn.proj"),
        rename("mlp_norm", "norm2"),
        *mlp,
    )  # fmt: skip
