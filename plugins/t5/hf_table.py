"""The names of T5's tensors on the hub; apart from `hf`, which reads and writes config.json, for its length."""

from __future__ import annotations

from zoo.weights import Entry, Table, alias, ignore, rename, under

from .config import T5Config


def mapping(c: T5Config) -> Table:
    shared = "shared.weight"
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    copies = [alias("encoder.embed_tokens.weight", of=shared), alias("decoder.embed_tokens.weight", of=shared)]
    head: list[Entry] = []
    if c.num_decoder_layers is not None:
        head = [alias("lm_head.weight", of=shared) if c.tie_embeddings else rename("lm_head", "lm_head")]
    return Table(
        rename("embed", "shared"),
        _stack("encoder", c, mlp_at=1),
        _stack("decoder", c, mlp_at=2),
        rename("encoder_norm", "encoder.final_layer_norm"),
        rename("decoder_norm", "decoder.final_layer_norm"),
        head,
        copies,
        ignore(unused, "the reference never uses it"),
        *([ignore("decoder", "an encoder alone was asked for")] if c.num_decoder_layers is None else []),
    )


def _stack(name: str, c: T5Config, *, mlp_at: int) -> list[Entry]:
    def attention(ours: str, theirs: str) -> list[Entry]:
        return [rename(f"{ours}.{letter}_proj", f"{theirs}.{letter}") for letter in "qkvo"]

    mlp = {"gate_proj": "wi_0", "up_proj": "wi_1"} if c.is_gated else {"up_proj": "wi"}
    dense = f"layer.{mlp_at}.DenseReluDense"
    return under(
        f"{name}.layers.{{i}}", f"{name}.block.{{i}}",
        rename("attn_norm", "layer.0.layer_norm"),
        rename("attn.bias", "layer.0.SelfAttention.relative_attention_bias"),
        *attention("attn", "layer.0.SelfAttention"),
        rename("cross_norm", "layer.1.layer_norm"),
        *attention("cross", "layer.1.EncDecAttention"),
        rename("mlp_norm", f"layer.{mlp_at}.layer_norm"),
        *(rename(f"mlp.{ours}", f"{dense}.{theirs}") for ours, theirs in {**mlp, "down_proj": "wo"}.items()),
    )  # fmt: skip
