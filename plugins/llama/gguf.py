"""LLaMA as llama.cpp stores it, which zoo reads and does not write. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.config import ModelConfig, RopeConfig, one_of
from zoo.errors import CheckpointError, UsageError
from zoo.family import Match
from zoo.frequencies import frequencies
from zoo.weights import ForeignConfig, Table, TensorInfo, ignore, key, rename, rope_halves, rule, under

from .config import LlamaConfig

FILES = None  # read, not written
KEYS = (
    key("hidden_size", "llama.embedding_length"),
    key("intermediate_size", "llama.feed_forward_length"),
    key("num_layers", "llama.block_count"),
    key("num_heads", "llama.attention.head_count"),
    key("num_kv_heads", "llama.attention.head_count_kv", default=lambda c: c["num_heads"]),
    key("head_dim", "llama.attention.key_length", default=lambda c: c["hidden_size"] // max(c["num_heads"], 1)),
    key("max_seq_len", "llama.context_length"),
    key("norm_eps", "llama.attention.layer_norm_rms_epsilon"),
)
MORE_KEYS = (
    key("theta", "llama.rope.freq_base"),
    key("scaling", "llama.rope.scaling.type"),
    key("factor", "llama.rope.scaling.factor", also=("llama.rope.scale_linear",)),
    key("original", "llama.rope.scaling.original_context_length"),
    key("beta_fast", "llama.rope.scaling.yarn_beta_fast"),
    key("beta_slow", "llama.rope.scaling.yarn_beta_slow"),
    key("bos", "tokenizer.ggml.bos_token_id"),
    key("eos", "tokenizer.ggml.eos_token_id"),
    key("eot", "tokenizer.ggml.eot_token_id"),
    key("pad", "tokenizer.ggml.padding_token_id"),
)
# Who made the file and how, its tokenizer, and notes that quantising leaves.
INERT = ("general.", "tokenizer.", "quantize.", "split.", "imatrix.", "llama.rope.scaling.finetuned")
FIXED = {  # where a key is absent, llama.cpp takes this value
    "general.type": "model",
    "llama.tensor_data_layout": "Meta AI original pth",
    "llama.expert_count": 0,
    "llama.expert_used_count": 0,
    "llama.attention.causal": True,
    "llama.rope.scaling.attn_factor": 1.0,
    "llama.rope.scaling.yarn_ext_factor": 1.0,
    "llama.rope.scaling.yarn_attn_factor": 1.0,
}


@dataclass
class Metadata(ModelConfig):
    """What else the metadata may hold, and what llama.cpp takes where it does not."""

    theta: float = 10_000.0  # base of the rotary frequencies
    scaling: str = "linear"  # none | linear | yarn
    factor: float = 1.0  # how many times the context is stretched
    original: int | None = None  # tokens seen in pretraining
    beta_fast: float = 32.0  # as in RopeConfig
    beta_slow: float = 1.0  # as in RopeConfig
    bos: int | None = None  # begins a text
    eos: int | None = None  # ends a text
    eot: int | None = None  # ends a turn of a chat
    pad: int | None = None  # fills a batch up

    def __post_init__(self) -> None:
        one_of("llama.rope.scaling.type", self.scaling, ("none", "linear", "yarn"))


def matches(raw: Mapping[str, Any]) -> Match | None:
    kind = raw.get("general.architecture")
    return Match(1.0, ("general.architecture is 'llama'",)) if kind == "llama" else None


def from_config(hf: ForeignConfig) -> LlamaConfig:
    c = hf.read(LlamaConfig, (*KEYS, key("vocab_size", "llama.vocab_size", default=_vocab_size(hf))))
    m = Metadata(**hf.read(Metadata, [k for k in MORE_KEYS if any(name in hf for name in (k.theirs, *k.also))]))
    widths = dict.fromkeys(("llama.rope.dimension_count", "llama.attention.value_length"), c["head_dim"])
    hf.require(**{name: value for name, value in (FIXED | widths).items() if name in hf})
    hf.ignore(*(name for name in hf.raw if name.startswith(INERT) and name not in hf.used))
    return LlamaConfig(
        **c | {"norm_eps": float(f"{c['norm_eps']:.7g}")},  # the decimal that a float32 was meant to be
        tie_embeddings=bool(hf.tensors) and "output.weight" not in hf.tensors,
        attention_bias="blk.0.attn_q.bias" in hf.tensors,
        mlp_bias="blk.0.ffn_up.bias" in hf.tensors,
        rope=_rope(hf, m, c["head_dim"], c["max_seq_len"]),
        dtype=_dtype(hf),
        bos_token_id=m.bos,
        eos_token_id=[i for i in dict.fromkeys((m.eos, m.eot)) if i is not None],
        pad_token_id=m.pad,
    )


def to_config(c: LlamaConfig) -> dict[str, Any]:
    """GGUF is not written. Raises UsageError."""
    raise UsageError("zoo reads GGUF and does not write it", hint="write hf, and convert that with llama.cpp")


def mapping(c: LlamaConfig) -> Table:
    # Without a stretched model.rope these divisors of its frequencies have a meaning that was missed.
    is_used = c.rope.scaling in ("llama3", "longrope")
    return Table(
        rename("embed", "token_embd"),
        under(
            "layers.{i}", "blk.{i}",
            rename("attn_norm", "attn_norm"),
            rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
            rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
            rename("attn.v_proj", "attn_v"),
            rename("attn.o_proj", "attn_output"),
            rename("mlp_norm", "ffn_norm"),
            rename("mlp.gate_proj", "ffn_gate"),
            rename("mlp.up_proj", "ffn_up"),
            rename("mlp.down_proj", "ffn_down"),
        ),
        rename("norm", "output_norm"),
        [] if c.tie_embeddings else [rename("lm_head", "output")],
        [ignore("rope_freqs.weight", "its divisors are part of model.rope")] if is_used else [],
    )  # fmt: skip


def _rope(hf: ForeignConfig, m: Metadata, head_dim: int, max_seq_len: int) -> RopeConfig:
    if info := hf.tensors.get("rope_freqs.weight"):
        if m.factor != 1.0:
            raise CheckpointError(info.file, info.name, f"stands beside a rope.scaling.factor of {m.factor}")
        return _divided(m.theta, _divisors(info, head_dim // 2), head_dim, max_seq_len)
    if m.scaling == "none" or (m.scaling == "linear" and m.factor == 1.0):
        return RopeConfig(m.theta)
    if m.scaling == "linear":
        return RopeConfig(m.theta, m.scaling, m.factor)
    return RopeConfig(m.theta, m.scaling, m.factor, m.original, beta_fast=m.beta_fast, beta_slow=m.beta_slow)


def _divided(theta: float, divisors: list[float], head_dim: int, max_seq_len: int) -> RopeConfig:
    """Frequencies divided one by one: Llama 3.1's bands where it is these, else as LongRoPE spells such divisors."""
    released = RopeConfig(theta, "llama3", max(divisors), 8192)
    plain, banded = (frequencies(head_dim, rope, max_seq_len) for rope in (RopeConfig(theta), released))
    if all(abs(f / d - b) < 1e-5 * b for f, d, b in zip(plain, divisors, banded, strict=True)):
        return released
    return RopeConfig(theta, "longrope", short_factor=divisors, long_factor=divisors, attention_factor=1.0)


def _divisors(info: TensorInfo, count: int) -> list[float]:
    """The few numbers of rope_freqs.weight, which are settings kept as a tensor."""
    if (info.dtype, info.shape) != ("float32", (count,)) or info.offset is None:
        raise CheckpointError(info.file, info.name, f"{info.dtype} {list(info.shape)} is not {count} float32 divisors")
    with info.file.open("rb") as file:
        file.seek(info.offset)
        divisors = list(struct.unpack(f"<{count}f", file.read(info.nbytes)))
    if not all(0 < d < math.inf for d in divisors):
        raise CheckpointError(info.file, info.name, "holds a divisor that is not a number above 0")
    return divisors


def _vocab_size(hf: ForeignConfig) -> int | None:
    info = hf.tensors.get("token_embd.weight")
    return info.shape[0] if info and info.shape else None


def _dtype(hf: ForeignConfig) -> str:
    """That of the largest tensor; quantised ones are read as float32."""
    largest = max(hf.tensors.values(), key=lambda info: info.numel, default=None)
    return largest.dtype if largest and largest.dtype.startswith(("float", "bfloat")) else "float32"
