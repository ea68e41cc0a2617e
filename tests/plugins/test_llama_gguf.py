"""LLaMA from llama.cpp's files: the same logits as the model whose weights were written the way llama.cpp does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.checkpoint.interpretation import overridden
from zoo.errors import CheckpointError
from zoo.registry import installed

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.plugins import llama_cpp_files as llama_cpp  # noqa: E402  (it needs gguf)

TOKENS = torch.randint(70, (2, 30), generator=torch.Generator().manual_seed(5))
THETA = 500_000.0
SIZES = {"vocab_size": 70, "hidden_size": 64, "intermediate_size": 96, "num_layers": 2}
HEADS = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16}


def built(*overrides: str) -> nn.Module:
    """A model whose attention is peaked, so that a wrong order of rows shows."""
    config = overridden(
        installed()["llama"].config_class(**SIZES, **HEADS, max_seq_len=4096), [f"model.{o}" for o in overrides]
    )
    model = zoo.build(config, device="cpu", seed=3)
    draw = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        value = torch.randn(p.shape, generator=draw)
        p.data.copy_(1 + 0.3 * value if "norm" in name else value * 1.5 * p.shape[-1] ** -0.5)
    return model.eval()


@torch.inference_mode()
def logits(model: nn.Module) -> Tensor:
    return model.double()(TOKENS)


@pytest.mark.parametrize(
    "overrides",
    [[], ["tie_embeddings=true"], ["attention_bias=true", "mlp_bias=true"], ["num_heads=6", "head_dim=10"]],
    ids=lambda o: "-".join(o) or "plain",
)
def test_logits_are_those_of_the_weights_written(tmp_path: Path, overrides: list[str]) -> None:
    model = built(*overrides)
    loaded = zoo.load(llama_cpp.write(tmp_path / "m.gguf", model))
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.config.tie_embeddings == model.config.tie_embeddings


def test_quantised_matrices_are_read_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    model, kind = built("tie_embeddings=true"), gguf.GGMLQuantizationType.Q8_0
    path = llama_cpp.write(tmp_path / "m.gguf", model, quantised=kind)
    for p in model.parameters():
        if p.ndim == 2:
            p.data = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(p.data.numpy(), kind), kind))
    loaded = zoo.load(path)
    assert torch.equal(logits(loaded), logits(model))


def test_special_tokens_and_sizes_are_read(tmp_path: Path) -> None:
    ledger = zoo.inspect(
        llama_cpp.write(tmp_path / "m.gguf", built("max_seq_len=99"), tokenizer__ggml__padding_token_id=7)
    )
    c = ledger.config
    assert (c.bos_token_id, c.eos_token_id, c.pad_token_id) == (1, [2, 3], 7)
    assert (c.vocab_size, c.max_seq_len, c.norm_eps, c.dtype) == (70, 99, 1e-5, "float32")
    assert "tokenizer.ggml.bos_token_id" in ledger.keys.used
    assert {"general.name", "tokenizer.ggml.model"} <= ledger.keys.inert


@pytest.mark.parametrize("factor", [8.0, pytest.param(32.0, marks=pytest.mark.slow)])
def test_divisors_of_llama_3_are_recognised(tmp_path: Path, factor: float) -> None:
    rope = f"rope={{theta: {THETA}, scaling: llama3, factor: {factor}, original_max_seq_len: 8192}}"
    model = built(rope)
    divisors = llama_cpp.llama3_divisors(16, THETA, factor)
    loaded = zoo.load(llama_cpp.write(tmp_path / "m.gguf", model, divisors=divisors))
    assert loaded.config.rope == RopeConfig(THETA, "llama3", factor, 8192)
    assert loaded.ledger.account.ignored == {"rope_freqs.weight": "its divisors are part of model.rope"}
    assert torch.equal(logits(loaded), logits(model))


@pytest.mark.slow
def test_other_divisors_are_taken_as_they_are(tmp_path: Path) -> None:
    model = built(f"rope={{theta: {THETA}, scaling: llama3, factor: 4.0, original_max_seq_len: 40}}")
    divisors = llama_cpp.llama3_divisors(16, THETA, 4.0, original=40)
    loaded = zoo.load(llama_cpp.write(tmp_path / "m.gguf", model, divisors=divisors))
    assert loaded.config.rope.short_factor == divisors.tolist()
    assert (logits(loaded) - logits(model)).abs().max() < 1e-4  # the file has them in float32
    assert (logits(built(f"rope={{theta: {THETA}}}")) - logits(model)).abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "rope"),
    [
        ({}, RopeConfig()),
        ({"llama__rope__scaling__type": "none"}, RopeConfig()),
        ({"llama__rope__scale_linear": 2.0}, RopeConfig(scaling="linear", factor=2.0)),
        (
            {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0},
            RopeConfig(scaling="linear", factor=4.0),
        ),
        (
            {
                "llama__rope__scaling__type": "yarn", "llama__rope__scaling__factor": 4.0,
                "llama__rope__scaling__original_context_length": 64, "llama__rope__scaling__finetuned": True,
            },
            RopeConfig(scaling="yarn", factor=4.0, original_max_seq_len=64),
        ),
    ],
    ids=["none", "switched off", "old linear", "linear", "yarn"],
)  # fmt: skip
def test_rope_scaling_is_read(tmp_path: Path, metadata: dict[str, Any], rope: RopeConfig) -> None:
    assert zoo.inspect(llama_cpp.write(tmp_path / "m.gguf", built(), **metadata)).config.rope == rope


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"llama__expert_count": 8}, "llama.expert_used_count: the key is missing"),
        ({"llama__rope__dimension_count": 8}, "llama.rope.dimension_count: 8 is not supported, only 16 is"),
        ({"llama__rope__scaling__type": "longrope"}, "llama.rope.scaling.type='longrope' is not one of"),
        ({"llama__rope__scaling__attn_factor": 2.0}, "llama.rope.scaling.attn_factor: 2.0 is not supported"),
        ({"llama__attention__sliding_window": 9}, "llama.attention.sliding_window: the key is not known to llama"),
        ({"llama__rope__freq_base": "10000"}, "llama.rope.freq_base: .*is not float"),
        ({"general__type": "adapter"}, "general.type: 'adapter' is not supported"),
        ({"llama__vocab_size": 69}, "mismatched"),
    ],
)
def test_key_that_changes_the_model_is_refused(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    path = llama_cpp.write(tmp_path / "m.gguf", built(), **metadata)
    with pytest.raises(CheckpointError, match=message):
        zoo.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("divisors", [[1.0] * 7, [1.0] * 7 + [0.0], [1.0] * 7 + [float("nan")]])
def test_divisors_that_make_no_sense_are_refused(tmp_path: Path, divisors: list[float]) -> None:
    path = llama_cpp.write(tmp_path / "m.gguf", built(), divisors=np.array(divisors, np.float32))
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight"):
        zoo.inspect(path)
