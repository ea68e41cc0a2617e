"""T5 as llama.cpp stores it: gated where there is a gate, and a bias per layer where there is one (UMT5).

llama.cpp never scales what enters the head, which changes no order of tokens; T5 1.0, whose head is the embedding,
does, and so a file without a head is read as one that does.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, Entry, ForeignConfig, Table, ignore, key, must_be, rename, under, write_keys
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import T5Config

CONTEXT = 512  # tokens that the released models were trained on; T5 itself sets no limit


def keys(arch: str) -> tuple[Any, ...]:
    """Where the sizes stand."""
    return (
        key("hidden_size", f"{arch}.embedding_length"),
        key("intermediate_size", f"{arch}.feed_forward_length"),
        key("num_layers", f"{arch}.block_count"),
        key("num_heads", f"{arch}.attention.head_count"),
        key("head_dim", f"{arch}.attention.key_length"),
        key("num_buckets", f"{arch}.attention.relative_buckets_count"),
        key("norm_eps", f"{arch}.attention.layer_norm_rms_epsilon"),
    )


def from_config(hf: ForeignConfig) -> T5Config:
    arch = str(hf.raw.get("general.architecture"))
    c = hf.read(T5Config, (*keys(arch), key("vocab_size", f"{arch}.vocab_size", default=read_size(hf))))
    known = {"attention.head_count_kv": c["num_heads"], "attention.value_length": c["head_dim"]}
    hf.require(**{f"{arch}.attention.layer_norm_epsilon": hf.raw.get(f"{arch}.attention.layer_norm_rms_epsilon")})
    hf.ignore(f"{arch}.context_length")
    if arch == "t5":
        more = (
            key("num_decoder_layers", "t5.decoder_block_count", default=c["num_layers"]),
            key("decoder_start_token_id", "t5.decoder_start_token_id", default=0),
        )
        c |= hf.read(T5Config, more)
    else:
        c["num_decoder_layers"] = None
    rest = read_rest(hf, arch, **fixed(arch), **{f"{arch}.{name}": value for name, value in known.items()})
    is_gated = "enc.blk.0.ffn_gate.weight" in hf.tensors
    has_biases = "enc.blk.1.attn_rel_b.weight" in hf.tensors
    is_tied = rest["tie_embeddings"]
    return T5Config(
        **c | rest | {"norm_eps": norm_eps(c)},
        is_gated=is_gated,
        activation="gelu_tanh" if is_gated else "relu",
        has_bias_per_layer=has_biases,
        scale_outputs=is_tied,
        flavour="umt5" if has_biases else "t5",
    )


def to_config(c: T5Config) -> dict[str, Any]:
    arch = "t5encoder" if c.num_decoder_layers is None else "t5"
    must_be(c, WHERE, max_distance=128, activation="gelu_tanh" if c.is_gated else "relu")
    if arch == "t5":
        must_be(c, WHERE, scale_outputs=c.tie_embeddings)
    sizes: dict[str, Any] = {
        "context_length": CONTEXT, "vocab_size": c.vocab_size, "attention.head_count_kv": c.num_heads,
        "attention.value_length": c.head_dim, "attention.layer_norm_epsilon": c.norm_eps,
    }  # fmt: skip
    if arch == "t5":
        sizes |= {
            "decoder_block_count": c.num_decoder_layers, "decoder_start_token_id": c.decoder_start_token_id,
        }  # fmt: skip
    return {**write_rest(c, arch), **write_keys(c, keys(arch)), **{f"{arch}.{n}": value for n, value in sizes.items()}}


def mapping(c: T5Config) -> Table:
    has_head = c.num_decoder_layers is not None and not c.tie_embeddings
    return Table(
        rename("embed", "token_embd"),
        _stack("encoder", "enc"),
        _stack("decoder", "dec"),
        rename("encoder_norm", "enc.output_norm"),
        rename("decoder_norm", "dec.output_norm"),
        rename("lm_head", "output") if has_head else [],
        ignore("dec.blk.{i}.cross_attn_rel_b", "the reference never uses it"),
    )


def _stack(ours: str, theirs: str) -> list[Entry]:
    return under(
        f"{ours}.layers.{{i}}", f"{theirs}.blk.{{i}}",
        rename("attn_norm", "attn_norm"),
        rename("attn.bias", "attn_rel_b"),
        *(rename(f"attn.{x}_proj", f"attn_{x}") for x in "qkvo"),
        rename("cross_norm", "cross_attn_norm"),
        *(rename(f"cross.{x}_proj", f"cross_attn_{x}") for x in "qkvo"),
        rename("mlp_norm", "ffn_norm"),
        *(rename(f"mlp.{x}_proj", f"ffn_{x}") for x in ("gate", "up", "down")),
    )  # fmt: skip


T5 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("t5", "t5encoder"))
