"""bitsandbytes: the package of that name packs and unpacks on the CPU; zoo reads the same numbers."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files.packed import owners, tiny
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

pytestmark = [
    pytest.mark.slow,  # the package takes seconds to import
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="the owner of the format is the witness"),
]


FOUR: dict[str, Any] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FOUR |= {"bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8", "llm_int8_threshold": 6.0}
EIGHT = {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_threshold": 6.0}
CASES: dict[str, tuple[owners.Pack, str, dict[str, Any], str]] = {
    "nf4, nested": (
        owners.bitsandbytes_4("nf4"),
        "bfloat16",
        FOUR,
        "bitsandbytes nf4, 4 bits, blocks of 64, scales in 8 bits",
    ),
    "nf4": (
        owners.bitsandbytes_4("nf4", 128, nested=False),
        "float16",
        FOUR,
        "bitsandbytes nf4, 4 bits, blocks of 128;",
    ),
    "fp4": (owners.bitsandbytes_4("fp4", 32), "float32", FOUR | {"bnb_4bit_quant_type": "fp4"}, "bitsandbytes fp4"),
    "in words of 16 bits": (owners.bitsandbytes_4("nf4", storage=torch.bfloat16), "bfloat16", FOUR, "nf4"),
    "without a name": (owners.bitsandbytes_4("nf4"), "bfloat16", {"load_in_4bit": True}, "nf4"),
    "int8": (owners.bitsandbytes_8, "float16", EIGHT, "bitsandbytes int8, one scale per row"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_is_what_its_owner_unpacks(case: str, tmp_path: Path) -> None:
    pack, dtype, config, told = CASES[case]
    folder = tiny.packed(tmp_path / "f", pack, dtype=dtype, quantization_config=config)
    checkpoint = tiny.check(folder)
    assert checkpoint.packing is not None
    assert told in checkpoint.packing.in_words(checkpoint.tensors)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (37, 66), (3, 130), (7, 63)])
@pytest.mark.parametrize("nested", [True, False])
def test_odd_shapes_are_cut_within_blocks_and_bytes(shape: tuple[int, int], nested: bool, tmp_path: Path) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    parts, expected = owners.bitsandbytes_4("nf4", 32, nested=nested)("m", matrix)
    stored = {f"m.{name}": value for name, value in parts.items()}
    checkpoint = open_checkpoint(tiny.write(tmp_path / "f", stored, torch_dtype="bfloat16", quantization_config=FOUR))
    assert checkpoint.packing is not None
    found = checkpoint.packing.matrices["m.weight"]
    with checkpoint.open() as tensors, checkpoint.open_parts() as raw:
        assert torch.equal(tensors["m.weight"], expected)
        loose = {role: raw[info.name] for role, info in found.parts.items()}
        rows = [found.unpack(loose, slice(i, i + 1)) for i in range(shape[0])]
        assert torch.equal(torch.cat(rows), expected)


def test_another_table_than_the_one_that_is_named_is_refused(tmp_path: Path) -> None:
    parts, _ = owners.bitsandbytes_4("nf4")("m", torch.randn(8, 8))
    stored = {f"m.{name}": value for name, value in parts.items()}
    stored["m.weight.quant_map"] = torch.linspace(-1, 1, 16)
    folder = tiny.write(tmp_path / "f", stored, quantization_config=FOUR)
    with (
        open_checkpoint(folder).open() as tensors,
        pytest.raises(CheckpointError, match=r"m\.weight\.quant_map: is not the table of nf4"),
    ):
        tensors["m.weight"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [8, 9]}, "has 32 bytes, not two numbers of"),
        ({"blocksize": 0}, "blocksize is 0"),
        ({"blocksize": 16}, r"absmax: is uint8 \[1\]"),
        ({"quant_type": "fp4"}, "says 'fp4'"),
        ({"dtype": "int8"}, "in 'int8'"),
        ({"nested_offset": "1"}, "nested_offset is '1'"),
        ({"nested_blocksize": -1}, "nested_blocksize is -1"),
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    parts, _ = owners.bitsandbytes_4("nf4")("m", torch.randn(8, 8))
    stored = {f"m.{name}": value for name, value in parts.items()}
    key = "m.weight.quant_state.bitsandbytes__nf4"
    state = json.loads(bytes(stored[key].tolist())) | change
    stored[key] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(tiny.write(tmp_path / "f", stored, quantization_config=FOUR))
