"""What most decoders on the Hugging Face hub have in common: the names that LLaMA's conversion set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from zoo.anatomy.config import DecoderConfig, ModelConfig, RopeConfig
from zoo.anatomy.frequencies import frequencies
from zoo.errors import CheckpointError
from zoo.weights.entries import Entry, Ignore, Rule, Spelling, alias, ignore, rename, rule, under
from zoo.weights.foreign.config import ForeignConfig, Key, key, write_keys, write_tokens
from zoo.weights.foreign.rope import write_rope
from zoo.weights.ops import split, stack
from zoo.weights.table import Table

__all__ = [
    "DECODER_KEYS", "HEADS_IN_MEMORY", "LAYER", "PROJECTIONS", "TOWER_LAYER", "decoder_keys", "decoder_table",
    "dense_layers", "expert_rules", "head_dim_of", "ignore_frequencies", "write_decoder",
]  # fmt: skip

HEADS_IN_MEMORY = (  # of ViT and its kin: as transformers 5 has them in memory -> as files have them
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
)
DECODER_KEYS: tuple[Key, ...] = (
    key("vocab_size"),
    key("hidden_size"),
    key("intermediate_size"),
    key("num_layers", "num_hidden_layers"),
    key("num_heads", "num_attention_heads"),
    key("num_kv_heads", "num_key_value_heads", default=lambda c: c["num_heads"]),
    key("head_dim", default=lambda c: c["hidden_size"] // c["num_heads"]),
    key("max_seq_len", "max_position_embeddings", default=2048),
    key("norm_eps", "rms_norm_eps", default=1e-6),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)


def decoder_keys(*, norm: str = "rms_norm_eps", **defaults: Any) -> tuple[Key, ...]:
    """DECODER_KEYS, with what the family's class in transformers takes for absent keys where that is something else.

    `norm` is the key of the norms' epsilon.
    """
    named = (replace(k, theirs=norm) if k.ours == "norm_eps" else k for k in DECODER_KEYS)
    return tuple(replace(k, default=defaults.get(k.ours, k.default)) for k in named)


def head_dim_of(hf: ForeignConfig, values: Mapping[str, Any]) -> int:
    """Channels per head in a format that has no key for them. Raises CheckpointError where heads do not fit."""
    width, heads = values["hidden_size"], values["num_heads"]
    if heads < 1 or width % heads:
        raise CheckpointError(hf.file, "num_attention_heads", f"{heads} heads do not divide the hidden size of {width}")
    return width // heads


def write_decoder(
    c: DecoderConfig, kind: str, architecture: str, keys: Sequence[Key], *, partial: float | None = None, **more: Any
) -> dict[str, Any]:
    """A decoder's config.json of the model_type `kind`; `partial` as in `ForeignConfig.rope`, `more` the rest."""
    return {
        "architectures": [architecture],
        "model_type": kind,
        **write_keys(c, keys),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope, partial=partial),
        **more,
    }


# A pre-norm layer, ours on the left. A MoE's `mlp` has rules of its own, which must stand before these.
LAYER: tuple[Rule, ...] = (
    rename("attn_norm", "input_layernorm"),
    rename("attn", "self_attn"),
    rename("mlp_norm", "post_attention_layernorm"),
    rename("mlp", "mlp"),
)


# A layer of the towers of CLIP and SigLIP.
TOWER_LAYER: tuple[Rule, ...] = (
    rename("attn_norm", "layer_norm1"),
    rename("attn.o_proj", "self_attn.out_proj"),
    rename("attn", "self_attn"),
    rename("mlp_norm", "layer_norm2"),
    rename("mlp.up_proj", "mlp.fc1"),
    rename("mlp.down_proj", "mlp.fc2"),
)


PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def expert_rules(
    num_experts: int, width: int, *, module: str = "mlp", names: Sequence[str] = PROJECTIONS
) -> list[Entry]:
    """A layer's experts of `width` channels: a tensor each under `module`, or stacked as transformers 5 or MLX do."""
    return [
        *(
            rule(f"mlp.experts.{ours}", f"{module}.experts.{{e}}.{theirs}.weight", stack(num_experts), e=num_experts)
            for ours, theirs in zip(PROJECTIONS, names, strict=True)
        ),
        rule(("mlp.experts.gate_proj", "mlp.experts.up_proj"), "mlp.experts.gate_up_proj", split(width, width, dim=1)),
        rename("mlp.experts.down_proj", "mlp.experts.down_proj"),
        *(rename(f"mlp.experts.{ours}", f"{module}.switch_mlp.{ours}.weight") for ours in PROJECTIONS),  # MLX's
    ]


def dense_layers(hf: ForeignConfig, num_layers: int) -> list[int]:
    """Layers without experts: those listed, and all but every `decoder_sparse_step`th."""
    listed = hf.as_type(list[int], hf.get("mlp_only_layers") or [], "mlp_only_layers")
    step = hf.as_type(int, hf.get("decoder_sparse_step", 1), "decoder_sparse_step")
    if beyond := [i for i in listed if not 0 <= i < num_layers]:
        raise CheckpointError(hf.file, "mlp_only_layers", f"{beyond[0]} is not one of the {num_layers} layers")
    if step < 1:
        raise CheckpointError(hf.file, "decoder_sparse_step", f"{step} is below 1")
    return [i for i in range(num_layers) if i in listed or (i + 1) % step]


def ignore_frequencies(theirs: str, dim: int, c: ModelConfig) -> Ignore:
    """Rotary frequencies that older files keep, of heads of `dim` channels: those of model.rope, stretched or not."""
    return ignore(theirs, "rotary frequencies follow from model.rope", witness=partial(_known, dim, c))


def _known(dim: int, c: ModelConfig) -> list[list[float]]:
    ropes = [rope for name in ("rope", "local_rope") if (rope := getattr(c, name, None)) is not None]
    length = getattr(c, "max_seq_len", None) or 1
    return [
        frequencies(round(dim * rope.partial), kind, length)
        for rope in ropes
        for kind in (rope, RopeConfig(theta=rope.theta))
    ]


def decoder_table(
    c: DecoderConfig,
    *layer: Entry,
    more: tuple[Entry, ...] = (),
    prefix: str = "model",
    spelling: Spelling | None = None,
) -> Table:
    """Embedding, `layer` in each layer, final norm and head; `more` are rules of the family that come first."""
    embedding = f"{prefix}.embed_tokens"
    return Table(
        more,
        rename("embed", embedding),
        under(
            "layers.{i}",
            f"{prefix}.layers.{{i}}",
            *layer,
            ignore_frequencies("self_attn.rotary_emb.inv_freq", c.head_dim, c),
        ),
        rename("norm", f"{prefix}.norm"),
        alias("lm_head.weight", of=f"{embedding}.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
        spelling=spelling,
    )
