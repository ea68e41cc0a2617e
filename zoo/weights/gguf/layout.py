"""What llama.cpp's files of most decoders have in common: metadata named after the architecture, and tensor names.

Every table here is read both ways. Where llama.cpp computes one thing only and no key says it, `must_be` refuses to
write another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from zoo.anatomy.config import DecoderConfig, ModelConfig
from zoo.errors import UsageError
from zoo.weights.dialect import Match
from zoo.weights.entries import Entry, ignore, rename, under
from zoo.weights.foreign.config import ForeignConfig, Key, key, must_be, write_keys
from zoo.weights.gguf.rope import DIVISORS, divisors_of, is_divided, read_rope, write_rope
from zoo.weights.table import Table

__all__ = [
    "ENDS", "LAYER_NORM", "MLP", "WHERE", "by_architecture", "decoder_keys", "decoder_table", "fixed", "norm_eps",
    "read_decoder", "read_rest", "read_size", "refuse_wide", "refuse_window", "write_decoder", "write_rest",
]  # fmt: skip

# Who made the file and how, its tokenizer, and notes that quantising leaves.
INERT = ("general.", "tokenizer.", "quantize.", "split.", "imatrix.", "zoo.")
WHERE = "a GGUF file"
ENDS = ("eos", "eot", "eom")  # of a text, of a turn of a chat, of a message within one
RMS, LAYER_NORM = "layer_norm_rms_epsilon", "layer_norm_epsilon"
MLP = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}


def decoder_keys(arch: str, *, eps: str = RMS) -> tuple[Key, ...]:
    """Where the sizes stand."""
    return (
        key("hidden_size", f"{arch}.embedding_length"),
        key("intermediate_size", f"{arch}.feed_forward_length"),
        key("num_layers", f"{arch}.block_count"),
        key("num_heads", f"{arch}.attention.head_count"),
        key("num_kv_heads", f"{arch}.attention.head_count_kv", default=lambda c: c["num_heads"]),
        key("head_dim", f"{arch}.attention.key_length", default=lambda c: c["hidden_size"] // max(c["num_heads"], 1)),
        key("max_seq_len", f"{arch}.context_length"),
        key("norm_eps", f"{arch}.attention.{eps}"),
    )


def fixed(arch: str) -> dict[str, Any]:
    """What llama.cpp takes where a key is absent, and zoo supports alone."""
    scaling = f"{arch}.rope.scaling"
    return {
        "general.type": "model",
        f"{arch}.expert_count": 0,
        f"{arch}.expert_used_count": 0,
        f"{arch}.expert_group_count": 0,
        f"{arch}.expert_group_used_count": 0,
        f"{arch}.attention.causal": True,
        f"{scaling}.attn_factor": 1.0,
        f"{scaling}.yarn_ext_factor": 1.0,
        f"{scaling}.yarn_attn_factor": 1.0,
    }


@dataclass
class SpecialIds(ModelConfig):
    """The special tokens that a model's config has too."""

    bos: int | None = None  # begins a text
    eos: int | None = None  # ends a text
    eot: int | None = None  # ends a turn of a chat
    eom: int | None = None  # ends a message within one
    pad: int | None = None  # fills a batch up


def _special_keys() -> list[Key]:
    named = {"pad": "padding"}
    return [key(n, f"tokenizer.ggml.{named.get(n, n)}_token_id") for n in ("bos", *ENDS, "pad")]


def read_decoder(
    hf: ForeignConfig, arch: str, config: type[Any], *more: Key, has_partial: bool = False, eps: str = RMS, **only: Any
) -> dict[str, Any]:
    """The fields of DecoderConfig and those of the keys `more`; `only` are other keys of `arch` and their sole value.

    `has_partial`: of a head, rope.dimension_count channels rotate and not all. `eps` is the key of the norms' epsilon.
    """
    keys = (*decoder_keys(arch, eps=eps), *more, key("vocab_size", f"{arch}.vocab_size", default=read_size(hf)))
    c = hf.read(config, keys)
    dim, count = c["head_dim"], f"{arch}.rope.dimension_count"
    rotary = hf.as_type(int, hf.get(count, dim) if has_partial else dim, count)
    hf.assumed.pop(count, None)
    read = {k.theirs for k in more}
    known = {name: value for name, value in fixed(arch).items() if name not in read}
    known |= {count: rotary, f"{arch}.attention.value_length": dim}
    known |= {n if n.startswith(f"{arch}.") else f"{arch}.{n}": value for n, value in only.items()}
    rope = read_rope(hf, arch, rotary, c["max_seq_len"], **({"partial": rotary / max(dim, 1)} if has_partial else {}))
    return c | read_rest(hf, arch, **known) | {"norm_eps": norm_eps(c), "rope": rope}


def read_rest(hf: ForeignConfig, arch: str, **known: Any) -> dict[str, Any]:
    """What every model has besides its sizes; refuses other values of the keys `known`, and passes what is inert."""
    hf.require(**{name: value for name, value in known.items() if name in hf})
    m = SpecialIds(**hf.read(SpecialIds, [k for k in _special_keys() if k.theirs in hf]))
    inert = (*INERT, f"{arch}.rope.scaling.finetuned")
    hf.ignore(*(name for name in hf.raw if name.startswith(inert) and name not in hf.used))
    return {
        "tie_embeddings": bool(hf.tensors) and "output.weight" not in hf.tensors,
        "dtype": _dtype(hf),
        "bos_token_id": m.bos,
        "eos_token_id": [i for i in dict.fromkeys((m.eos, m.eot, m.eom)) if i is not None],
        "pad_token_id": m.pad,
    }


