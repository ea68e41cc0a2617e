"""Whose tensor each weight of a Marian is: two stacks, and an embedding that they share or not."""

from __future__ import annotations

from zoo.weights import (
    Entry,
    Table,
    alias,
    ignore,
    rename,
    reshape,
    rule,
    under,
)

from .config import TransformerConfig


def mapping(c: TransformerConfig) -> Table:
    embeddings: list[Entry]
    target = "model.decoder.embed_tokens.weight"
    if c.source_vocab_size is None:
        shared = "model.shared.weight"
        embeddings = [rename("embed.weight", shared), alias(target, of=shared)]
        embeddings.append(alias("model.encoder.embed_tokens.weight", of=shared))
        target = shared
    else:
        embeddings = [rename("embed.weight", target), rename("source_embed", "model.encoder.embed_tokens")]
    head = "lm_head.weight"
    return Table(
        embeddings,
        rule("lm_head.bias", "final_logits_bias", reshape((c.vocab_size,), (1, c.vocab_size))),
        alias(head, of=target) if c.tie_embeddings else rename(head, head),
        *(_stack(name) for name in ("encoder", "decoder")),
    )


def _stack(name: str) -> list[Entry]:
    layer: list[Entry] = []
    for ours, theirs in {"attn": "self_attn", "cross": "encoder_attn"}.items():
        layer += [rename(f"{ours}_norm", f"{theirs}_layer_norm"), rename(f"{ours}.o_proj", f"{theirs}.out_proj")]
        layer.append(rename(ours, theirs))
    mlp = [rename("mlp_norm", "final_layer_norm"), rename("mlp.up_proj", "fc1"), rename("mlp.down_proj", "fc2")]
    rules = under(f"{name}.layers.{{i}}", f"model.{name}.layers.{{i}}", *layer, *mlp)
    return [*rules, ignore(f"model.{name}.embed_positions.weight", "sinusoids follow from the position")]
