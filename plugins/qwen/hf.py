"""Qwen 1.5 to 3 as Hugging Face stores them, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, clean, some
from zoo.weights import Dialect, ForeignConfig, Key, Table, key, respell, write_keys, write_rope, write_tokens
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import DualChunkConfig, Qwen2Config, Qwen3Config

KEYS = tuple(k for k in decoder_keys(max_seq_len=32_768) if k.ours != "head_dim")
HEAD_DIM = key("head_dim", default=lambda c: c["hidden_size"] // c["num_heads"])
DUAL_CHUNK = {
    "chunk_size": "chunk_size", "local_size": "local_size",
    "original_max_position_embeddings": "original_max_seq_len",
}  # fmt: skip
KINDS = ("full_attention", "sliding_attention")
# Embedding models are stored without the head and the prefix that goes with it.
SPELLING = respell((r"^(embed_tokens|layers|norm)\.", r"model.\1."))


@dataclass(frozen=True)
class Dense:
    """The dialect of one generation."""

    config: type[Qwen2Config]
    model_type: str
    architecture: str
    keys: tuple[Key, ...]

    def from_config(self, hf: ForeignConfig) -> Qwen2Config:
        hf.of_class(self.architecture)
        values = hf.read(self.config, self.keys)
        return self.config(**values, **read_rest(hf), **sliding(hf, values["num_layers"]))

    def to_config(self, c: Qwen2Config) -> dict[str, Any]:
        kinds = [KINDS[c.window_of(i) is not None] for i in range(c.num_layers)]
        full = next((i for i, kind in enumerate(kinds) if kind == KINDS[1]), c.num_layers)
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            **write_keys(c, self.keys),
            **write_rest(c),
            "use_sliding_window": c.sliding_window is not None,
            "sliding_window": c.sliding_window,
            "max_window_layers": full,
            "layer_types": kinds,
        }

    def mapping(self, c: Qwen2Config) -> Table:
        return decoder_table(c, *LAYER, spelling=SPELLING)


def read_rest(hf: ForeignConfig) -> dict[str, Any]:
    """What all Qwens from 1.5 on have besides their tables of keys."""
    hf.expect(hidden_act="silu")
    hf.require(use_mrope=False)
    hf.ignore("attention_dropout")
    return {**hf.tokens(), "rope": hf.rope(), "dual_chunk": dual_chunk(hf)}


def write_rest(c: Qwen2Config) -> dict[str, Any]:
    """The same, backwards."""
    out = {"hidden_act": "silu", **write_tokens(c), "rope_parameters": write_rope(c.rope)}
    if c.dual_chunk.chunk_size is not None:
        out["dual_chunk_attention_config"] = {a: getattr(c.dual_chunk, b) for a, b in DUAL_CHUNK.items()}
    return out


def sliding(hf: ForeignConfig, num_layers: int) -> dict[str, Any]:
    """The window and its layers: those from `max_window_layers` on, or what `layer_types` says; most files use none."""
    is_used = hf.as_type(bool, hf.get("use_sliding_window", False), "use_sliding_window")
    first = 28
    if is_used or "max_window_layers" in hf:
        first = hf.as_type(int, hf.get("max_window_layers", first), "max_window_layers")
    kinds = hf.as_type(list[str] | None, hf.get("layer_types"), "layer_types")
    window = hf.as_type(int | None, hf["sliding_window"] if is_used else hf.get("sliding_window"), "sliding_window")
    if kinds is None:
        kinds = [KINDS[is_used and window is not None and i >= first] for i in range(num_layers)]
    if len(kinds) != num_layers or not set(kinds) <= set(KINDS):
        raise CheckpointError(
            hf.file, "layer_types", f"it does not say {' or '.join(KINDS)} of each of {num_layers} layers"
        )
    layers = [i for i, kind in enumerate(kinds) if kind == KINDS[1]]
    if not layers:
        return {}
    if not is_used or window is None:
        raise CheckpointError(hf.file, "layer_types", "it names sliding layers, but no sliding_window is in use")
    return {"sliding_window": window, "sliding_layers": layers}


def dual_chunk(hf: ForeignConfig) -> DualChunkConfig:
    """The 1M models' attention; the keys of the sparse attention that approximates it are let pass."""
    name = "dual_chunk_attention_config"
    group = hf.as_type(dict[str, Any] | None, hf.get(name), name)
    if group is None:
        return DualChunkConfig()
    if unknown := [k for k in group if k not in DUAL_CHUNK and not k.startswith("sparse_attention_")]:
        raise CheckpointError(hf.file, name, f"{clean(some(unknown))} is not known")
    if absent := [k for k in ("chunk_size", "local_size") if group.get(k) is None]:
        raise CheckpointError(hf.file, name, f"{absent[0]} is missing")
    values = {ours: group.get(theirs) or None for theirs, ours in DUAL_CHUNK.items()}
    return hf.as_type(DualChunkConfig, values, name)


QWEN2 = Dialect.of(Dense(Qwen2Config, "qwen2", "Qwen2ForCausalLM", (*KEYS, HEAD_DIM)))
QWEN3 = Dialect.of(
    Dense(
        Qwen3Config,
        "qwen3",
        "Qwen3ForCausalLM",
        (*KEYS, key("head_dim", default=128), key("attention_bias", default=False)),
    )
)  # fmt: skip
