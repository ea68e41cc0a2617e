"""LLaMA as Meta releases it: params.json, and consolidated.NN.pth with a slice of every matrix each.

Rotary channels pair (0, 1), (2, 3), ...; slice NN of `x` is called `x#NN`. What params.json leaves unsaid comes from
the headers of the files, or from Meta's code (meta-llama/llama, meta-llama/llama-models).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from zoo.anatomy import ModelConfig, RopeConfig
from zoo.errors import ConfigError, UsageError
from zoo.weights import (
    Alias,
    Dialect,
    Files,
    ForeignConfig,
    Ignore,
    Match,
    Op,
    Rule,
    Table,
    TensorInfo,
    alias,
    ignore,
    key,
    rename,
    rope_halves,
    rule,
    same,
    split,
    under,
    write_keys,
)

from .config import LlamaConfig

KEYS = (
    key("hidden_size", "dim"),
    key("num_layers", "n_layers"),
    key("num_heads", "n_heads"),
    key("num_kv_heads", "n_kv_heads", default=lambda c: c["num_heads"]),
    key("norm_eps", default=1e-5),
)
STRETCHED: dict[str, Any] = {"scaling": "llama3", "original_max_seq_len": 8192}  # the rest of it are defaults


@dataclass
class Params(ModelConfig):
    """What else params.json may hold."""

    multiple_of: int = 256  # the MLP's width is rounded up to a multiple of this
    ffn_dim_multiplier: float | None = None  # the MLP's width, 8/3 of the model's, times this
    vocab_size: int = -1  # -1: as many as the tokenizer has
    rope_theta: float = 10_000.0  # base of the rotary frequencies
    use_scaled_rope: bool = False  # they are stretched as in Llama 3.1
    rope_scale_factor: float | None = None  # how many times; None: see _rope
    max_seq_len: int | None = None  # tokens of context; None: by generation

    def __post_init__(self) -> None:
        if self.multiple_of < 1:
            raise ConfigError(f"multiple_of={self.multiple_of} is below 1")


def matches(raw: Mapping[str, Any]) -> Match | None:
    """Mistral's params.json has `hidden_dim` where Meta's has the rule that `multiple_of` belongs to."""
    if not {"dim", "n_layers", "n_heads", "multiple_of"} <= raw.keys():
        return None
    return Match(1.0, ("params.json has dim, n_layers, n_heads and multiple_of",))


def from_config(hf: ForeignConfig) -> LlamaConfig:
    hf.ignore("max_batch_size")
    names = [name for name in Params.__annotations__ if name != "family"]
    p = Params(**hf.read(Params, [key(name, default=getattr(Params, name)) for name in names]))
    c = hf.read(LlamaConfig, KEYS)
    head, embedding = (hf.tensors.get(f"{name}.weight#00") for name in ("output", "tok_embeddings"))
    return LlamaConfig(
        **c,
        head_dim=c["hidden_size"] // max(c["num_heads"], 1),
        intermediate_size=intermediate_size(c["hidden_size"], p.multiple_of, p.ffn_dim_multiplier),
        vocab_size=p.vocab_size if p.vocab_size > 0 else _vocab_size(hf.tensors),
        max_seq_len=hf.get("max_seq_len", 131_072 if p.use_scaled_rope else 8192 if p.rope_theta > 1e4 else 2048),
        tie_embeddings=embedding is not None and head is None,
        dtype=embedding.dtype if embedding else "float32",
        rope=_rope(hf, p.rope_theta, c["hidden_size"]) if p.use_scaled_rope else RopeConfig(p.rope_theta),
    )


def to_config(c: LlamaConfig) -> dict[str, Any]:
    _check_expressible(c)
    params = {**write_keys(c, KEYS), "vocab_size": c.vocab_size, **_width(c.hidden_size, c.intermediate_size)}
    # Each of Meta's programs refuses the keys that later ones brought.
    if c.num_kv_heads == c.num_heads:
        del params["n_kv_heads"]
    if c.rope.theta != 10_000.0:
        params["rope_theta"] = c.rope.theta
    if c.rope.scaling == "llama3":
        params |= {"use_scaled_rope": True, "rope_scale_factor": c.rope.factor}
    return params


def mapping(c: LlamaConfig) -> Table:
    """The table of a checkpoint in one part, as zoo writes it."""
    _check_expressible(c)
    return _table(c, 1, 0)


def mapping_of(c: LlamaConfig, tensors: Mapping[str, TensorInfo]) -> Table:
    """The table of the files at hand: how many parts there are, and along which side they cut the embedding."""
    num_parts = sum(name.startswith("norm.weight#") for name in tensors)
    embedding = tensors.get("tok_embeddings.weight#00")
    # LLaMA 1 and 2 cut its width, LLaMA 3 its vocabulary.
    is_narrow = embedding is not None and embedding.shape[:1] == (c.vocab_size,)
    return _table(c, max(num_parts, 1), 1 if is_narrow else 0)


def intermediate_size(dim: int, multiple_of: int, ffn_dim_multiplier: float | None) -> int:
    """Width of the MLP by the rule in Meta's code, truncations included."""
    width = int(2 * (4 * dim) / 3)
    if ffn_dim_multiplier is not None:
        width = int(ffn_dim_multiplier * width)
    return multiple_of * -(-width // multiple_of)


def _table(c: LlamaConfig, num_parts: int, embedding_dim: int) -> Table:
    cut = partial(_cut, num_parts)
    ffn, q, kv = c.intermediate_size, c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    return Table(
        # Meta's programs want the head even where it is the embedding; such files are read as having two.
        [rule("embed.weight", ("tok_embeddings.weight", "output.weight"), twice)] if c.tie_embeddings else [],
        cut("embed", "tok_embeddings", c.hidden_size if embedding_dim else c.vocab_size, embedding_dim),
        under(
            "layers.{i}", "layers.{i}",
            rename("attn_norm", "attention_norm"),
            cut("attn.q_proj", "attention.wq", q, then=rope_halves(c.num_heads, c.head_dim)),
            cut("attn.k_proj", "attention.wk", kv, then=rope_halves(c.num_kv_heads, c.head_dim)),
            cut("attn.v_proj", "attention.wv", kv),
            cut("attn.o_proj", "attention.wo", q, 1),
            rename("mlp_norm", "ffn_norm"),
            cut("mlp.gate_proj", "feed_forward.w1", ffn),
            cut("mlp.down_proj", "feed_forward.w2", ffn, 1),
            cut("mlp.up_proj", "feed_forward.w3", ffn),
        ),
        rename("norm", "norm"),
        [] if c.tie_embeddings else [cut("lm_head", "output", c.vocab_size)],
        _copies(c, num_parts),
        spelling=lambda name: name.removesuffix("#00"),
    )  # fmt: skip


def _cut(num_parts: int, ours: str, theirs: str, size: int, dim: int = 0, then: Op = same) -> Rule:
    """A matrix of which every part holds an equal slice along `dim`."""
    joined = ~split(*[size // num_parts] * num_parts, dim=dim) >> then if num_parts > 1 else then
    return rule(f"{ours}.weight", tuple(_slices(f"{theirs}.weight", num_parts)), joined)


def _copies(c: LlamaConfig, num_parts: int) -> list[Alias | Ignore]:
    """What every part holds in full: norms, which must be equal, and rotary frequencies."""
    norms = ["norm", *(f"layers.{i}.{n}" for i in range(c.num_layers) for n in ("attention_norm", "ffn_norm"))]
    freqs = ("rope.freqs", "layers.{i}.attention.inner_attention.rope.freqs")
    reason = "rotary frequencies follow from model.rope"
    return [
        *(alias(copy, of=f"{n}.weight") for n in norms for copy in _slices(f"{n}.weight", num_parts)[1:]),
        *(ignore(slice_, reason) for name in freqs for slice_ in _slices(name, num_parts)),
    ]


def _slices(name: str, num_parts: int) -> list[str]:
    return [name + (f"#{part:02}" if part else "") for part in range(num_parts)]


def _rope(hf: ForeignConfig, theta: float, dim: int) -> RopeConfig:
    # params.json reads alike for Llama 3.1 and 3.2. Meta's code has 8 in it, with which the small models of 3.2 break
    # down beyond 80k tokens; their config.json has 32 (meta-llama/llama-models#241).
    factor = float(hf.get("rope_scale_factor", 8.0 if dim >= 4096 else 32.0))
    return RopeConfig(theta, factor=factor, **STRETCHED)


def _vocab_size(tensors: Mapping[str, TensorInfo]) -> int:
    """Rows of the head, which every version cuts by rows; LLaMA's own tokenizer where the headers are not at hand."""
    rows = (info.shape[0] for name, info in tensors.items() if name.startswith("output.weight#") and info.shape)
    return sum(rows) or 32_000


def _width(dim: int, width: int) -> dict[str, Any]:
    """multiple_of and ffn_dim_multiplier from which Meta's rule gives `width`."""
    for multiple_of in (256, 1024, 4096):
        if intermediate_size(dim, multiple_of, None) == width:
            return {"multiple_of": multiple_of}
    return {"multiple_of": 1, "ffn_dim_multiplier": (width + 0.5) / int(8 * dim / 3)}


def _check_expressible(c: LlamaConfig) -> None:
    """Refuse what params.json has no word for."""
    plain = RopeConfig(c.rope.theta)
    for is_other, what in (
        (c.attention_bias or c.mlp_bias, "biases"),
        (c.head_dim * c.num_heads != c.hidden_size, f"heads of their own width (model.head_dim={c.head_dim})"),
        (c.rope not in (plain, replace(plain, **STRETCHED, factor=c.rope.factor)), "such a model.rope"),
    ):
        if is_other:
            raise UsageError(f"Meta's format cannot store {what}", hint="write the model as hf or zoo")


twice = Op("twice", lambda x: [x[0]], lambda y: [y[0], y[0]], lambda s: [s[0], s[0]], lambda s: [s[0]])


LLAMA = Dialect(
    from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping_of, matches=matches,
    files=Files("params.json", "consolidated.00.pth"),
)  # fmt: skip
