"""The text of Gemma 4 as llama.cpp stores it: what differs between layers in lists, expert scales beside experts.

A layer without keys takes those of the last global layer with keys, or of the one before that if it is local: llama.cpp
computes no other choice. Which channels of global layers rotate is a tensor, `rope_freqs`, in which others are 1e30.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.weights import Dialect, Entry, ForeignConfig, Table, ignore, key, rename, rule, split, write_keys
from zoo.weights.gguf.by_layer import layers_where, of_each, shortest
from zoo.weights.gguf.experts import expert_keys, width_key
from zoo.weights.gguf.layout import (
    WHERE,
    by_architecture,
    decoder_keys,
    decoder_table,
    fixed,
    norm_eps,
    read_rest,
    read_size,
    write_rest,
)
from zoo.weights.gguf.rope import DIVISORS, read_divisors

from ..per_layer import BY_LAYER, EMBEDDINGS
from .config import Gemma4Config

ARCH = "gemma4"
ATTENTION = f"{ARCH}.attention"
APART = ("num_kv_heads", "head_dim", "intermediate_size")  # which differ between layers
KEYS = (
    *(k for k in decoder_keys(ARCH) if k.ours not in APART),
    key("head_dim", f"{ATTENTION}.key_length_swa"),
    key("global_head_dim", f"{ATTENTION}.key_length"),
    key("sliding_window", f"{ATTENTION}.sliding_window"),
)
CAP, EMBED = f"{ARCH}.final_logit_softcapping", f"{ARCH}.embedding_length_per_layer_input"
SHARED, PATTERN = f"{ATTENTION}.shared_kv_layers", f"{ATTENTION}.sliding_window_pattern"
KV, FFN = f"{ATTENTION}.head_count_kv", f"{ARCH}.feed_forward_length"
EXPERT_KEYS = (*expert_keys(ARCH), key("expert_size", width_key(ARCH).theirs))
BASES = {"rope": f"{ARCH}.rope.freq_base", "local_rope": f"{ARCH}.rope.freq_base_swa"}
NEVER = 1e30  # by which the frequencies are divided that do not turn


def from_config(hf: ForeignConfig) -> Gemma4Config:
    c = hf.read(Gemma4Config, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size", default=read_size(hf))))
    count, experts = c["num_layers"], bool(hf.raw.get(f"{ARCH}.expert_count"))
    if experts:
        c |= hf.read(Gemma4Config, EXPERT_KEYS)
    local = layers_where(hf, PATTERN, count)
    layers = [i for i in range(count) if i not in local]
    if layers[-1:] != [count - 1]:
        raise CheckpointError(hf.file, PATTERN, "the last layer of a Gemma 4 must be global, and here it is not")
    shared = hf.as_type(int, hf.get(SHARED, 0), SHARED)
    if not 0 <= shared < count:
        raise CheckpointError(hf.file, SHARED, f"{shared} of {count} layers cannot take the keys of earlier ones")
    c |= {"global_layers": layers, "sharing_from": count - shared} | heads(hf, layers, local)
    c |= widths(hf, count, count - shared) | ropes(hf, c)
    cap = hf.as_type(float, hf.get(CAP, 30.0), CAP)
    embed = hf.as_type(int, hf.get(EMBED, 0), EMBED)
    known = {name: v for name, v in fixed(ARCH).items() if not experts or "expert_" not in name}
    known |= {f"{ATTENTION}.value_length": c["global_head_dim"], f"{ATTENTION}.value_length_swa": c["head_dim"]}
    known |= {f"{ARCH}.rope.dimension_count": c["global_head_dim"], f"{ARCH}.rope.dimension_count_swa": c["head_dim"]}
    known |= {f"{ARCH}.rope.scaling.type": "none", f"{ARCH}.rope.scaling.factor": 1.0}
    rest = read_rest(hf, ARCH, **known) | {"norm_eps": norm_eps(c), "final_softcap": cap or None}
    equal = any(f"blk.{i}.attn_k.weight" in hf.tensors and f"blk.{i}.attn_v.weight" not in hf.tensors for i in layers)
    config = Gemma4Config(**c | rest, layer_embed_dim=embed or None, has_equal_keys=equal)
    if odd := odd_source(config):
        raise CheckpointError(hf.file, SHARED, f"{shared}: {odd}")
    return config


def heads(hf: ForeignConfig, layers: list[int], local: list[int]) -> dict[str, Any]:
    """Key/value heads, which may be others in global layers."""
    each = of_each(hf, KV, int, len(layers) + len(local))
    kinds = [sorted({each[i] for i in some}) for some in (layers, local or layers)]
    if any(len(kind) != 1 for kind in kinds):
        raise CheckpointError(hf.file, KV, "has more than one number for layers of the same kind")
    return {"global_kv_heads": kinds[0][0], "num_kv_heads": kinds[1][0]}


def widths(hf: ForeignConfig, count: int, first: int) -> dict[str, Any]:
    """The MLPs' widths: one for all, or twice as much from the first layer without keys on."""
    each = of_each(hf, FFN, int, count)
    is_doubled = each[-1] != each[0]
    if each != [each[0] * (1 + (is_doubled and i >= first)) for i in range(count)]:
        raise CheckpointError(hf.file, FFN, "is neither one width nor twice as much in layers without keys")
    return {"intermediate_size": each[0], "is_doubled": is_doubled}


