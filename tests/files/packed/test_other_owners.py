"""HQQ, optimum-quanto and torchao: what their packages store and unpack, where they are installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.files.packed import tiny
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

pytestmark = pytest.mark.slow  # the packages take seconds to import


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason="the owner of the format is the witness")


def linear(dtype: torch.dtype = torch.bfloat16, rows: int = 96, columns: int = 128) -> nn.Linear:
    layer = nn.Linear(columns, rows, bias=False, dtype=dtype)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(4))
    return layer


def opened(folder: Path) -> Tensor:
    checkpoint = open_checkpoint(folder)
    assert set(checkpoint.tensors) == {"m.weight"}
    with checkpoint.open() as tensors:
        return tensors["m.weight"]


@needs("hqq")
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_hqq_says_all_of_itself(bits: int, axis: int, tmp_path: Path) -> None:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    config = BaseQuantizeConfig(nbits=bits, group_size=64, axis=axis)
    layer = HQQLinear(linear(torch.float16), config, compute_dtype=torch.float16, device="cpu")
    stored = {f"m.{name}": value for name, value in layer.state_dict().items()}
    settings = {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]}
    folder = tiny.write(tmp_path / "f", stored, torch_dtype="float16", quantization_config=settings)
    assert torch.equal(opened(folder), layer.dequantize())
    if bits == 4:
        tiny.write(
            folder, stored | {"m.view_as_float": torch.tensor(1, dtype=torch.uint8)}, quantization_config=settings
        )
        with pytest.raises(CheckpointError, match=r"m\.view_as_float: is set, which zoo does not read"):
            open_checkpoint(folder)


@needs("optimum.quanto") if find_spec("optimum") else needs("optimum")
@pytest.mark.parametrize("kind", ["qint8", "qfloat8_e4m3fn", "qint4"])
def test_quanto_in_8_bits_is_read_and_in_4_refused(kind: str, tmp_path: Path) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    model = nn.ModuleDict({"m": linear()})
    quanto.quantize(model, weights=getattr(quanto, kind))
    quanto.freeze(model)
    folder = tiny.write(tmp_path / "f", model.state_dict(), torch_dtype="bfloat16")
    (folder / "quanto_qmap.json").write_text(json.dumps(quanto.quantization_map(model)))
    if kind == "qint4":
        with pytest.raises(CheckpointError, match="in 2 or 4 bits, and the file does not say the shape"):
            open_checkpoint(folder)
    else:
        assert torch.equal(opened(folder), model["m"].weight.dequantize())


@needs("torchao")
@pytest.mark.parametrize("kind", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
def test_torchao_in_8_bits_is_read(kind: str, tmp_path: Path) -> None:
    import torchao.quantization as torchao
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict

    model: Any = nn.ModuleDict({"m": linear()})
    torchao.quantize_(model, getattr(torchao, kind)())
    stored, header = flatten_tensor_state_dict(model.state_dict())
    settings = {"quant_method": "torchao", "quant_type": {"default": {"_type": kind}}}
    folder = tiny.write(tmp_path / "f", {}, torch_dtype="bfloat16", quantization_config=settings)
    save_file(stored, folder / "model.safetensors", {"format": "pt", **header})
    assert torch.equal(opened(folder), model["m"].weight.dequantize())
    other = {
        name: text.replace('"Int8Tensor"', '"X"').replace('"Float8Tensor"', '"X"') for name, text in header.items()
    }
    save_file(stored, folder / "model.safetensors", {"format": "pt", **other})
    with pytest.raises(CheckpointError, match="is described as 'X', not one of Int8Tensor, Float8Tensor"):
        open_checkpoint(folder)
