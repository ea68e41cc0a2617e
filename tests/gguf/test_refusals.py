"""What files of the newer architectures may not say, and what of their models llama.cpp does not compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.some import one_in
from zoo.anatomy.config import RopeConfig
from zoo.errors import UsageError, ZooError
from zoo.files.gguf.writer import write_gguf
from zoo.files.gguf_file import read_gguf_header, read_gguf_metadata

pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.gguf.models import CASES, ENCODERS, built
from zoo.registry import installed


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    one_in(3, [
        ("gpt_oss", {"swiglu_limit": 6.0}, "model.swiglu_limit=6.0"),
        ("gpt_oss", {"swiglu_alpha": 1.5}, "model.swiglu_alpha=1.5"),
        ("gpt_oss", {"sliding_layers": [1]}, r"model.sliding_layers=\[1\]"),
        ("gpt_oss", {"sliding_window": None}, "model.sliding_window=None"),
        ("gpt_oss", {"attention_bias": False}, "attention_bias"),
        ("gpt_oss", {"tie_embeddings": True}, "tie_embeddings"),
        ("gpt_oss", {"rope": RopeConfig(scaling="yarn", factor=4.0, original_max_seq_len=16)}, "truncate=True"),
        ("gemma3n", {"num_streams": 3}, "num_streams=3"),
        ("gemma3n", {"final_softcap": 15.0}, "final_softcap"),
        ("gemma3n", {"sparsity": [0.0] * 11}, "sparsity"),
        ("gemma3n", {"sharing_from": 6}, "sharing_from=6"),
        ("gemma3n", {"global_layers": [0, 10]}, "global_layers"),
        ("gemma4", {"sharing_from": 3, "num_layers": 5, "global_layers": [0, 4]}, "layer 3 takes keys from layer 1"),
        ("qwen3_5", {"attention_layers": [0, 3]}, r"attention_layers=\[0, 3\]"),
        ("qwen3_5", {"delta": {"value_dim": 16}}, "value_dim=16"),
        ("qwen3_5", {"attention_bias": True}, "attention_bias"),
        ("qwen3_5", {"num_mtp_layers": 1}, "num_mtp_layers=1"),
        ("qwen3_next", {"is_renormalised": False}, "is_renormalised"),
        ("gpt_neox", {"activation": "gelu_tanh"}, "activation='gelu_tanh'"),
        ("gpt_neox", {"attention_bias": False}, "attention_bias"),
        ("falcon", {"has_alibi": True}, "has_alibi"),
        ("falcon", {"is_parallel": False}, "is_parallel"),
        ("falcon", {"has_bias": True}, "has_bias"),
        ("baichuan", {"has_normed_head": True}, "has_normed_head"),
        ("baichuan", {"num_layers": 31}, "num_layers=31 with model.has_alibi=False"),
        ("baichuan", {"has_alibi": True}, "num_layers=32 with model.has_alibi=True"),
        ("olmo3", {"sliding_layers": [0, 1]}, "sliding_layers"),
        ("olmo3", {"local_rope": RopeConfig(1000.0)}, "local_rope"),
        ("exaone4 32b", {"sliding_layers": [0]}, "sliding_layers"),
        ("exaone4 32b", {"num_layers": 60, "sliding_layers": [0]}, "sliding_window=4"),
        ("internlm3", {"has_bias": False}, "has_bias"),
        ("qwen", {"trained_seq_len": 32, "has_logn": True}, "beyond model.trained_seq_len=32"),
        ("qwen", {"linear_bias": True}, "linear_bias"),
        ("modernbert", {"head": "masked_lm"}, "head='masked_lm'"),
        ("modernbert", {"activation": "relu"}, "activation='relu'"),
        ("modernbert", {"norm_bias": True}, "norm_bias"),
        ("modernbert", {"local_rope": RopeConfig(scaling="linear", factor=2.0)}, "local_rope"),
    ]),
)  # fmt: skip
def test_what_llama_cpp_does_not_compute_is_refused(case: str, changes: dict[str, Any], message: str) -> None:
    family = installed()[(CASES | ENCODERS)[case][0]]
    config = built(case).config
    changes = {n: replace(getattr(config, n), **v) if isinstance(v, dict) else v for n, v in changes.items()}
    with pytest.raises(UsageError, match=message):
        family.dialect("gguf").to_config(replace(config, **changes))


def rewritten(tmp_path: Path, case: str, keys: dict[str, Any], tensors: dict[str, Any] | None = None) -> Path:
    """The file of a case with other keys, None for those left out, and other tensors, None likewise."""
    file = zoo.save(built(case), tmp_path / "m.gguf", format="gguf")
    header, raw = read_gguf_header(file), read_gguf_metadata(file) | keys
    opened = zoo.inspect(file).checkpoint.open()
    held = {name: opened[name].float() for name in header.tensors} | (tensors or {})
    held = {name: t for name, t in held.items() if t is not None}
    bad = tmp_path / "bad.gguf"
    metadata = {name: value for name, value in raw.items() if value is not None}
    write_gguf(bad, metadata, {name: ("F32", tuple(t.shape)) for name, t in held.items()}, held.items())
    return bad


ABSENT = {
    "gpt_oss": "gpt-oss.attention.sliding_window", "gemma3n": "gemma3n.attention.sliding_window",
    "gemma4": "gemma4.attention.sliding_window_pattern", "qwen3_5": "qwen35.rope.dimension_sections",
    "qwen3_next": "qwen3next.ssm.group_count", "gpt_neox": "gptneox.use_parallel_residual",
    "minicpm": "minicpm.residual_scale", "modernbert": "modern-bert.attention.head_count",
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "keys"),
    one_in(3, [
        *((case, {name: None}) for case, name in ABSENT.items()),
        ("gpt_oss", {"gpt-oss.attention.sliding_window_pattern": 3}),
        ("gpt_oss", {"gpt-oss.expert_feed_forward_length": 32}),
        ("gpt_oss", {"gpt-oss.expert_used_count": 9}),
        ("gpt_oss", {"gpt-oss.swiglu_clamp_exp": 7.0}),
        ("gemma3n", {"gemma3n.altup.num_inputs": 3}),
        ("gemma3n", {"gemma3n.attention.shared_kv_layers": 2}),
        ("gemma3n", {"gemma3n.activation_sparsity_scale": [0.5] * 11}),
        ("gemma3n", {"gemma3n.feed_forward_length": [96] * 10 + [64]}),
        ("gemma3n", {"gemma3n.attention.sliding_window_pattern": [True] * 11}),
        ("gemma3n", {"gemma3n.final_logit_softcapping": 20.0}),
        ("gemma4", {"gemma4.attention.sliding_window_pattern": [True, False, True]}),
        ("gemma4", {"gemma4.attention.sliding_window_pattern": [True, False, False, True]}),
        ("gemma4", {"gemma4.attention.head_count_kv": [2, 1, 1, 1]}),
        ("gemma4", {"gemma4.feed_forward_length": [96, 96, 96, 192]}),
        ("gemma4", {"gemma4.attention.shared_kv_layers": 4}),
        ("gemma4", {"gemma4.attention.shared_kv_layers": 1}),
        ("gemma4", {"gemma4.rope.dimension_count": 16}),
        ("gemma4", {"gemma4.embedding_length_per_layer_input": 32}),
        ("gemma4", {"gemma4.rope.scaling.factor": 2.0}),
        ("qwen3_5", {"qwen35.rope.dimension_sections": [1, 1, 1, 0]}),
        ("qwen3_5", {"qwen35.ssm.inner_size": 64}),
        ("qwen3_5", {"qwen35.ssm.group_count": 3}),
        ("qwen3_5", {"qwen35.full_attention_interval": 2}),
        ("qwen3_5", {"qwen35.full_attention_interval": 0}),
        ("qwen3_5", {"qwen35.nextn_predict_layers": 1}),
        ("qwen3_5", {"qwen35.block_count": 3}),
        ("qwen3_5", {"qwen35.attention.recurrent_layers": [True] * 4}),
        ("baichuan", {"baichuan.block_count": 40}),
        ("baichuan", {"baichuan.block_count": 30}),
        ("minicpm", {"minicpm.logit_scale": 1.9}),
        ("minicpm", {"minicpm.logit_scale": 0.0}),
        ("minicpm", {"minicpm.block_count": -1}),
        ("gpt_neox", {"gptneox.attention.key_length": 0}),
        ("qwen3_5", {"qwen35.attention.key_length": 0}),
        ("qwen", {"qwen.feed_forward_length": 97}),
        ("modernbert", {"modern-bert.hidden_activation": "relu"}),
        ("modernbert", {"modern-bert.attention.causal": True}),
        ("modernbert", {"modern-bert.rope.scaling.type": "yarn"}),
        ("phi3 long", {"phi3.rope.scaling.type": "yarn", "phi3.rope.scaling.factor": 2.0}),
        ("phi3 long", {"phi3.rope.scaling.attn_factor": -1.0}),
        ("phi3", {"phi3.rope.scaling.type": "longrope"}),
        ("phi3", {"phi3.rope.scaling.attn_factor": 1.2}),
        ("olmo3", {"olmo2.attention.sliding_window_pattern": 2}),
        ("falcon", {"falcon.tensor_data_layout": "other"}),
    ]),
    ids=str,
)  # fmt: skip
def test_other_keys_are_refused(tmp_path: Path, case: str, keys: dict[str, Any]) -> None:
    with pytest.raises(ZooError, match=r"bad\.gguf|model\."):
        zoo.load(rewritten(tmp_path, case, keys))


@pytest.mark.parametrize(
    ("case", "tensors"),
    one_in(3, [
        ("gpt_oss", {"blk.0.attn_sinks.weight": None}),
        ("gpt_oss", {"blk.1.ffn_up_exps.bias": None}),
        ("gemma4", {"rope_freqs.weight": None}),
        ("gemma4", {"rope_freqs.weight": torch.ones(15)}),
        ("gemma4", {"rope_freqs.weight": torch.arange(1.0, 17.0)}),
        ("gemma4", {"blk.1.attn_v.weight": torch.zeros(32, 64)}),
        ("qwen3_5", {"blk.0.ssm_a": torch.ones(6)}),
        ("qwen3_5", {"blk.0.ssm_a": torch.zeros(6)}),
        ("qwen3_5", {"blk.9.attn_norm.weight": torch.ones(64)}),
        ("phi3 long", {"rope_factors_long.weight": None}),
        ("phi3 long", {"rope_factors_short.weight": None}),
        ("phi3 long", {"rope_factors_long.weight": torch.ones(7)}),
        ("phi3 long", {"rope_factors_short.weight": torch.zeros(8)}),
        ("minicpm3", {"rope_factors_long.weight": torch.ones(8)}),
        ("minicpm", {"rope_factors_long.weight": torch.ones(8), "rope_factors_short.weight": torch.ones(8)}),
        ("falcon 40b", {"blk.0.attn_norm_2.weight": None}),
        ("modernbert", {"blk.0.attn_norm.weight": torch.ones(64)}),
    ]),
    ids=str,
)  # fmt: skip
def test_other_tensors_are_refused(tmp_path: Path, case: str, tensors: dict[str, Any]) -> None:
    with pytest.raises(ZooError, match=r"bad\.gguf|model\."):
        zoo.load(rewritten(tmp_path, case, {}, tensors))
