"""SmolLM3 as Hugging Face stores it: `no_rope_layers` has a 1 for each layer that *does* rotate."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, key, read_sliding_layers, write_layer_types
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import SmolLM3Config

KEYS = (
    *decoder_keys(num_kv_heads=4, max_seq_len=32_768, tie_embeddings=True),
    key("attention_bias", default=False),
    key("mlp_bias", default=False),
)


def from_config(hf: ForeignConfig) -> SmolLM3Config:
    hf.of_class("SmolLM3ForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "max_window_layers", "pretraining_tp")
    values = hf.read(SmolLM3Config, KEYS) | hf.tokens()
    still = nope_layers(hf, values["num_layers"])
    window, layers = windows(hf, values["num_layers"], still)
    rope = hf.rope(theta=2_000_000.0)
    return SmolLM3Config(**values, rope=rope, nope_layers=still, sliding_window=window, sliding_layers=layers)


def nope_layers(hf: ForeignConfig, num_layers: int) -> list[int]:
    """The layers that do not rotate: those at which the list has a 0, or every fourth."""
    name = "no_rope_layer_interval"
    interval = hf.as_type(int, hf.get(name, 4), name)
    rotates = hf.as_type(list[int] | None, hf.get("no_rope_layers"), "no_rope_layers")
    if rotates is not None:
        hf.assumed.pop(name, None)
    if rotates is None and interval < 1:
        raise CheckpointError(hf.file, name, f"{interval} is not a number of layers")
    rotates = [int((i + 1) % interval != 0) for i in range(num_layers)] if rotates is None else rotates
    if len(rotates) != num_layers:
        raise CheckpointError(hf.file, "no_rope_layers", f"it has {len(rotates)} entries for {num_layers} layers")
    return [i for i, does in enumerate(rotates) if not does]


def windows(hf: ForeignConfig, num_layers: int, still: list[int]) -> tuple[int | None, list[int] | None]:
    """The window and its layers, which are those that do not rotate where the file names none."""
    window = hf.as_type(int | None, hf.get("sliding_window"), "sliding_window")
    has_window = hf.as_type(bool, hf.get("use_sliding_window", False), "use_sliding_window") and window is not None
    layers = read_sliding_layers(hf, num_layers, still if has_window else [])
    if layers and not has_window:
        what = "it names layers with a window, but use_sliding_window and sliding_window name none"
        raise CheckpointError(hf.file, "layer_types", what)
    return (window, layers) if has_window else (None, None)


def to_config(c: SmolLM3Config) -> dict[str, Any]:
    return write_decoder(
        c, "smollm3", "SmolLM3ForCausalLM", KEYS, hidden_act="silu",
        no_rope_layers=[int(i not in c.nope_layers) for i in range(c.num_layers)],
        sliding_window=c.sliding_window, use_sliding_window=c.sliding_window is not None,
        layer_types=write_layer_types(c.num_layers, c.sliding_layers or []),
    )  # fmt: skip


def mapping(c: SmolLM3Config) -> Table:
    return decoder_table(c, *LAYER)


SMOLLM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