def ropes(hf: ForeignConfig, c: dict[str, Any]) -> dict[str, Any]:
    """Rotary positions of either kind of layer; the share of a global head's pairs that turn is a tensor."""
    half = c["global_head_dim"] // 2
    if (info := hf.tensors.get(DIVISORS)) is None:
        raise CheckpointError(hf.file, DIVISORS, "is missing: it says which channels of global layers rotate")
    divisors = read_divisors(info, half)
    turning = divisors.count(1.0)
    if divisors[:turning] != [1.0] * turning or any(d < 0.99 * NEVER for d in divisors[turning:]):
        raise CheckpointError(info.file, DIVISORS, f"is not some times 1 and then {NEVER:g}")
    found = {ours: hf.as_type(float, hf.get(theirs, 10_000.0), theirs) for ours, theirs in BASES.items()}
    return {"global_rotary": turning / max(half, 1)} | {name: RopeConfig(theta) for name, theta in found.items()}


def to_config(c: Gemma4Config) -> dict[str, Any]:
    check_sharing(c)
    each = range(c.num_layers)
    experts = write_keys(c, EXPERT_KEYS) if c.num_experts is not None else {}
    return {
        **write_rest(c, ARCH),
        **write_keys(c, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size"))),
        f"{ATTENTION}.value_length": c.global_head_dim,
        f"{ATTENTION}.value_length_swa": c.head_dim,
        f"{ARCH}.rope.dimension_count": c.global_head_dim,
        f"{ARCH}.rope.dimension_count_swa": c.head_dim,
        **{theirs: float(getattr(c, ours).theta) for ours, theirs in BASES.items()},
        PATTERN: [not c.is_global(i) for i in each],
        KV: shortest([c.kv_heads_of(c.is_global(i)) for i in each]),
        FFN: shortest([c.width_of(i) for i in each]),
        SHARED: c.num_layers - c.first_sharing,
        EMBED: c.layer_embed_dim or 0,
        CAP: c.final_softcap or 0.0,
        **experts,
    }


def check_sharing(c: Gemma4Config) -> None:
    """Refuse what takes its keys elsewhere than llama.cpp does."""
    if why := odd_source(c):
        what = f"{WHERE} of {ARCH} cannot store model.sharing_from={c.first_sharing} with these model.global_layers"
        raise UsageError(what, why=why, hint="write hf or zoo")


def odd_source(c: Gemma4Config) -> str:
    """Which layer takes its keys in llama.cpp from one that is not the model's; empty where none does."""
    first = c.first_sharing
    for i in range(first, c.num_layers):
        source = first - (1 if c.is_global(i) else 2)
        if source < 0 or c.is_global(source) != c.is_global(i) or not c.is_source(source):
            return f"in llama.cpp layer {i} takes keys from layer {source}, whatever kind that is"
    return ""


def mapping(c: Gemma4Config) -> Table:
    width, share = c.expert_size, c.global_rotary
    both = ("moe.experts.gate_proj", "moe.experts.up_proj")
    experts: tuple[Entry, ...] = (
        rename("moe.router.weight", "ffn_gate_inp.weight"),
        rename("moe.gain", "ffn_gate_inp.scale"),
        rename("moe.router.expert_scale", "ffn_down_exps.scale"),
        rule(both, "ffn_gate_up_exps.weight", split(width, width, dim=1)),
        rename(both[0], "ffn_gate_exps.weight"),
        rename(both[1], "ffn_up_exps.weight"),
        rename("moe.experts.down_proj", "ffn_down_exps.weight"),
        rename("moe.norm", "pre_ffw_norm_2"),
        rename("moe.mlp_norm", "post_ffw_norm_1"),
        rename("moe.post_norm", "post_ffw_norm_2"),
    )
    unread = [
        ignore(f"blk.{i}.{name}", "the layer takes the keys and values of an earlier one")
        for i in range(c.first_sharing, c.num_layers)
        for name in ("attn_k", "attn_v", "attn_k_norm")
    ]
    turning = partial(_divisors, c.global_head_dim // 2, share * c.global_head_dim)
    layer = (*(experts if c.num_experts is not None else ()), rename("scalar", "layer_output_scale.weight"), *BY_LAYER)
    table = decoder_table(c, *layer)
    return Table(
        table.rules,
        EMBEDDINGS if c.layer_embed_dim else (),
        ignore(DIVISORS, "which channels rotate is model.global_rotary", witness=turning),
        unread,
    )


def _divisors(pairs: int, share: float) -> list[list[float]]:
    """1 for each pair that turns, and what stops all others."""
    kept = int(share // 2)
    return [[1.0] * kept + [NEVER] * (pairs - kept)]


GEMMA4 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
