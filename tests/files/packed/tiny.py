"""A tiny llama whose matrices the owners of formats pack, and what a test asks of a packed folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.files.checkpoint import Checkpoint, open_checkpoint
from zoo.files.packed.view import parts_of

HIDDEN, FFN, HEADS, KV, VOCAB = 64, 96, 4, 2, 48
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
    "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": 16,
    "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "hidden_act": "silu",
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LAYER = "model.layers.0"
SHAPES = {
    f"{LAYER}.self_attn.q_proj": (64, HIDDEN), f"{LAYER}.self_attn.k_proj": (32, HIDDEN),
    f"{LAYER}.self_attn.v_proj": (32, HIDDEN), f"{LAYER}.self_attn.o_proj": (HIDDEN, 64),
    f"{LAYER}.mlp.gate_proj": (FFN, HIDDEN), f"{LAYER}.mlp.up_proj": (FFN, HIDDEN),
    f"{LAYER}.mlp.down_proj": (HIDDEN, FFN),
}  # fmt: skip
MODULES = tuple(SHAPES)
UP, DOWN = MODULES[5], MODULES[6]


class PackedFolder(NamedTuple):
    """A folder whose matrices are packed, and the weights that its owner unpacks it to."""

    path: Path
    unpacked: dict[str, Tensor]


def weights(dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> dict[str, Tensor]:
    """The unpacked model, peaked enough that an error in a matrix shows in the logits."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int, std: float = 0.2) -> Tensor:
        return (torch.randn(*shape, generator=g) * std).to(dtype)

    found = {f"{name}.weight": draw(*shape) for name, shape in SHAPES.items()}
    norms = ("input_layernorm", "post_attention_layernorm")
    found |= {f"{LAYER}.{name}.weight": 1 + draw(HIDDEN) for name in norms}
    found |= {"model.norm.weight": 1 + draw(HIDDEN)}
    return found | {"model.embed_tokens.weight": draw(VOCAB, HIDDEN, std=1), "lm_head.weight": draw(VOCAB, HIDDEN)}


def write(path: Path, tensors: Mapping[str, Tensor], **config: Any) -> Path:
    """A folder with these tensors and keys of config.json besides the model's own."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    save_file(
        {name: t.clone().contiguous() for name, t in tensors.items()}, path / "model.safetensors", {"format": "pt"}
    )
    return path


def packed(
    path: Path, pack: Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]], dtype: str = "bfloat16", **config: Any
) -> PackedFolder:
    """A folder in which `pack` has made parts of each matrix; it gives them and the numbers that its owner unpacks."""
    stored: dict[str, Tensor] = {}
    unpacked: dict[str, Tensor] = {}
    for name, tensor in weights(getattr(torch, dtype)).items():
        module = name.removesuffix(".weight")
        parts, numbers = pack(module, tensor) if module in SHAPES else ({"weight": tensor}, tensor)
        stored |= {f"{module}.{part}": value for part, value in parts.items()}
        unpacked[name] = numbers
    return PackedFolder(write(path, stored, torch_dtype=dtype, **config), unpacked)


def check(folder: PackedFolder) -> Checkpoint:
    """Every tensor of the folder is bit for bit what its owner unpacks, whole and in bands, and no other is shown."""
    checkpoint = open_checkpoint(folder.path)
    assert set(checkpoint.tensors) == set(folder.unpacked)
    with checkpoint.open() as tensors:
        for name, expected in folder.unpacked.items():
            info = checkpoint.tensors[name]
            assert (info.shape, info.dtype) == (tuple(expected.shape), str(expected.dtype).removeprefix("torch.")), name
            assert torch.equal(tensors[name], expected), name
    assert checkpoint.packing is not None
    with checkpoint.open_parts() as raw:
        for name, matrix in checkpoint.packing.matrices.items():
            parts, rows = parts_of(matrix, raw), matrix.shape[0]
            cuts = (0, 1, min(6, rows), min(29, rows), rows)  # within groups, words and blocks
            with torch.device("meta"):  # what is made on the way is made where the parts are, as on a GPU it must be
                bands = [matrix.unpack(parts, slice(a, b)) for a, b in pairwise(cuts)]
            assert torch.equal(torch.cat(bands), folder.unpacked[name]), name
    files = [folder.path / name.name for name in checkpoint.files]
    assert sum(info.nbytes for info in checkpoint.tensors.values()) <= sum(f.stat().st_size for f in files)
    return checkpoint