def write_decoder(
    c: DecoderConfig,
    arch: str,
    *more: Key,
    has_partial: bool = False,
    has_divisors: bool = False,
    eps: str = RMS,
    **only: Any,
) -> dict[str, Any]:
    """The metadata of `read_decoder`; `has_divisors` as in `rope.write_rope`."""
    if c.rope.partial != 1 and not has_partial:
        raise UsageError(f"{WHERE} of {arch} cannot store model.rope.partial={c.rope.partial}: all channels rotate")
    return {
        **write_rest(c, arch),
        **write_keys(c, (*decoder_keys(arch, eps=eps), *more, key("vocab_size", f"{arch}.vocab_size"))),
        f"{arch}.attention.value_length": c.head_dim,
        f"{arch}.rope.dimension_count": int(c.head_dim * c.rope.partial),
        **write_rope(c.rope, arch, has_divisors=has_divisors),
        **{f"{arch}.{name}": value for name, value in only.items()},
    }


def refuse_wide(c: DecoderConfig, arch: str) -> None:
    """Raise UsageError for heads that are not hidden_size together, where llama.cpp takes it that they are."""
    must_be(c, f"{WHERE} of {arch}", head_dim=c.hidden_size // c.num_heads)


def refuse_window(c: Any, whose: str) -> None:
    """Raise UsageError for a window that the context is longer than, where llama.cpp computes none."""
    if c.sliding_window is not None and c.sliding_window < c.max_seq_len:
        what = f"{WHERE} cannot store model.sliding_window={c.sliding_window}: llama.cpp computes none for {whose}"
        hint = f"shorten the context, in which all is the same: model.max_seq_len={c.sliding_window}"
        raise UsageError(what, hint=hint)


def write_rest(c: ModelConfig, arch: str) -> dict[str, Any]:
    """The architecture and special tokens. Raises UsageError for more ends of a text than there are keys."""
    if len(c.eos_token_id) > len(ENDS):
        what = f"{WHERE} has room for {len(ENDS)} of the {len(c.eos_token_id)} tokens in model.eos_token_id"
        raise UsageError(what, hint="say which of them: model.eos_token_id=[...]")
    ids = {"bos": c.bos_token_id, "pad": c.pad_token_id} | dict(zip(ENDS, c.eos_token_id, strict=False))
    special = {k.theirs: ids[k.ours] for k in _special_keys() if ids.get(k.ours) is not None}
    return {"general.architecture": arch, "general.type": "model", **special}


def norm_eps(c: Mapping[str, Any]) -> float:
    """The decimal that a float32 was meant to be."""
    return float(f"{c['norm_eps']:.7g}")


def by_architecture(*archs: str, has_experts: bool | None = None) -> Callable[[Mapping[str, Any]], Match | None]:
    """Whether a file's metadata names one of these architectures; where asked, with experts or without."""

    def matches(raw: Mapping[str, Any]) -> Match | None:
        arch = raw.get("general.architecture")
        if arch not in archs or has_experts not in (None, bool(raw.get(f"{arch}.expert_count"))):
            return None
        return Match(1.0, (f"general.architecture is {arch!r}",))

    return matches


def decoder_table(
    c: DecoderConfig,
    *layer: Entry,
    norms: Sequence[Entry] = (rename("attn_norm", "attn_norm"), rename("mlp_norm", "ffn_norm")),
    norm: Entry = rename("norm", "output_norm"),  # noqa: B008  (a constant)
) -> Table:
    """The tensors' names; `layer` are rules that come first, as for q and k, whose rows some architectures reorder."""
    pairs = int(c.head_dim * c.rope.partial)
    witness = partial(_divisors_of, c, pairs)
    return Table(
        rename("embed", "token_embd"),
        under(
            "layers.{i}", "blk.{i}",
            *layer,
            *norms,
            *(rename(f"attn.{x}_proj", f"attn_{x}") for x in "qkv"),
            rename("attn.o_proj", "attn_output"),
            *(rename(f"mlp.{ours}", theirs) for ours, theirs in MLP.items()),
        ),
        norm,
        [] if c.tie_embeddings else [rename("lm_head", "output")],
        # Without a stretched model.rope these divisors of its frequencies have a meaning that was missed.
        [ignore(DIVISORS, "its divisors are part of model.rope", witness=witness)] if is_divided(c.rope) else [],
    )  # fmt: skip


def read_size(hf: ForeignConfig) -> int | None:
    """Rows of the embedding, for files that do not name them."""
    info = hf.tensors.get("token_embd.weight")
    return info.shape[0] if info and info.shape else None


def _divisors_of(c: DecoderConfig, head_dim: int) -> list[list[float]]:
    return [divisors_of(c.rope, head_dim, c.max_seq_len)]


def _dtype(hf: ForeignConfig) -> str:
    """That of the largest tensor; quantised ones are read as float32."""
    largest = max(hf.tensors.values(), key=lambda info: info.numel, default=None)
    return largest.dtype if largest and largest.dtype.startswith(("float", "bfloat")) else "float32"
