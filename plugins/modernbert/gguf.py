"""ModernBERT as llama.cpp stores it: the encoder alone, q, k and v in one matrix, gate and up in another.

llama.cpp computes gelu by its tanh form, the released models by the exact one, and so does zoo.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.weights import Dialect, ForeignConfig, Table, ignore, key, must_be, rename, rule, split, under, write_keys
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import ModernBertConfig

ARCH = "modern-bert"
KEYS = (
    key("hidden_size", f"{ARCH}.embedding_length"),
    key("intermediate_size", f"{ARCH}.feed_forward_length"),
    key("num_layers", f"{ARCH}.block_count"),
    key("num_heads", f"{ARCH}.attention.head_count"),
    key("max_seq_len", f"{ARCH}.context_length"),
    key("norm_eps", f"{ARCH}.attention.layer_norm_epsilon"),
)
CAUSAL, KV = f"{ARCH}.attention.causal", f"{ARCH}.attention.head_count_kv"
WINDOW, EVERY = f"{ARCH}.attention.sliding_window", f"{ARCH}.attention.sliding_window_pattern"
BASES = {"rope": f"{ARCH}.rope.freq_base", "local_rope": f"{ARCH}.rope.freq_base_swa"}
ACTIVATION = f"{ARCH}.hidden_activation"
PLAIN: dict[str, Any] = {"norm_bias": False, "attention_bias": False, "mlp_bias": False}


def from_config(hf: ForeignConfig) -> ModernBertConfig:
    c = hf.read(ModernBertConfig, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size", default=read_size(hf))))
    window = hf.as_type(int, hf.get(WINDOW, 0), WINDOW)
    every = hf.as_type(int, hf.get(EVERY, 3 if window else 1), EVERY)
    ropes: dict[str, Any] = {
        ours: hf.as_type(float, hf.get(theirs, 10_000.0), theirs) for ours, theirs in BASES.items()
    }
    activation = hf.one_of(ACTIVATION, {"gelu": "gelu", "silu": "silu"}, "gelu")
    for name in (EVERY, ACTIVATION, WINDOW):
        hf.assumed.pop(name, None)  # younger than the files, or with one meaning where it is absent
    hf.ignore(f"{ARCH}.pooling_type", f"{ARCH}.classifier.output_labels")  # what an engine makes of the states
    dim = c["hidden_size"] // max(c["num_heads"], 1)
    known = fixed(ARCH) | {CAUSAL: False, KV: c["num_heads"], f"{ARCH}.rope.dimension_count": dim}
    known |= {f"{ARCH}.attention.key_length": dim, f"{ARCH}.attention.value_length": dim}
    known |= {f"{ARCH}.rope.scaling.type": "none", f"{ARCH}.rope.scaling.factor": 1.0}
    rest = read_rest(hf, ARCH, **known) | {"norm_eps": norm_eps(c), "tie_embeddings": True}
    windows = {"sliding_window": window - window % 2} if window else {}
    ropes = {name: RopeConfig(theta) for name, theta in ropes.items()}
    own: dict[str, Any] = {"activation": activation, "global_every": every if window else 1, "head": "none"}
    return ModernBertConfig(**c | rest | windows | ropes | own)


def to_config(c: ModernBertConfig) -> dict[str, Any]:
    where = f"{WHERE} of {ARCH}"
    must_be(c, where, head="none", **PLAIN, **{name: RopeConfig(getattr(c, name).theta) for name in BASES})
    if c.activation != "silu":
        must_be(c, where, activation="gelu")
    # A window that no layer has makes llama.cpp stop.
    windows = {WINDOW: c.sliding_window, EVERY: c.global_every} if c.global_every > 1 else {}
    return {
        **write_rest(c, ARCH),
        **write_keys(c, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size"))),
        CAUSAL: False,
        KV: c.num_heads,
        **windows,
        **{theirs: float(getattr(c, ours).theta) for ours, theirs in BASES.items()},
        f"{ARCH}.rope.scaling.type": "none",
        ACTIVATION: c.activation,
    }


def mapping(c: ModernBertConfig) -> Table:
    must_be(c, f"{WHERE} of {ARCH}", head="none", **PLAIN)
    d, f = c.hidden_size, c.intermediate_size
    return Table(
        rename("embed.tokens", "token_embd"),
        rename("embed.norm", "token_embd_norm"),
        under(
            "layers.{i}", "blk.{i}",
            rename("attn_norm", "attn_norm"),
            rule(tuple(f"attn.{x}_proj" for x in "qkv"), "attn_qkv", split(d, d, d)),
            rename("attn.o_proj", "attn_output"),
            rename("mlp_norm", "ffn_norm"),
            rule(("mlp.gate_proj", "mlp.up_proj"), "ffn_up", split(f, f)),
            rename("mlp.down_proj", "ffn_down"),
        ),
        rename("norm", "output_norm"),
        ignore("cls", "a classifier that model.head does not use"),
    )  # fmt: skip


MODERNBERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
