"""Floats of 8 and 4 bits with scales by tensor, by row, by group and by power of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files.packed import by_hand, tiny
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

VLLM = {"quant_method": "fp8", "activation_scheme": "static"}
OPT: dict[str, Any] = {"quant_method": "modelopt", "producer": {"name": "modelopt"}, "exclude_modules": ["lm_head"]}
CASES: dict[str, tuple[by_hand.Pack, dict[str, Any], str]] = {
    "one scale": (by_hand.scaled(by_hand.per_tensor, input_scale=torch.tensor(2.0)), VLLM, "one scale per tensor"),
    "one scale in a list": (by_hand.scaled(lambda m: (1,)), VLLM, "one scale per tensor"),
    "one scale, of its inverse": (
        by_hand.scaled(by_hand.per_tensor, "weight_scale_inv", activation_scale=torch.tensor(2.0)),
        {"quant_method": "fp8", "weight_block_size": None},
        "one scale per tensor",
    ),
    "by row": (
        by_hand.scaled(by_hand.per_row),
        {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0},
        "one scale per row",
    ),
    "modelopt": (
        by_hand.scaled(by_hand.per_tensor),
        OPT | {"quant_algo": "FP8"},
        "ModelOpt 8-bit floats, one scale per tensor",
    ),
    "modelopt by row": (
        by_hand.scaled(lambda m: (len(m),)),
        OPT | {"quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"},
        "per row",
    ),
    "nvfp4": (by_hand.nvfp4, OPT | {"quant_algo": "NVFP4", "group_size": 16}, "ModelOpt NVFP4, 4 bits, groups of 16"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_is_the_product_of_its_parts(case: str, tmp_path: Path) -> None:
    pack, config, told = CASES[case]
    checkpoint = tiny.check(tiny.packed(tmp_path / "f", pack, quantization_config=config))
    assert checkpoint.packing is not None
    assert told in checkpoint.packing.in_words(checkpoint.tensors)
    static = any("input_scale" in name or "activation_scale" in name for name in checkpoint.packing.unused)
    assert static == (case in ("one scale", "one scale, of its inverse", "nvfp4"))


def test_settings_that_stand_beside_the_config_are_read(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.nvfp4)
    (folder.path / "hf_quant_config.json").write_text('{"producer": {}, "quantization": {"quant_algo": "NVFP4"}}')
    assert (found := tiny.check(folder).packing) is not None
    assert found.keys == frozenset()
    (folder.path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "W4A8_AWQ"}}')
    with pytest.raises(
        CheckpointError, match=r"hf_quant_config.json: quantization.quant_algo: 'W4A8_AWQ' is not one of"
    ):
        open_checkpoint(folder.path)


def test_settings_beside_weights_that_are_not_packed_speak_of_others(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "f", tiny.weights())
    (folder / "quantize_config.json").write_text('{"bits": 4, "group_size": 128}')
    assert open_checkpoint(folder).packing is None


def test_a_weight_that_is_called_a_scale_is_none(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.scaled(by_hand.per_tensor), quantization_config=VLLM)
    stored = {
        "logit_scale": torch.ones(()),
        "m.weight": torch.ones(2, 2).to(torch.float8_e4m3fn),
        "m.weight_scale": torch.ones(()),
    }
    checkpoint = open_checkpoint(tiny.write(folder.path, stored, quantization_config=VLLM))
    assert set(checkpoint.tensors) == {"logit_scale", "m.weight"}


# --- experts ---


MX = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head", "model.layers.*.self_attn"]}


def test_experts_of_powers_of_two_are_exact(tmp_path: Path) -> None:
    stored, numbers = by_hand.mxfp4()
    checkpoint = open_checkpoint(tiny.write(tmp_path / "f", stored, torch_dtype="bfloat16", quantization_config=MX))
    name = "model.layers.0.mlp.experts.gate_up_proj"
    assert {n: (i.dtype, i.shape) for n, i in checkpoint.tensors.items()} == {name: ("bfloat16", (3, 64, 10))}
    assert checkpoint.packing is not None
    assert checkpoint.packing.matrices[name].bits_per_weight == 4.25
    with checkpoint.open() as tensors:
        assert torch.equal(tensors[name], numbers)


@pytest.mark.slow
def test_experts_are_what_transformers_unpacks(tmp_path: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    stored, numbers = by_hand.mxfp4(2, 6, 3)
    theirs = convert_moe_packed_tensors(*stored.values())
    assert torch.equal(theirs, numbers)
    with open_checkpoint(tiny.write(tmp_path / "f", stored, quantization_config=MX)).open() as tensors:
        assert torch.equal(next(iter(tensors.values())), theirs)


@pytest.mark.slow
@pytest.mark.parametrize("block", [(64, 32), None], ids=str)
def test_8_bit_floats_are_what_transformers_unpacks(block: tuple[int, int] | None, tmp_path: Path) -> None:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    size = block or (128, 96)
    grid = (2, 3) if block else ()
    codes, scales = (
        (torch.randn(128, 96, generator=by_hand.G) * 50).to(torch.float8_e4m3fn),
        torch.rand(grid, generator=by_hand.G),
    )
    theirs = Fp8Dequantize(None)._dequantize_one(codes, scales.reshape(grid or (1, 1)), torch.bfloat16)
    config = {"quant_method": "fp8", "weight_block_size": list(size) if block else None}
    stored = {"m.weight": codes, "m.weight_scale_inv": scales}
    with open_checkpoint(tiny.write(tmp_path / "f", stored, quantization_config=config)).open() as tensors:
        assert torch.equal(tensors["m.weight"], theirs)


def test_stacked_experts_in_blocks_have_scales_each(tmp_path: Path) -> None:
    codes, scales = (
        (torch.randn(2, 5, 7, generator=by_hand.G) * 50).to(torch.float8_e4m3fn),
        torch.rand(2, 2, 3, generator=by_hand.G),
    )
    spread = scales.repeat_interleave(4, 1)[:, :5].repeat_interleave(3, 2)[:, :, :7]
    config = {"quant_method": "fp8", "weight_block_size": [4, 3]}
    stored = {"m.experts": codes, "m.experts_scale_inv": scales}
    with open_checkpoint(tiny.write(tmp_path / "f", stored, quantization_config=config)).open() as tensors:
        assert torch.equal(tensors["m.experts"], (codes.float() * spread).bfloat16())
