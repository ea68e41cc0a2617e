"""Numbers in a file that would make zoo list without end: compared with what is there, and refused in a moment."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import zoo
from tests.files.make import entry, raw
from zoo.anatomy.records import Shape
from zoo.checkpoint.counting import compare_counts
from zoo.checkpoint.saving import export_steps, foreign_specs
from zoo.errors import CheckpointError
from zoo.files.tensor_info import TensorInfo
from zoo.presets import config as preset
from zoo.registry import installed

SECONDS = 6.0  # of CPU; 0.1 to 1 where this was written, up to 45 and more where all is built before it is refused


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny model of a family, written once."""
    home = tmp_path_factory.mktemp("made")

    def folder(family: str, to: str = "hf") -> Path:
        target = home / f"{family}-{to}"
        if not target.exists():
            zoo.save(zoo.build(installed()[family].config_class.tiny(), device="cpu"), target, format=to)
        return target

    return folder


def copied(folder: Path, to: Path, **changed: Any) -> Path:
    """A folder with keys of its config changed; `group.key` is one of a group."""
    to.mkdir()
    config = json.loads((folder / "config.json").read_text())
    for key, value in changed.items():
        group, _, name = key.rpartition(".")
        (config[group] if group else config)[name] = value
    (to / "config.json").write_text(json.dumps(config))
    (to / "model.safetensors").symlink_to(folder / "model.safetensors")
    return to


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Expect a CheckpointError that says so, soon."""
    start = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        yield
    assert time.process_time() - start < SECONDS


MANY = {
    "llama num_hidden_layers": r"num_hidden_layers: 10,000 layers, of \d+ tensors",
    "gpt2 n_layer": r"n_layer: 10,000 layers, of \d+ tensors",
    "t5 num_layers": r"num_layers: 10,000 layers",
    "t5 num_decoder_layers": r"num_decoder_layers: 10,000 layers",
    "transformer encoder_layers": r"encoder_layers: 10,000 layers",
    "clip vision_config.num_hidden_layers": r"num_hidden_layers: 10,000 layers",
    "clip text_config.num_hidden_layers": r"num_hidden_layers: 10,000 layers",
    "qwen2_vl vision_config.depth": r"depth: 10,000 layers",
    "mixtral num_local_experts": r"it describes 6,000,\d+ tensors of [\d,]+ numbers, but the files have \d+ of",
    "qwen2_moe num_experts": r"it describes 6,000,\d+ tensors of [\d,]+ numbers, but the files have \d+ of",
    "qwen3_moe num_experts": r"it describes 6,000,\d+ tensors",
}


@pytest.mark.parametrize("what", MANY)
def test_more_than_the_files_hold_is_refused_before_it_is_listed(
    made: Callable[[str], Path], tmp_path: Path, what: str
) -> None:
    family, key = what.split()
    folder = copied(made(family), tmp_path / "x", **{key: 10**6 if "expert" in key else 10_000})
    with refused(MANY[what]):
        zoo.inspect(folder)


def test_zoos_own_format_is_counted_as_well(made: Callable[..., Path], tmp_path: Path) -> None:
    with refused(r"num_layers: 10,000 layers"):
        zoo.inspect(copied(made("llama", "zoo"), tmp_path / "x", num_layers=10_000))
    with refused(r"it describes 6,000,\d+ tensors"):
        zoo.inspect(copied(made("mixtral", "zoo"), tmp_path / "y", num_experts=10**6))


@pytest.mark.slow
def test_a_hundred_thousand_tensors_beside_a_small_config_are_refused(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(made("llama"), tmp_path / "x")
    (folder / "model.safetensors").unlink()
    raw(folder / "model.safetensors", {f"x.{i}": entry("F32", [0], 0, 0) for i in range(40_000)})
    with refused(r"there are 40,000 tensors, but the config describes \d+"):
        zoo.inspect(folder)
    raw(folder / "model.safetensors", {f"x.{i}": entry("F32", [0], 0, 0) for i in range(100_001)})
    with refused(r"lists 100,001 tensors, more than the 100,000 it may"):
        zoo.inspect(folder)


def test_layers_that_have_names_but_no_numbers_are_refused(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(made("llama"), tmp_path / "x", num_hidden_layers=2300)
    (folder / "model.safetensors").unlink()
    names = (f"model.layers.{i}.{part}.weight" for i in range(2300) for part in "abcdefghi")
    raw(folder / "model.safetensors", {name: entry("F32", [0], 0, 0) for name in names})
    with refused(r"describes 20,703 tensors of [\d,]+ numbers, but the files have 20,700 of 0"):
        zoo.inspect(folder)


@pytest.mark.slow
def test_files_of_a_million_values_are_refused_unread(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(made("llama"), tmp_path / "x", **{f"k{i}": i for i in range(100_001)})
    with refused("more than the 100,000 values"):
        zoo.inspect(folder)
    folder = copied(made("llama"), tmp_path / "y", layer_types=["full_attention"] * 100_001)
    with refused("more than the 100,000 values"):
        zoo.inspect(folder)
    folder = copied(made("llama"), tmp_path / "z")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {f"a{i}": f"m{i}.safetensors" for i in range(250_002)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with refused("more than the 250,000 values"):
        zoo.inspect(folder)


def gguf(path: Path, keys: dict[str, bytes], tensors: int = 0) -> Path:
    """A GGUF file with these keys, type and value in bytes, and so many empty tensors."""

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    keys = {"general.architecture": struct.pack("<I", 8) + text("llama")} | keys
    parts = [b"GGUF", struct.pack("<IQQ", 3, tensors, len(keys)), *(text(k) + v for k, v in keys.items())]
    parts += [text(f"t{i}") + struct.pack("<IQIQ", 1, 0, 0, 0) for i in range(tensors)]
    path.write_bytes(b"".join(parts) + bytes(64))
    return path


@pytest.mark.slow
def test_a_gguf_header_is_counted(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the gguf extra is not installed")
    number, array = struct.pack("<II", 4, 10_000), struct.pack("<IIQ", 9, 0, 1000) + bytes(1000)
    with refused("1 tensors and 10,001 keys"):
        zoo.inspect(gguf(tmp_path / "k.gguf", {f"k{i}": number for i in range(10_000)}, tensors=1))
    with refused("50,001 tensors and 1 keys"):
        zoo.inspect(gguf(tmp_path / "t.gguf", {}, tensors=50_001))
    with refused("have more than 250,000 elements"):
        zoo.inspect(gguf(tmp_path / "a.gguf", {f"k{i}": array for i in range(300)}, tensors=1))
    with refused(r"llama\.block_count: 10,000 layers, of 1 tensors"):
        zoo.inspect(gguf(tmp_path / "b.gguf", {"llama.block_count": number}, tensors=1))


@pytest.mark.slow
def test_what_is_merely_incomplete_is_listed_as_before(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(made("llama"), tmp_path / "x", num_hidden_layers=60)
    account = zoo.inspect(folder).account
    assert "model.layers.59.mlp.up_proj.weight" in account.missing
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file({"model.norm.weight": tensors["model.norm.weight"]}, folder / "model.safetensors", {"format": "pt"})
    assert zoo.inspect(folder).account.loaded == ["model.norm.weight"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepseek-v3", "qwen3-235b-a22b", "llama3.1-405b", "mixtral-8x22b", "gpt2", "t5-11b"])
def test_the_largest_released_models_pass_with_experts_apart_and_stacked(name: str) -> None:
    config, file = preset(name), Path("model.safetensors")
    family = installed()[config.family]

    def infos(shapes: dict[str, Shape]) -> dict[str, TensorInfo]:
        return {n: TensorInfo(n, "bfloat16", shape, file, 0, 0) for n, shape in shapes.items()}

    ours = {n: ("bfloat16", shape) for n, shape in config.anatomy().shapes().items()}
    apart = foreign_specs(export_steps(family, "hf", config, ours), ours)
    compare_counts(config, infos({n: shape for n, (_, shape) in apart.items()}))
    compare_counts(config, infos(config.anatomy().shapes()))  # experts stacked
