"""EXAONE 4.0 as Hugging Face stores it: `LLLG` says which layers have a window, where `layer_types` does not."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, key, read_sliding_layers, rename, write_layer_types
from zoo.weights.hf_layout import decoder_keys, decoder_table, write_decoder

from .config import Exaone4Config

KEYS = (*decoder_keys(num_kv_heads=32, norm_eps=1e-5), key("sliding_window", default=4096))
PATTERN = "sliding_window_pattern"


def from_config(hf: ForeignConfig) -> Exaone4Config:
    hf.of_class("Exaone4ForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    values = hf.read(Exaone4Config, KEYS) | hf.tokens()
    layers = sliding_layers(hf, values["num_layers"], has_window=values["sliding_window"] is not None)
    return Exaone4Config(**values, rope=hf.rope(), sliding_layers=layers)


def sliding_layers(hf: ForeignConfig, num_layers: int, *, has_window: bool) -> list[int] | None:
    """The layers with a window, None where there is none: a pattern is a period, or a letter for each layer of one."""
    pattern = hf.get(PATTERN, 4)
    if not has_window or "layer_types" in hf:
        hf.assumed.pop(PATTERN, None)
    pattern = "L" * min(pattern - 1, num_layers) + "G" if isinstance(pattern, int) and pattern > 0 else pattern
    if has_window and not (isinstance(pattern, str) and pattern and {*pattern} <= {*"LG"}):
        raise CheckpointError(hf.file, PATTERN, f"{pattern!r} is neither a period nor a word of L and G")
    default = [i for i in range(num_layers) if pattern[i % len(pattern)] == "L"] if has_window else []
    layers = read_sliding_layers(hf, num_layers, default)
    if layers and not has_window:
        raise CheckpointError(hf.file, "layer_types", "it names layers with a window, but there is no sliding_window")
    return layers if has_window else None


def to_config(c: Exaone4Config) -> dict[str, Any]:
    types = write_layer_types(c.num_layers, c.sliding_layers or [])
    return write_decoder(c, "exaone4", "Exaone4ForCausalLM", KEYS, hidden_act="silu", layer_types=types)


def mapping(c: Exaone4Config) -> Table:
    return decoder_table(
        c,
        rename("attn", "self_attn"),
        rename("attn_norm", "post_attention_layernorm"),
        rename("mlp", "mlp"),
        rename("mlp_norm", "post_feedforward_layernorm"),
    )


EXAONE4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
