"""`zoo show` of a checkpoint: what it is, its bytes as they lie on disk, and the bits of a weight by type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from tests.files.packed import by_hand, tiny
from tests.files.packed.test_words_of_32 import AWQ
from zoo.cli import main


def test_a_packed_folder_is_shown_with_its_bytes_and_bits(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.awq(32), "float16", quantization_config=AWQ).path
    run = CliRunner().invoke(main, ["show", str(folder), "--json"])
    told = json.loads(run.stdout)
    with safe_open(folder / "model.safetensors", "pt") as file:
        parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no mapping)
    packed, plain = told["stored"]
    assert told["bytes"] == sum(part.nbytes for part in parts.values())
    assert (packed["tensors"], plain["tensors"], plain["type"]) == (7, 5, "float16")
    assert packed["numbers"] == sum(rows * columns for rows, columns in tiny.SHAPES.values())
    assert packed["bytes"] == sum(part.nbytes for name, part in parts.items() if not name.endswith(".weight"))
    assert packed["bits_per_weight"] == pytest.approx(4 + (16 + 4) / 32, abs=1e-3)  # a scale and a zero per 32
    assert plain["bits_per_weight"] == 16
    shown = CliRunner().invoke(main, ["show", str(folder), "quantize=int8"]).stdout
    assert "Stored as\tAWQ, 4 bits, groups of 32, symmetric: no: 7 tensors" in shown
    assert "int8, the others" in shown


def test_a_gguf_file_is_shown_by_type(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    file = tmp_path / "tiny.gguf"
    assert CliRunner().invoke(main, ["convert", "tiny", str(file), "--type", "q8_0"]).exit_code == 0
    told = json.loads(CliRunner().invoke(main, ["show", str(file), "--json"]).stdout)
    kinds = {kind["type"]: kind for kind in told["stored"]}
    assert kinds["Q8_0"]["bits_per_weight"] == 8.5  # 32 codes of a byte and a scale of two
    assert kinds["float32"]["bits_per_weight"] == 32
    assert told["family"] == "llama"
    assert sum(kind["bytes"] for kind in kinds.values()) == told["bytes"] < file.stat().st_size


def test_what_is_not_there_is_said_so() -> None:
    run = CliRunner().invoke(main, ["show", "nowhere.gguf"])
    assert run.exit_code
    assert "nowhere.gguf: is not there" in run.output
