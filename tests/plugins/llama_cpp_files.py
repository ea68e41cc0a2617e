"""GGUF files of a zoo LLaMA's or Qwen's weights, laid out as llama.cpp's convert_hf_to_gguf.py does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from torch import nn

NAMES = {
    "embed": "token_embd", "norm": "output_norm", "lm_head": "output", "attn_norm": "attn_norm", "mlp_norm": "ffn_norm",
    "attn.q_proj": "attn_q", "attn.k_proj": "attn_k", "attn.v_proj": "attn_v", "attn.o_proj": "attn_output",
    "attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def permuted(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """`LlamaModel.permute` of convert_hf_to_gguf.py: the two halves of each head's rows become neighbours."""
    half = rows.shape[0] // num_heads // 2
    return rows.reshape(num_heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def llama3_divisors(head_dim: int, theta: float, factor: float, original: int = 8192) -> np.ndarray:
    """What convert_hf_to_gguf.py writes to rope_freqs.weight for Llama 3.1 and later."""
    out = []
    for freq in 1.0 / (theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)):
        wavelen = 2 * np.pi / freq
        if wavelen < original / 4.0:
            out.append(1.0)
        elif wavelen > original / 1.0:
            out.append(factor)
        else:
            smooth = (original / wavelen - 1.0) / (4.0 - 1.0)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, np.float32)


def write(
    path: Path,
    model: nn.Module,
    *,
    arch: str = "llama",
    quantised: gguf.GGMLQuantizationType | None = None,
    divisors: np.ndarray | None = None,
    **metadata: Any,
) -> Path:
    """A file of float32 weights, matrices `quantised` if asked; `metadata` with __ for dots replaces or adds keys."""
    c = model.config
    writer = gguf.GGUFWriter(path, arch)
    keys: dict[str, Any] = {
        f"{arch}.block_count": c.num_layers, f"{arch}.context_length": c.max_seq_len,
        f"{arch}.embedding_length": c.hidden_size, f"{arch}.feed_forward_length": c.intermediate_size,
        f"{arch}.attention.head_count": c.num_heads, f"{arch}.attention.head_count_kv": c.num_kv_heads,
        f"{arch}.attention.key_length": c.head_dim, f"{arch}.attention.value_length": c.head_dim,
        f"{arch}.rope.dimension_count": c.head_dim, f"{arch}.rope.freq_base": float(c.rope.theta),
        f"{arch}.attention.layer_norm_rms_epsilon": float(c.norm_eps),
        "general.name": "a test", "general.type": "model",
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": [f"t{i}" for i in range(c.vocab_size)],
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.eot_token_id": 3,
    } | {name.replace("__", "."): value for name, value in metadata.items()}  # fmt: skip
    adders = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, bool: writer.add_bool}
    for name, value in keys.items():
        adders.get(type(value), writer.add_array)(name, value)
    for name, parameter in model.named_parameters():
        data = parameter.detach().float().numpy()
        stem, _, kind = name.rpartition(".")
        layer, _, inner = stem.removeprefix("layers.").partition(".") if stem.startswith("layers.") else ("", "", stem)
        if arch == "llama" and inner in ("attn.q_proj", "attn.k_proj"):
            data = permuted(data, c.num_heads if inner == "attn.q_proj" else c.num_kv_heads)
        their = f"blk.{layer}.{NAMES[inner]}.{kind}" if layer else f"{NAMES[inner]}.{kind}"
        if quantised is not None and data.ndim == 2:
            writer.add_tensor(their, gguf.quants.quantize(data, quantised), raw_dtype=quantised)
        else:
            writer.add_tensor(their, np.ascontiguousarray(data))
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", divisors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
