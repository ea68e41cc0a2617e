"""Mamba-2 as transformers stores it, and as its authors do: their tensors have the same names, their configs do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import Match
from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, ForeignConfig, Table, alias, key, rename, respell, under, write_keys, write_tokens

from .config import Mamba2Config

KEYS = (
    key("vocab_size"),
    key("hidden_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads"),
    key("head_dim", default=64),
    key("state_size", default=128),
    key("num_groups", "n_groups", default=8),
    key("conv_kernel", default=4),
    key("chunk_size", default=256),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=False),
    key("has_bias", "use_bias", default=False),
    key("has_conv_bias", "use_conv_bias", default=True),
    key("residual_in_float32", "residual_in_fp32", default=True),
)
TRAINING = "time_step_rank time_step_min time_step_max time_step_floor rescale_prenorm_residual".split()
INFINITY = {"__float__": "Infinity"}  # as transformers 5 writes it; JSON has no word of its own


def matches(raw: Mapping[str, Any]) -> Match | None:
    if raw.get("model_type") == "mamba2":
        return Match(1.0, ("model_type is 'mamba2'",))
    ssm = raw.get("ssm_cfg")
    if isinstance(ssm, dict) and ssm.get("layer") == "Mamba2":
        return Match(1.0, ("ssm_cfg.layer is 'Mamba2'",))
    return None


def from_config(hf: ForeignConfig) -> Mamba2Config:
    hf.of_class("Mamba2ForCausalLM")
    if "ssm_cfg" in hf:
        return from_authors(hf)
    hf.require(hidden_act="silu", rms_norm=True)
    hf.ignore(*TRAINING, "norm_before_gate", "layer_types")  # transformers reads none of them in a forward pass
    values = hf.read(Mamba2Config, KEYS)
    inner = values["num_heads"] * values["head_dim"]
    if (expand := hf.get("expand", 2)) * values["hidden_size"] != inner:
        raise CheckpointError(hf.file, "expand", f"{expand!r} times hidden_size is not num_heads times head_dim")
    return Mamba2Config(**values, **_limits(hf), **hf.tokens())


def from_authors(hf: ForeignConfig) -> Mamba2Config:
    """The config of the authors' own package (mamba_ssm), for models of pure Mamba-2 layers."""
    hf.require(rms_norm=True, d_intermediate=0, attn_layer_idx=[], attn_cfg={}, ssm_cfg={"layer": "Mamba2"})
    hf.ignore("fused_add_norm")
    width, multiple = hf["d_model"], hf.get("pad_vocab_size_multiple", 8)
    return Mamba2Config(
        vocab_size=-(-hf["vocab_size"] // multiple) * multiple,
        hidden_size=width,
        num_layers=hf["n_layer"],
        num_heads=2 * width // 64,
        residual_in_float32=hf.get("residual_in_fp32", True),
        tie_embeddings=hf.get("tie_embeddings", True),
        **hf.tokens(),
    )


def to_config(c: Mamba2Config) -> dict[str, Any]:
    expand, rest = divmod(c.inner_size, c.hidden_size)
    if rest or not expand:
        raise UsageError(
            f"hf cannot store model.num_heads * model.head_dim = {c.inner_size}",
            why=f"it must be a multiple of model.hidden_size={c.hidden_size}",
        )
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "hidden_act": "silu",
        "expand": expand,
        "time_step_limit": [c.time_step_min, INFINITY if c.time_step_max is None else c.time_step_max],
        **write_keys(c, KEYS),
        **write_tokens(c),
    }


def mapping(c: Mamba2Config) -> Table:
    return Table(
        rename("embed", "backbone.embeddings"),
        under(
            "layers.{i}", "backbone.layers.{i}", rename("mixer.conv", "mixer.conv1d"), rename("mixer", "mixer"), NORM
        ),
        rename("norm", "backbone.norm_f"),
        alias("lm_head.weight", of="backbone.embeddings.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        spelling=respell((r"^backbone\.embedding\.", "backbone.embeddings.")),  # the authors' own files
    )


NORM = rename("norm", "norm")


def _limits(hf: ForeignConfig) -> dict[str, float | None]:
    """Our two fields of `time_step_limit`, whose upper end is usually infinite."""
    limit = hf.get("time_step_limit", [0.0, INFINITY])
    if not isinstance(limit, list) or len(limit) != 2:
        raise CheckpointError(hf.file, "time_step_limit", "it is not a pair of numbers")
    low, high = limit
    return {
        "time_step_min": hf.as_type(float, low, "time_step_limit[0]"),
        "time_step_max": None if high == INFINITY else hf.as_type(float, high, "time_step_limit[1]"),
    }


MAMBA2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=matches)
