"""The text of Gemma 3n as llama.cpp stores it: what makes up AltUp in stacks, and much that is not said but computed.

llama.cpp has the sizes of the released models in its code: 4 streams, sparse gates in 10 layers, keys of their own in
20. It wants projections of keys and values also of layers that never read them, and a row of each layer's embeddings
for every token. Where the model has fewer rows, those of other tokens are what they take: the row of token 0.
"""

from __future__ import annotations

from math import inf, isclose
from typing import Any

from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError
from zoo.weights import Dialect, Entry, ForeignConfig, Table, filler, key, must_be, rename, rule, stack
from zoo.weights.gguf.by_layer import of_each, one_for_all
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder
from zoo.weights.gguf.ops import first_repeated

from ..per_layer import BY_LAYER, EMBEDDINGS
from .config import EVERY, SPARSE_LAYERS, SPARSITY, Gemma3nConfig

ARCH = "gemma3n"
OWN_KEYS = 20  # layers with keys of their own
QUANTILE = 1.6448533535003662  # deviations above the mean, below which a gate of a sparse layer is 0
FIXED: dict[str, Any] = {"num_streams": 4, "laurel_rank": 64, "layer_embed_dim": 256, "final_softcap": 30.0}
WINDOW = key("sliding_window", f"{ARCH}.attention.sliding_window")
EMBED, WIDTHS = f"{ARCH}.embedding_length_per_layer_input", f"{ARCH}.feed_forward_length"
PATTERN, SHARED = f"{ARCH}.attention.sliding_window_pattern", f"{ARCH}.attention.shared_kv_layers"
LOCAL_BASE, GATES = f"{ARCH}.rope.freq_base_swa", f"{ARCH}.activation_sparsity_scale"
ALTUP = {f"{ARCH}.altup.active_idx": 0, f"{ARCH}.altup.num_inputs": FIXED["num_streams"]}
LAYER: tuple[Entry, ...] = (
    rename("altup.scale", "altup_correct_scale.weight"),
    rename("altup.correction", "altup_correct_coef"),
    rename("altup.prediction", "altup_predict_coef"),
    rename("altup.router", "altup_router"),
    rename("altup.router_norm", "altup_router_norm"),
    rename("laurel.down_proj", "laurel_l"),
    rename("laurel.up_proj", "laurel_r"),
    rename("laurel.norm", "laurel_post_norm"),
    *BY_LAYER,
)


def from_config(hf: ForeignConfig) -> Gemma3nConfig:
    count = hf.as_type(int, hf[f"{ARCH}.block_count"], f"{ARCH}.block_count")
    one_for_all(hf, WIDTHS, count)
    check_gates(hf, count)
    known: dict[str, Any] = ALTUP | {EMBED: FIXED["layer_embed_dim"], SHARED: max(0, count - OWN_KEYS)}
    known |= {PATTERN: [not is_global(i) for i in range(count)], f"{ARCH}.final_logit_softcapping": 30.0}
    values = read_decoder(hf, ARCH, Gemma3nConfig, WINDOW, **known)
    local = RopeConfig(hf.as_type(float, hf.get(LOCAL_BASE, 10_000.0), LOCAL_BASE))
    hf.assumed.pop(LOCAL_BASE, None)  # the one of every file older than the key
    table = hf.tensors.get("per_layer_token_embd.weight")
    rows = table.shape[0] if table and table.shape else values["vocab_size"]
    return Gemma3nConfig(
        **values, **FIXED, local_rope=local, layer_vocab_size=rows, sharing_from=min(OWN_KEYS, count),
        sparsity=[sparsity(i) for i in range(count)],
    )  # fmt: skip


def check_gates(hf: ForeignConfig, count: int) -> None:
    """Refuse a list of bounds of gates that llama.cpp, which does not read it, would compute other gates than."""
    if GATES not in hf:
        return
    wanted = [QUANTILE if i < SPARSE_LAYERS else -inf for i in range(count)]
    found = of_each(hf, GATES, float, count)
    if not all(isclose(a, b, rel_tol=1e-5) for a, b in zip(found, wanted, strict=True)):
        raise CheckpointError(hf.file, GATES, f"is not {QUANTILE:.4f} in {SPARSE_LAYERS} layers and then -inf")


def is_global(layer: int) -> bool:
    """Whether a layer sees all tokens: every fifth."""
    return (layer + 1) % EVERY == 0


def sparsity(layer: int) -> float:
    """Which share of a layer's gates is 0."""
    return SPARSITY if layer < SPARSE_LAYERS else 0.0


def to_config(c: Gemma3nConfig) -> dict[str, Any]:
    check(c)
    pattern = [not is_global(i) for i in range(c.num_layers)]
    out = write_decoder(c, ARCH, WINDOW)
    return out | ALTUP | {
        EMBED: c.layer_embed_dim, SHARED: c.num_layers - c.first_sharing, PATTERN: pattern,
        LOCAL_BASE: float(c.local_rope.theta),
    }  # fmt: skip


def check(c: Gemma3nConfig) -> None:
    """Refuse what llama.cpp does not compute."""
    where = f"{WHERE} of {ARCH}"
    must_be(c, where, **FIXED, global_layers=None, mlp_widths=None)
    must_be(c, where, sharing_from=OWN_KEYS if c.num_layers > OWN_KEYS else None)
    wanted = [sparsity(i) for i in range(c.num_layers)]
    if [c.sparsity_of(i) for i in range(c.num_layers)] != wanted:
        must_be(c, where, sparsity=wanted)


def mapping(c: Gemma3nConfig) -> Table:
    others, kv = c.num_streams - 1, c.num_kv_heads * c.head_dim
    shapes = {"attn_k.weight": (kv, c.hidden_size), "attn_v.weight": (kv, c.hidden_size)}
    shapes |= {"attn_k_norm.weight": (c.head_dim,)}
    unread = [
        filler(f"blk.{i}.{name}", shape, "the layer takes the keys and values of an earlier one")
        for i in range(c.first_sharing, c.num_layers)
        for name, shape in shapes.items()
    ]
    fewer = c.layer_vocab_size < c.vocab_size
    rows = first_repeated(c.layer_vocab_size, c.vocab_size)
    table = decoder_table(c, *LAYER, norm=rename("norm.norm", "output_norm"))
    return Table(
        rule("layer_embed.weight", "per_layer_token_embd.weight", rows) if fewer else (),
        EMBEDDINGS,
        *(
            rule(tuple(f"{ours}.{j}.weight" for j in range(others)), f"{theirs}.weight", ~stack(others))
            for ours, theirs in (("streams", "altup_proj"), ("norm.streams", "altup_unembd_proj"))
        ),
        table.rules,
        unread,
    )


GEMMA3N = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
