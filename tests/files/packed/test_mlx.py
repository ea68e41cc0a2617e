"""MLX: the package of that name packs and unpacks on the CPU; zoo reads the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from tests.files.packed import owners, tiny
from tests.some import one_in
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint
from zoo.registry import installed

pytestmark = [
    pytest.mark.skipif(find_spec("mlx") is None, reason="the owner of the format is the witness"),
]


def affine(bits: int, size: int = 32) -> dict[str, Any]:
    return {"group_size": size, "bits": bits}


FLOATS = {"mxfp4": affine(4), "nvfp4": affine(4, 16), "mxfp8": affine(8)}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    f"{bits} bits": (affine(bits), "bfloat16") for bits in (2, 3, 4, 5, 6, 8)
}
CASES |= {"in float16": (affine(4), "float16"), "in float32": (affine(8), "float32")}
CASES |= {mode: (settings | {"mode": mode}, "bfloat16") for mode, settings in FLOATS.items()}


@pytest.mark.parametrize("case", one_in(4, CASES))
def test_each_mode_is_what_its_owner_unpacks(case: str, tmp_path: Path) -> None:
    settings, dtype = CASES[case]
    folder = tiny.packed(
        tmp_path / "f", owners.mlx(**settings), dtype, quantization=settings, quantization_config=settings
    )
    checkpoint = tiny.check(folder)
    assert checkpoint.packing is not None
    assert checkpoint.packing.keys == {"quantization", "quantization_config"}
    told = f"MLX {settings.get('mode', 'affine')}, {settings['bits']} bits, groups of {settings['group_size']}"
    assert told in checkpoint.packing.in_words(checkpoint.tensors)


def test_a_module_has_settings_of_its_own(tmp_path: Path) -> None:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return owners.mlx(**(affine(8) if module == tiny.DOWN else affine(4)))(module, matrix)

    own = {tiny.DOWN: affine(8), "lm_head": False}
    checkpoint = tiny.check(tiny.packed(tmp_path / "f", pack, quantization=affine(4) | own))
    assert checkpoint.packing is not None
    told = checkpoint.packing.in_words(checkpoint.tensors)
    assert "MLX affine, 4 bits, groups of 32 (6); MLX affine, 8 bits, groups of 32 (1); 7 of 12 tensors packed" in told
    assert checkpoint.packing.notes == ()


def test_two_settings_that_differ_are_refused(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", owners.mlx(**affine(4)), quantization=affine(4))
    config = json.loads((folder.path / "config.json").read_text())
    (folder.path / "config.json").write_text(json.dumps(config | {"quantization_config": affine(8)}))
    with pytest.raises(CheckpointError, match=r"config.json: quantization: is not the same as quantization_config"):
        open_checkpoint(folder.path)


def test_stacked_experts_are_unpacked_too(tmp_path: Path) -> None:
    matrices = torch.randn(3, 6, 64, generator=torch.Generator().manual_seed(2)).bfloat16()
    parts, unpacked = owners.mlx(**affine(4))("m", matrices)
    stored = {f"m.{name}": value for name, value in parts.items()}
    with open_checkpoint(tiny.write(tmp_path / "f", stored, quantization=affine(4))).open() as tensors:
        assert torch.equal(tensors["m.weight"], unpacked)


@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
@pytest.mark.parametrize(("family", "place"), [("qwen3_moe", "mlp"), ("mixtral", "block_sparse_moe")])
def test_experts_stacked_under_switch_mlp_are_those_of_the_layer(family: str, place: str, tmp_path: Path) -> None:
    """As MLX's converter joins the experts of a layer: [E, out, in] for each projection, packed along the last."""
    width = {"moe_intermediate_size": 32} if family == "qwen3_moe" else {"intermediate_size": 32}
    config = replace(installed()[family].config_class.tiny(), hidden_size=64, **width)
    model = zoo.build(config, device="cpu", dtype="bfloat16")
    folder = zoo.save(model, tmp_path / "a", format="hf")
    plain = load_file(folder / "model.safetensors")
    settings, stored, expected = affine(4), {k: v for k, v in plain.items() if ".experts." not in k}, {}
    for name, stack in model.named_parameters():
        if stack.ndim == 3 and "experts" in name:
            layer, kind = name.split(".")[1], name.rpartition(".")[2]
            parts, expected[name] = owners.mlx(**settings)("", stack.detach())
            stored |= {f"model.layers.{layer}.{place}.switch_mlp.{kind}.{part}": p for part, p in parts.items()}
    assert expected
    save_file({name: t.contiguous() for name, t in stored.items()}, folder / "model.safetensors", {"format": "pt"})
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"quantization": settings}))
    found = zoo.load(folder)
    assert all(torch.equal(found.get_parameter(name), numbers) for name, numbers in expected.items())
    kept = zoo.load(folder, keep_packed=True)
    tokens = torch.tensor([[3, 5, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(kept(tokens), found(tokens), rtol=2e-2, atol=2e-2)  # bfloat16, in another order
