"""Qwen 2 and 3 from llama.cpp's files: the same logits as the model whose weights were written as llama.cpp does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.errors import CheckpointError
from zoo.registry import installed
from zoo.testing.subject import peaked

pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.plugins import llama_cpp_files as llama_cpp

TOKENS = torch.randint(61, (2, 30), generator=torch.Generator().manual_seed(5))


def built(name: str, **changes: Any) -> nn.Module:
    """A model whose attention is peaked, so that a wrong order of rows shows."""
    tiny = installed()[name].config_class.tiny()
    config = replace(tiny, **{"sliding_window": None, "sliding_layers": None} | changes)
    return peaked(zoo.build(config, device="cpu")).eval()


@torch.inference_mode()
def logits(model: nn.Module) -> Tensor:
    return model.double()(TOKENS)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_the_weights_written(tmp_path: Path, name: str, tied: bool) -> None:
    model = built(name, tie_embeddings=tied, head_dim=10 if tied else 4)
    loaded = zoo.load(llama_cpp.write(tmp_path / "m.gguf", model, arch=name))
    assert loaded.ledger.family.name == name
    assert torch.equal(logits(loaded), logits(model))
    told = {"bos_token_id": 1, "eos_token_id": [2, 3]}
    assert loaded.config == replace(model.config, **told)


def test_stretched_positions_are_read(tmp_path: Path) -> None:
    model = built("qwen2", rope=RopeConfig(1000.0, "yarn", 4.0, 16))
    stretch = {"type": "yarn", "factor": 4.0, "original_context_length": 16}
    metadata = {f"qwen2__rope__scaling__{name}": value for name, value in stretch.items()}
    loaded = zoo.load(llama_cpp.write(tmp_path / "m.gguf", model, arch="qwen2", **metadata))
    assert torch.equal(logits(loaded), logits(model))


def test_an_architecture_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = llama_cpp.write(tmp_path / "m.gguf", built("qwen3"), arch="qwen9")
    with pytest.raises(CheckpointError, match="qwen9"):
        zoo.inspect(path)


def test_norms_that_the_metadata_does_not_promise_are_found(tmp_path: Path) -> None:
    path = llama_cpp.write(tmp_path / "m.gguf", built("qwen3"), arch="qwen2")
    with pytest.raises(CheckpointError, match=r"unexpected +blk\.\{0\.\.2\}\.attn_q_norm"):
        zoo.load(path)
