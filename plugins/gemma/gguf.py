"""Gemma 1, 2 and 3 (text) as llama.cpp stores them: norms with the 1 added, and much that is not said but computed.

llama.cpp divides scores by the head's width, and in the two largest models (46 and 62 layers) by hidden / heads. Every
second layer of a Gemma 2 is global, and every sixth of a Gemma 3.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy import RopeConfig
from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rule
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder
from zoo.weights.gguf.ops import plus_one

from .config import GemmaConfig

ARCHS = {1: "gemma", 2: "gemma2", 3: "gemma3"}
LOCAL_PER_GLOBAL = {1: 0, 2: 1, 3: 5}
WIDE = {2: 46, 3: 62}  # layers of the models whose scores are divided by hidden / heads
NORMS = {"attn_norm": "attn_norm", "mlp_norm": "ffn_norm"}
AFTER = {"attn_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}
ON_HEADS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}
WINDOW = "attention.sliding_window"
LOCAL_BASE = "gemma3.rope.freq_base_swa"


def sliding_keys(arch: str) -> tuple[Any, ...]:
    """Of Gemma 2, where an absent key means what was released; without Gemma 3's no layer slides."""
    window: dict[str, Any] = {"default": 4096} if arch == "gemma2" else {}
    keys = (key("sliding_window", f"{arch}.{WINDOW}", **window),)
    if arch == "gemma3":
        return keys
    soft = {"attn_softcap": ("attn_logit_softcapping", 50.0), "final_softcap": ("final_logit_softcapping", 30.0)}
    return (*keys, *(key(ours, f"{arch}.{theirs}", default=value) for ours, (theirs, value) in soft.items()))


def from_config(hf: ForeignConfig) -> GemmaConfig:
    generation = next(g for g, arch in ARCHS.items() if arch == hf.raw.get("general.architecture"))
    arch = ARCHS[generation]
    slides = generation == 2 or (generation == 3 and bool(hf.get(f"{arch}.{WINDOW}")))
    hf.assumed.pop(f"{arch}.{WINDOW}", None)
    share = LOCAL_PER_GLOBAL[generation] if slides else 0
    pattern: dict[str, Any] = (
        {f"{arch}.{WINDOW}_pattern": share + 1, "final_logit_softcapping": 0.0} if generation == 3 else {}
    )
    values = read_decoder(hf, arch, GemmaConfig, *(sliding_keys(arch) if slides else ()), **{**pattern})
    local = RopeConfig(hf.as_type(float, hf.get(LOCAL_BASE, 10_000.0), LOCAL_BASE)) if generation == 3 else None
    hf.assumed.pop(LOCAL_BASE, None)  # llama.cpp's converter never wrote it before 2025-11
    return GemmaConfig(
        **values,
        generation=generation,
        query_pre_attn_scalar=scalar(generation, values),
        local_per_global=share,
        local_rope=local or values["rope"],
    )


def scalar(generation: int, c: dict[str, Any]) -> float:
    """What scores are divided by the root of."""
    is_wide = c["num_layers"] == WIDE.get(generation)
    return float(c["hidden_size"] / c["num_heads"] if is_wide else c["head_dim"])


def to_config(c: GemmaConfig) -> dict[str, Any]:
    arch = ARCHS[c.generation]
    slides = c.sliding_window is not None and c.generation > 1
    share = LOCAL_PER_GLOBAL[c.generation] if slides else 0
    must_be(c, f"{WHERE} of {arch}", query_pre_attn_scalar=scalar(c.generation, vars(c)), local_per_global=share)
    if c.generation < 3:
        must_be(c, f"{WHERE} of {arch}", local_rope=c.rope, tie_embeddings=True)
    else:
        must_be(c, f"{WHERE} of {arch}", local_rope=RopeConfig(c.local_rope.theta))
    if c.generation != 2:
        must_be(c, f"{WHERE} of {arch}", attn_softcap=None, final_softcap=None)
    elif None in (c.attn_softcap, c.final_softcap, c.sliding_window):
        must_be(c, f"{WHERE} of {arch}", attn_softcap=50.0, final_softcap=30.0, sliding_window=4096)
    only: dict[str, Any] = {"rope.freq_base_swa": float(c.local_rope.theta)} if c.generation == 3 else {}
    return write_decoder(c, arch, *(sliding_keys(arch) if slides else ()), **only)


def mapping(c: GemmaConfig) -> Table:
    names = NORMS | (AFTER if c.generation > 1 else {}) | (ON_HEADS if c.generation == 3 else {})
    norms = [rule(ours, theirs, plus_one) for ours, theirs in names.items()]
    return decoder_table(c, norms=norms, norm=rule("norm", "output_norm", plus_one))


GEMMA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(*ARCHS.values()))
