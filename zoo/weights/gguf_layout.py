"""What llama.cpp's files of most decoders have in common: metadata named after the architecture, and tensor names."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.anatomy.config import DecoderConfig, ModelConfig, RopeConfig, one_of
from zoo.anatomy.frequencies import frequencies
from zoo.errors import CheckpointError
from zoo.files.tensor_info import TensorInfo
from zoo.weights.dialect import Match
from zoo.weights.entries import Entry, ignore, rename, under
from zoo.weights.foreign.config import ForeignConfig, Key, key
from zoo.weights.table import Table

__all__ = ["by_architecture", "decoder_table", "read_decoder"]

# Who made the file and how, its tokenizer, and notes that quantising leaves.
INERT = ("general.", "tokenizer.", "quantize.", "split.", "imatrix.")


def decoder_keys(arch: str) -> tuple[Key, ...]:
    """Where the sizes stand."""
    return (
        key("hidden_size", f"{arch}.embedding_length"),
        key("intermediate_size", f"{arch}.feed_forward_length"),
        key("num_layers", f"{arch}.block_count"),
        key("num_heads", f"{arch}.attention.head_count"),
        key("num_kv_heads", f"{arch}.attention.head_count_kv", default=lambda c: c["num_heads"]),
        key("head_dim", f"{arch}.attention.key_length", default=lambda c: c["hidden_size"] // max(c["num_heads"], 1)),
        key("max_seq_len", f"{arch}.context_length"),
        key("norm_eps", f"{arch}.attention.layer_norm_rms_epsilon"),
    )


def more_keys(arch: str) -> tuple[Key, ...]:
    """Where the rest stands."""
    scaling = f"{arch}.rope.scaling"
    return (
        key("theta", f"{arch}.rope.freq_base"),
        key("scaling", f"{scaling}.type"),
        key("factor", f"{scaling}.factor", also=(f"{arch}.rope.scale_linear",)),
        key("original", f"{scaling}.original_context_length"),
        key("beta_fast", f"{scaling}.yarn_beta_fast"),
        key("beta_slow", f"{scaling}.yarn_beta_slow"),
        key("bos", "tokenizer.ggml.bos_token_id"),
        key("eos", "tokenizer.ggml.eos_token_id"),
        key("eot", "tokenizer.ggml.eot_token_id"),
        key("pad", "tokenizer.ggml.padding_token_id"),
    )


def fixed(arch: str) -> dict[str, Any]:
    """What llama.cpp takes where a key is absent, and zoo supports alone."""
    scaling = f"{arch}.rope.scaling"
    return {
        "general.type": "model",
        f"{arch}.expert_count": 0,
        f"{arch}.expert_used_count": 0,
        f"{arch}.attention.causal": True,
        f"{scaling}.attn_factor": 1.0,
        f"{scaling}.yarn_ext_factor": 1.0,
        f"{scaling}.yarn_attn_factor": 1.0,
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


def read_decoder(hf: ForeignConfig, arch: str, config: type[DecoderConfig], **only: Any) -> dict[str, Any]:
    """The fields of DecoderConfig; `only` are further keys of `arch` and their only supported values."""
    c = hf.read(config, (*decoder_keys(arch), key("vocab_size", f"{arch}.vocab_size", default=_vocab_size(hf))))
    m = Metadata(**hf.read(Metadata, [k for k in more_keys(arch) if any(n in hf for n in (k.theirs, *k.also))]))
    one_of(f"{arch}.rope.scaling.type", m.scaling, ("none", "linear", "yarn"))
    widths = dict.fromkeys((f"{arch}.rope.dimension_count", f"{arch}.attention.value_length"), c["head_dim"])
    known = fixed(arch) | widths | {f"{arch}.{name}": value for name, value in only.items()}
    hf.require(**{name: value for name, value in known.items() if name in hf})
    inert = (*INERT, f"{arch}.rope.scaling.finetuned")
    hf.ignore(*(name for name in hf.raw if name.startswith(inert) and name not in hf.used))
    return c | {
        "norm_eps": float(f"{c['norm_eps']:.7g}"),  # the decimal that a float32 was meant to be
        "tie_embeddings": bool(hf.tensors) and "output.weight" not in hf.tensors,
        "rope": _rope(hf, m, c["head_dim"], c["max_seq_len"]),
        "dtype": _dtype(hf),
        "bos_token_id": m.bos,
        "eos_token_id": [i for i in dict.fromkeys((m.eos, m.eot)) if i is not None],
        "pad_token_id": m.pad,
    }


def by_architecture(arch: str) -> Callable[[Mapping[str, Any]], Match | None]:
    """Whether a file's metadata names this architecture."""

    def matches(raw: Mapping[str, Any]) -> Match | None:
        is_it = raw.get("general.architecture") == arch
        return Match(1.0, (f"general.architecture is {arch!r}",)) if is_it else None

    return matches


def decoder_table(c: DecoderConfig, *attention: Entry) -> Table:
    """The tensors' names; `attention` are the rules for q and k, whose rows some architectures reorder."""
    # Without a stretched model.rope these divisors of its frequencies have a meaning that was missed.
    is_used = c.rope.scaling in ("llama3", "longrope")
    return Table(
        rename("embed", "token_embd"),
        under(
            "layers.{i}", "blk.{i}",
            *attention,
            rename("attn_norm", "attn_norm"),
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
            raise CheckpointError(info.file, info.name, f"is given together with a rope.scaling.factor of {m.factor}")
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
