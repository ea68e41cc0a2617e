"""compressed-tensors without its package: several groups of modules, and what older versions of it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.files.packed import by_hand, tiny
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

INT4: dict[str, Any] = {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": True}
FP8: dict[str, Any] = {"type": "float", "num_bits": 8, "strategy": "channel"}


def config(**groups: tuple[list[str], dict[str, Any]]) -> dict[str, Any]:
    found = {name: {"targets": targets, "weights": weights} for name, (targets, weights) in groups.items()}
    return {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": found}


def mixed(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The attention in 8-bit floats, the rest in 4-bit integers."""
    if "self_attn" in module:
        return by_hand.scaled(by_hand.per_row)(module, matrix)
    return by_hand.int4(module, matrix)


@pytest.mark.parametrize(
    "attention",
    [["re:.*self_attn.*_proj$"], [m for m in tiny.MODULES if "self_attn" in m], ["re:model\\.layers\\.0\\.s"]],
)
def test_a_module_has_the_scheme_of_the_group_that_names_it(attention: list[str], tmp_path: Path) -> None:
    groups = config(group_0=(["Linear"], INT4), group_1=(attention, FP8))
    checkpoint = tiny.check(tiny.packed(tmp_path / "f", mixed, quantization_config=groups))
    assert checkpoint.packing is not None
    told = checkpoint.packing.in_words(checkpoint.tensors)
    assert "4 bits, groups of 32, symmetric: yes (3)" in told
    assert "8 bits, one scale per row, floats (4)" in told


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (config(a=(["re:.*mlp.*"], INT4)), "needs no second group"),
        (config(a=(["re:.*mlp.*"], INT4), b=(["re:.*other"], FP8)), "is packed, and no group of the config has it"),
        (config(a=(["Linear"], INT4), b=(["Linear"], FP8)), "is packed, and several groups of the config have it"),
        (config(a=(["Linear"], INT4), b=(["re:(a+)+$"], FP8)), "is richer than zoo tries"),
        (config(a=(["Linear"], INT4), b=(["re:.*["], FP8)), "is not a pattern"),
    ],
)
def test_a_module_without_one_scheme_is_refused(groups: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.int4, quantization_config=groups)
    if told == "needs no second group":  # there is one way, and the file has the module packed
        tiny.check(folder)
    else:
        with pytest.raises(CheckpointError, match=told):
            open_checkpoint(folder.path)


def test_columns_in_the_order_of_activations_have_their_own_groups(tmp_path: Path) -> None:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts, _ = by_hand.int4(module, matrix)
        order = torch.randperm(matrix.shape[1], generator=torch.Generator().manual_seed(1)) // 32
        codes = torch.from_numpy(unpacked(parts["weight_packed"]))[:, : matrix.shape[1]] - 8
        return parts | {"weight_g_idx": order.int()}, codes.bfloat16() * parts["weight_scale"][:, order]

    groups = config(group_0=(["Linear"], INT4 | {"actorder": "group"}))
    checkpoint = tiny.check(tiny.packed(tmp_path / "f", pack, quantization_config=groups))
    assert checkpoint.packing is not None
    assert "columns in the order of g_idx" in checkpoint.packing.in_words(checkpoint.tensors)


def test_zero_points_that_are_not_packed_are_followed_and_told(tmp_path: Path) -> None:
    """As versions of 2024 wrote them, even where the config says symmetric; the package uses them, too."""

    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts, _ = by_hand.int4(module, matrix)
        zeros = torch.ones(parts["weight_scale"].shape, dtype=torch.int8)
        codes = torch.from_numpy(unpacked(parts["weight_packed"]))[:, : matrix.shape[1]] - 8 - 1
        numbers = codes.bfloat16() * parts["weight_scale"].repeat_interleave(32, 1)
        return parts | {"weight_zero_point": zeros}, numbers

    groups = config(group_0=(["Linear"], INT4))
    checkpoint = tiny.check(tiny.packed(tmp_path / "f", pack, quantization_config=groups))
    assert checkpoint.packing is not None
    told = "the config says symmetric, but 7 of the weights have zero points: the file is followed"
    assert told in checkpoint.packing.told()


def unpacked(words: Tensor) -> Any:
    """Codes of 4 bits in words of 32, from the lowest, by numpy's own bits."""
    import numpy as np

    raw = np.unpackbits(words.numpy().view(np.uint8), axis=1, bitorder="little")
    return (raw.reshape(len(words), -1, 4) << np.arange(4)).sum(-1)
