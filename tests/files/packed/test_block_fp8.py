from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.files import make
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.packed.fp8 import block_size
from zoo.files.packed.keys import PackingKeys

CONFIG = make.CONFIG | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
FP8 = torch.float8_e4m3fn


def stored(rows: int = 300, columns: int = 150) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    blocks = (-(-rows // 128), -(-columns // 128))
    return {
        "q.weight": torch.randn(rows, columns, generator=g).to(FP8),
        "q.weight_scale_inv": torch.rand(*blocks, generator=g),
        "norm.weight": torch.randn(4, generator=g).bfloat16(),
    }


def unpacked(path: Path, raw: dict[str, Tensor]) -> Tensor:
    with open_checkpoint(make.folder(path, raw, CONFIG)).open() as tensors:
        return tensors["q.weight"]


def by_hand(weight: Tensor, scale: Tensor, block: int = 128) -> Tensor:
    """Element by element, as the definition says."""
    scales = scale.float().tolist()
    rows = enumerate(weight.float().tolist())
    out = [[x * scales[i // block][j // block] for j, x in enumerate(row)] for i, row in rows]
    return torch.tensor(out).bfloat16()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(128, 128), (130, 5), (1, 1), (127, 257)])
def test_each_block_is_multiplied_by_its_scale_at_the_edges_too(shape: tuple[int, int], tmp_path: Path) -> None:
    raw = stored(*shape)
    assert torch.equal(unpacked(tmp_path, raw), by_hand(raw["q.weight"], raw["q.weight_scale_inv"]))


def test_a_checkpoint_shows_bfloat16_and_hides_the_scales(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make.folder(tmp_path, stored(), CONFIG))
    assert {n: (i.dtype, i.shape) for n, i in checkpoint.tensors.items()} == {
        "q.weight": ("bfloat16", (300, 150)),
        "norm.weight": ("bfloat16", (4,)),
    }
    with checkpoint.open() as tensors:
        assert set(tensors) == {"q.weight", "norm.weight"}
        assert torch.equal(tensors["q.weight"], by_hand(stored()["q.weight"], stored()["q.weight_scale_inv"]))
        assert torch.equal(tensors["norm.weight"], stored()["norm.weight"])
        assert "q.weight_scale_inv" not in tensors
    with pytest.raises(CheckpointError, match=r"q.weight: is not stored in the file in the order of its shape"):
        checkpoint.raw_bytes("q.weight")


def test_without_the_config_s_word_the_tensors_are_shown_as_they_are(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make.folder(tmp_path, stored()))
    assert checkpoint.tensors["q.weight"].dtype == "float8_e4m3fn"
    assert "q.weight_scale_inv" in checkpoint.tensors


def test_another_block_size_is_read(tmp_path: Path) -> None:
    config: dict[str, Any] = json.loads(json.dumps(CONFIG))
    config["quantization_config"]["weight_block_size"] = [64, 32]
    weights = stored(100, 40) | {"q.weight_scale_inv": torch.rand(2, 2)}
    with open_checkpoint(make.folder(tmp_path, weights, config)).open() as tensors:
        expected = weights["q.weight"].float().clone()
        for i in range(2):
            for j in range(2):
                expected[64 * i : 64 * i + 64, 32 * j : 32 * j + 32] *= weights["q.weight_scale_inv"][i, j]
        assert torch.equal(tensors["q.weight"], expected.bfloat16())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q.weight_scale_inv": torch.ones(2, 2)}, r"q.weight_scale_inv: is float32 \[2, 2\]"),
        ({"q.weight_scale_inv": torch.ones(3, 2, dtype=torch.int32)}, "q.weight_scale_inv: is int32"),
        ({"q.weight": torch.ones(300, 150)}, "q.weight: is float32"),
        ({"k.weight": torch.ones(4, 4).to(FP8)}, "k.weight: is float8_e4m3fn without k.weight_scale_inv"),
        ({"k.weight_scale_inv": torch.ones(1, 1)}, "k.weight_scale_inv: scales k.weight, which is missing"),
    ],
)
def test_a_weight_and_a_scale_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(make.folder(tmp_path, stored() | change, CONFIG))


def test_scales_of_blocks_are_refused_where_the_config_says_that_there_are_none(tmp_path: Path) -> None:
    config = make.CONFIG | {"quantization_config": {"quant_method": "fp8", "weight_block_size": None}}
    with pytest.raises(CheckpointError, match=r"\[3, 2\]\na weight of \[300, 150\] has one scale, or one a row"):
        open_checkpoint(make.folder(tmp_path, stored(), config))


@pytest.mark.parametrize(("given", "block"), [({}, (128, 128)), ({"weight_block_size": [1, 1 << 20]}, (1, 1 << 20))])
def test_a_block_size_is_read_or_the_one_of_the_released_files(given: dict[str, Any], block: tuple[int, int]) -> None:
    """As transformers' FineGrainedFP8Config takes it."""
    assert block_size(PackingKeys({"quant_method": "fp8", **given}, Path("config.json"))) == block


@pytest.mark.parametrize("size", [[128], [128, 0], [128, (1 << 20) + 1], [128, True], [1, 2, 3], "128"])
def test_what_is_no_block_size_is_refused(size: Any) -> None:
    with pytest.raises(CheckpointError, match="is not a pair of sizes"):
        block_size(PackingKeys({"quant_method": "fp8", "weight_block_size": size}, Path("config.json")))
