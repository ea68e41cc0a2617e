"""8-bit floats in blocks at odd sizes, and what is open: each guard provoked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import ZooError
from zoo.files import write as writing
from zoo.files.block_fp8 import BlockFP8, block_size, unscaled_infos
from zoo.files.open_tensors import OpenTensors
from zoo.files.tensor_info import TensorInfo

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def info(name: str, dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, dtype, shape, FILE, 1, 0)


FP8 = "float8_e4m3fn"


def test_each_weight_in_blocks_has_its_scales() -> None:
    def shown(*infos: TensorInfo) -> dict[str, TensorInfo]:
        return unscaled_infos({one.name: one for one in infos}, (2, 3))

    weight = info("w", FP8, 3, 7)
    for dtype in ("float32", "bfloat16", "float16"):
        found = shown(weight, info("w_scale_inv", dtype, 2, 3), info("n", "bfloat16", 5))
        assert list(found) == ["w", "n"]
        assert (found["w"].dtype, found["w"].nbytes, found["w"].offset) == ("bfloat16", 42, None)
    for wrong in (
        [weight],
        [info("w_scale_inv", "float32", 2, 3)],
        [weight, info("w_scale_inv", "float64", 2, 3)],
        [weight, info("w_scale_inv", "float32", 3, 2)],
        [weight, info("w_scale_inv", "float32", 1, 2)],
        [info("w", "bfloat16", 3, 7), info("w_scale_inv", "float32", 2, 3)],
        [info("w", FP8, 7), info("w_scale_inv", "float32", 3)],
    ):
        refused("^x.bin: w", shown, *wrong)


@pytest.mark.parametrize(
    ("config", "block"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"quant_method": "gptq"}}, None),
        ({"quantization_config": {"quant_method": "fp8"}}, (128, 128)),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [1, 1 << 20]}}, (1, 1 << 20)),
    ],
)
def test_a_block_has_two_sizes(config: dict[str, Any], block: Any) -> None:
    assert block_size(config, FILE) == block
    for wrong in (None, [0, 1], [1, (1 << 20) + 1], [1], [1, 2, 3], (1, 2), [True, 1], [1.0, 2]):
        given = {"quantization_config": {"quant_method": "fp8", "weight_block_size": wrong}}
        refused("weight_block_size", block_size, given, FILE)


def test_blocks_are_multiplied_by_their_scales_at_odd_sizes() -> None:
    weight = torch.arange(1.0, 16).reshape(3, 5).to(torch.float8_e4m3fn)
    raw = {"w": weight, "w_scale_inv": torch.tensor([[1.0, 2, 4], [8, 16, 32]]), "n": torch.ones(1)}
    view = BlockFP8(raw, (2, 2))
    factors = torch.tensor([[1, 1, 2, 2, 4], [1, 1, 2, 2, 4], [8, 8, 16, 16, 32]])
    assert torch.equal(view["w"], (weight.float() * factors).bfloat16())
    assert (list(view), len(view)) == (["w", "n"], 2)
    assert torch.equal(view["n"], torch.ones(1))
    with pytest.raises(KeyError):
        view["w_scale_inv"]
    assert torch.equal(
        BlockFP8({"w": weight, "w_scale_inv": torch.tensor([[3.0]])})["w"], (weight.float() * 3).bfloat16()
    )


def test_open_tensors_are_those_of_the_header() -> None:
    closed: list[int] = []
    infos = {"a": info("a", "int8", 1)}
    with OpenTensors(infos, lambda name: torch.tensor([5]), lambda: closed.append(1)) as tensors:
        assert ("a" in tensors, "b" in tensors, list(tensors), len(tensors)) == (True, False, ["a"], 1)
        assert tensors["a"].item() == 5
        with pytest.raises(KeyError):
            tensors["b"]
    assert closed == [1]


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    specs = {"a": ("float32", (2, 2)), "b": ("int8", (3,))}
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=19))
    writing._check_room(tmp_path / "x", specs)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=18))
    refused("needs 19 bytes, 18 are free", writing._check_room, tmp_path / "x", specs)
