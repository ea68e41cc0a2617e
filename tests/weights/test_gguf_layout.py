"""What llama.cpp's metadata says key by key: absent, at the value that llama.cpp takes, and at another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.errors import ZooError
from zoo.files.tensor_info import TensorInfo
from zoo.registry import installed
from zoo.weights import ForeignConfig

ARCHITECTURES = ("llama", "qwen2", "qwen3")
SCALING = "rope.scaling"


def metadata(arch: str, **more: Any) -> dict[str, Any]:
    """What a file has; `more`, with __ for dots, replaces keys of the architecture, and None removes them."""
    sizes = {
        "vocab_size": 50, "embedding_length": 24, "feed_forward_length": 40, "block_count": 2, "context_length": 99,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 10,
        "attention.layer_norm_rms_epsilon": 3e-5, "rope.freq_base": 5000.0,
    }  # fmt: skip
    values = sizes | {key.replace("__", "."): value for key, value in more.items()}
    return {"general.architecture": arch} | {f"{arch}.{k}": v for k, v in values.items() if v is not None}


def read(arch: str, tensors: dict[str, TensorInfo] | None = None, **more: Any) -> Any:
    """The config of such a file, every key accounted for."""
    keys = ForeignConfig(metadata(arch, **more), "m.gguf", tensors or {})
    config = installed()[arch].dialect("gguf").from_config(keys)
    keys.check()
    return config


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_sizes_are_read(arch: str) -> None:
    c = read(arch)
    assert (c.vocab_size, c.hidden_size, c.intermediate_size, c.num_layers) == (50, 24, 40, 2)
    assert (c.num_heads, c.num_kv_heads, c.head_dim, c.max_seq_len) == (4, 2, 10, 99)
    assert (c.norm_eps, c.rope, c.tie_embeddings) == (3e-5, RopeConfig(5000.0), False)
    assert (c.bos_token_id, c.eos_token_id, c.pad_token_id, c.dtype) == (None, [], None, "float32")


# llama.cpp's hparams: rope_freq_base_train 10000, n_head_kv = n_head, n_embd_head_k = n_embd / n_head
@pytest.mark.parametrize(
    ("key", "field", "value"),
    [("rope.freq_base", "rope", RopeConfig(10_000.0)), ("attention.head_count_kv", "num_kv_heads", 4),
     ("attention.key_length", "head_dim", 6)],
)  # fmt: skip
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_absent_key_means_what_llama_cpp_takes(arch: str, key: str, field: str, value: Any) -> None:
    assert read(arch, **{key: None}) == replace(read(arch), **{field: value})


@pytest.mark.parametrize(
    "key",
    ["embedding_length", "feed_forward_length", "block_count", "context_length", "attention.head_count",
     "attention.layer_norm_rms_epsilon"],
)  # fmt: skip
def test_a_size_that_is_absent_is_missed_by_name(key: str) -> None:
    with pytest.raises(ZooError, match=rf"llama\.{key}: the key is missing"):
        read("llama", **{key: None})


@pytest.mark.parametrize(
    ("key", "fixed", "other"),
    [
        ("expert_count", 0, 8), ("expert_used_count", 0, 2), ("attention.causal", True, False),
        (f"{SCALING}.attn_factor", 1.0, 1.1), (f"{SCALING}.yarn_ext_factor", 1.0, 0.5),
        (f"{SCALING}.yarn_attn_factor", 1.0, 0.5), ("rope.dimension_count", 10, 8), ("attention.value_length", 10, 8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_key_of_one_supported_value_is_accepted_with_it_and_refused_with_another(
    arch: str, key: str, fixed: Any, other: Any
) -> None:
    assert read(arch, **{key: fixed}) == read(arch)
    with pytest.raises(ZooError, match=key.replace(".", r"\.")):
        read(arch, **{key: other})


@pytest.mark.parametrize(
    ("more", "rope"),
    [
        ({f"{SCALING}.type": "none", f"{SCALING}.factor": 4.0}, RopeConfig(5000.0)),
        ({f"{SCALING}.type": "linear", f"{SCALING}.factor": 1.0}, RopeConfig(5000.0)),
        ({f"{SCALING}.factor": 4.0}, RopeConfig(5000.0, "linear", 4.0)),
        ({"rope.scale_linear": 4.0}, RopeConfig(5000.0, "linear", 4.0)),
        ({f"{SCALING}.finetuned": True}, RopeConfig(5000.0)),
        (
            {f"{SCALING}.type": "yarn", f"{SCALING}.factor": 4.0, f"{SCALING}.original_context_length": 33,
             f"{SCALING}.yarn_beta_fast": 9.0, f"{SCALING}.yarn_beta_slow": 0.5},
            RopeConfig(5000.0, "yarn", 4.0, 33, beta_fast=9.0, beta_slow=0.5),
        ),
        (
            {f"{SCALING}.type": "yarn", f"{SCALING}.factor": 4.0},
            RopeConfig(5000.0, "yarn", 4.0, None, beta_fast=32.0, beta_slow=1.0),
        ),
    ],
)  # fmt: skip
def test_rotary_scalings_are_read(more: dict[str, Any], rope: RopeConfig) -> None:
    assert read("llama", **more).rope == rope


def test_a_scaling_of_another_kind_is_refused() -> None:
    with pytest.raises(ZooError, match="not one of none, linear, yarn"):
        read("llama", **{f"{SCALING}.type": "longrope"})


def test_special_tokens_are_read_and_an_end_named_twice_is_one() -> None:
    def tokens(**ids: int) -> ModelConfig:
        raw = metadata("llama") | {f"tokenizer.ggml.{name}_token_id": value for name, value in ids.items()}
        return installed()["llama"].dialect("gguf").from_config(ForeignConfig(raw, "m.gguf"))

    c = tokens(bos=5, eos=6, eot=7, padding=8)
    assert (c.bos_token_id, c.eos_token_id, c.pad_token_id) == (5, [6, 7], 8)
    assert tokens(eos=6, eot=6).eos_token_id == [6]
    assert tokens(eot=0).eos_token_id == [0]


def info(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorInfo:
    return TensorInfo(name, dtype, shape, Path("m.gguf"), 0, 0)


def test_the_vocabulary_the_head_and_the_dtype_are_told_by_the_tensors() -> None:
    tensors = {"token_embd.weight": info("token_embd.weight", (70, 24), "float16")}
    tied = read("llama", tensors, vocab_size=None)
    assert (tied.vocab_size, tied.tie_embeddings, tied.dtype) == (70, True, "float16")
    tensors["output.weight"] = info("output.weight", (70, 24), "q8_0")
    tensors["output_norm.weight"] = info("output_norm.weight", (24,))
    assert not read("llama", tensors).tie_embeddings
    tensors["token_embd.weight"] = info("token_embd.weight", (71, 24), "q8_0")
    assert read("llama", tensors).dtype == "float32"


def test_biases_are_told_by_the_first_layers_tensors() -> None:
    assert not read("llama").attention_bias
    assert read("llama", {"blk.0.attn_q.bias": info("blk.0.attn_q.bias", (40,))}).attention_bias
    assert read("llama", {"blk.0.ffn_up.bias": info("blk.0.ffn_up.bias", (40,))}).mlp_bias


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_read_is_written_again(arch: str) -> None:
    c = read(arch, attention__key_length=6, **{f"{SCALING}.type": "yarn", f"{SCALING}.factor": 4.0})
    raw = installed()[arch].dialect("gguf").to_config(c)
    keys = ForeignConfig(raw, "m.gguf")
    assert installed()[arch].dialect("gguf").from_config(keys) == c
    keys.check()
