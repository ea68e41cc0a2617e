"""Command R as Hugging Face stores it, as `cohere` and, with a window in most layers, as `cohere2`."""

from __future__ import annotations

from typing import Any

from zoo.anatomy import all_but_every
from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, read_sliding_layers, rename, write_layer_types
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, head_dim_of, write_decoder

from .config import CohereConfig

KEYS = (
    *decoder_keys(norm="layer_norm_eps", max_seq_len=8192, norm_eps=1e-5, tie_embeddings=True),
    key("logit_scale", default=0.0625),
    key("attention_bias", default=False),
)
QK_NORM = key("has_qk_norm", "use_qk_norm", default=False)
TYPES = {"cohere": "CohereForCausalLM", "cohere2": "Cohere2ForCausalLM"}
PATTERN = "sliding_window_pattern"
# What Cohere's own programs write of the block that every Command R7B and Command A has.
BLOCK = {
    "order_of_interleaved_layers": "local_attn_first", "position_embedding_type": "rope_gptj", "rotary_pct": 1.0,
    "use_gated_activation": True, "use_parallel_block": True, "use_qk_norm": False,
}  # fmt: skip


def from_config(hf: ForeignConfig) -> CohereConfig:
    kind = hf.one_of("model_type", {name: name for name in TYPES}, "")
    hf.of_class(TYPES[kind])
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    values = hf.read(CohereConfig, KEYS) | hf.tokens()
    if kind == "cohere":
        return CohereConfig(**values, **hf.read(CohereConfig, [QK_NORM]), rope=hf.rope(theta=500_000.0))
    hf.require(head_dim=head_dim_of(hf, values), **BLOCK)
    hf.ignore("cache_implementation", "use_embedding_sharing", "use_parallel_embedding")
    values |= hf.read(CohereConfig, [key("sliding_window", default=4096)])
    if values["sliding_window"] is None:
        raise CheckpointError(hf.file, "sliding_window", "null is not the window of a Cohere 2")
    return CohereConfig(**values, rope=hf.rope(), sliding_layers=sliding_layers(hf, values["num_layers"]))


def sliding_layers(hf: ForeignConfig, num_layers: int) -> list[int] | None:
    """All layers but every fourth, or what the file says."""
    period = hf.as_type(int, hf.get(PATTERN, 4, also=("layer_switch", f"_{PATTERN}")), PATTERN)
    hf.require(layer_switch=period)
    if period < 1:
        raise CheckpointError(hf.file, PATTERN, f"{period} is not a number of layers")
    found = read_sliding_layers(hf, num_layers, all_but_every(period, num_layers))
    if "layer_types" in hf:
        hf.assumed.pop(PATTERN, None)
    return found


def to_config(c: CohereConfig) -> dict[str, Any]:
    if c.sliding_window is None or c.sliding_layers is None:
        return write_decoder(c, "cohere", TYPES["cohere"], (*KEYS, QK_NORM), hidden_act="silu")
    must_be(c, "a Cohere 2 config.json", hidden_size=c.num_heads * c.head_dim, has_qk_norm=False)
    return write_decoder(
        c, "cohere2", TYPES["cohere2"], KEYS, hidden_act="silu", sliding_window=c.sliding_window,
        layer_types=write_layer_types(c.num_layers, c.sliding_layers),
    )  # fmt: skip


def mapping(c: CohereConfig) -> Table:
    return decoder_table(c, rename("norm", "input_layernorm"), *LAYER)


COHERE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
