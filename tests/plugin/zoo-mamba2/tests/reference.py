"""Tiny Mamba-2 checkpoints as transformers writes them, and what it computes from them in float64.

Weights are peaked and sizes differ, so that a swapped part or a wrong group shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 3, "num_heads": 6, "head_dim": 8, "expand": 2,
    "state_size": 5, "n_groups": 2, "conv_kernel": 4, "chunk_size": 7, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "tied": {"n_groups": 1, "tie_word_embeddings": True, "use_conv_bias": False, "conv_kernel": 2},
    "biased": {"use_bias": True, "n_groups": 3, "layer_norm_epsilon": 1e-3},
}


class Float64(TorchFunctionMode):
    """Every cast to float32 in the code that runs inside becomes one to float64."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        func = torch.Tensor.double if func is torch.Tensor.float else func
        lifted = [torch.float64 if a is torch.float32 else a for a in args]
        return func(*lifted, **{k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()})


@contextmanager
def in_float64() -> Iterator[None]:
    with Float64(), torch.inference_mode():
        yield


def write(folder: Path, **changes: Any) -> Path:
    """A checkpoint in float32."""
    config = transformers.Mamba2Config(**SIZES | changes)
    model = peaked(transformers.Mamba2ForCausalLM(config))
    model.save_pretrained(folder)
    return folder


def read(folder: Path) -> Any:
    """transformers' model of a folder, in float64."""
    return transformers.Mamba2ForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def peaked(model: nn.Module) -> nn.Module:
    """Matrices N(0, 0.9 / sqrt(fan in)), everything else off what it starts from by N(0, 0.3)."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(p + 0.3 * noise if p.ndim < 2 else 0.9 * noise / p.shape[-1] ** 0.5)
    return model


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 61, (rows, length), generator=torch.Generator().manual_seed(seed))
