"""Packed folders whose parts or settings cannot be right: each is refused in one line that names the part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.files.packed import by_hand, tiny
from tests.some import one_in
from zoo.errors import CheckpointError, ZooError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.packed import recognise
from zoo.files.safetensors_file import read_header

Parts = dict[str, Tensor]
GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
FP8: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic"}
OPT: dict[str, Any] = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
WEIGHTS = {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": True}


def groups(**weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": WEIGHTS | weights}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}


def change(name: str, edit: Callable[[Tensor], Tensor | None]) -> Callable[[Parts], None]:
    """Edit one part of the matrix; None takes it away."""

    def do(parts: Parts) -> None:
        new = edit(parts.pop(name))
        if new is not None:
            parts[name] = new

    return do


def put(value: float) -> Callable[[Tensor], Tensor]:
    """The tensor with `value` as its first number."""

    def do(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        new.view(-1)[0] = value
        return new

    return do


def lose(tensor: Tensor) -> None:
    return None


def nothing(parts: Parts) -> None:
    return None


def narrow(tensor: Tensor) -> Tensor:
    return tensor[:-1]


KINDS: dict[str, tuple[by_hand.Pack, dict[str, Any]]] = {
    "gptq": (by_hand.gptq(4, 32), GPTQ),
    "awq": (by_hand.awq(32), AWQ),
    "ct": (by_hand.int4, groups()),
    "fp8": (by_hand.scaled(lambda m: (m.shape[0], 1)), FP8),
    "nvfp4": (by_hand.nvfp4, OPT),
}
NAN, INF = float("nan"), float("inf")
CASES: list[tuple[str, Callable[[Parts], None], dict[str, Any], str]] = [
    ("gptq", change("scales", lose), {}, r"up_proj\.qweight: is packed, and .*\.scales, which unpacks it, is missing"),
    ("gptq", change("qzeros", lose), {}, r"qzeros, which unpacks it, is missing"),
    ("gptq", change("qweight", lose), {}, r"belongs to a packed weight, whose numbers are missing"),
    ("gptq", change("scales", narrow), {}, r"up_proj\.scales: is float16 \[1, 96\]\na matrix of \[96, 64\]"),
    ("gptq", change("scales", put(NAN)), {}, r"up_proj\.scales: holds NaN or infinity"),
    ("gptq", change("scales", put(0)), {}, r"up_proj\.scales: is 0 for weights that are stored as other numbers"),
    ("gptq", change("scales", lambda t: t.double()), {}, r"up_proj\.scales: is float64"),
    ("gptq", change("g_idx", put(2)), {}, r"up_proj\.g_idx: names group 2, of 2"),
    ("gptq", change("g_idx", put(-1)), {}, r"up_proj\.g_idx: names group -1, of 2"),
    ("gptq", change("g_idx", lose), {"desc_act": True}, "g_idx, which gives its columns' groups, is missing"),
    ("gptq", change("qweight", lambda t: t.float()), {}, r"up_proj\.qweight: is float32"),
    ("gptq", nothing, {"bits": 5}, r"quantization_config\.bits: 5 is not one of 2, 3, 4, 8"),
    ("gptq", nothing, {"bits": 8}, r"qweight: is int32 \[12, 64\]\na matrix of \[64, 96\] in 8 bits"),
    ("gptq", nothing, {"group_size": 0}, r"quantization_config\.group_size: 0 is not a number from 1"),
    ("gptq", nothing, {"group_size": 16}, r"scales: is float16 \[3, 64\]\na matrix of .* groups of 16"),
    ("gptq", nothing, {"checkpoint_format": "marlin"}, "'marlin' is not one of gptq, gptq_v2"),
    ("gptq", nothing, {"rotation": "hadamard"}, r"quantization_config\.rotation: the key is not known"),
    ("awq", change("qzeros", narrow), {}, r"up_proj\.qzeros: is int32 \[1, 12\]"),
    ("awq", change("scales", put(INF)), {}, r"up_proj\.scales: holds NaN or infinity"),
    ("awq", change("scales", lose), {}, r"scales, which unpacks it, is missing"),
    ("awq", nothing, {"bits": 8}, r"quantization_config\.bits: 8 is not one of 4"),
    ("awq", nothing, {"group_size": 40}, "columns are not whole groups of 40"),
    ("awq", nothing, {"version": "gemv"}, "zoo reads the layouts gemm"),
    ("awq", nothing, {"w_bit": 3}, r"w_bit: is another value than bits"),
    ("ct", change("weight_scale", lose), {}, r"weight_scale, which unpacks it, is missing"),
    ("ct", change("weight_packed", lose), {}, r"weight_scale: scales .*up_proj\.weight, which is missing"),
    ("ct", change("weight_shape", lose), {}, r"weight_shape, which unpacks it, is missing"),
    ("ct", change("weight_shape", put(-1)), {}, r"weight_shape: its shape has -1"),
    ("ct", change("weight_shape", put(95)), {}, r"weight_packed: is int32 \[96, 8\]\na matrix of \[95, 64\]"),
    ("ct", change("weight_scale", put(NAN)), {}, r"weight_scale: holds NaN or infinity"),
    ("ct", change("weight_scale", put(0)), {}, r"weight_scale: is 0 for weights"),
    ("ct", nothing, groups(num_bits=5), r"weight_packed: holds integers of 5 bits, not 2, 4 or 8"),
    ("ct", nothing, groups(num_bits=9), r"config_groups\.group_0\.weights\.num_bits: 9 is not one of"),
    ("ct", nothing, groups(group_size=0), r"group_size: 0 is not a number from 1"),
    ("ct", nothing, groups(group_size=40), "columns are not whole groups of 40"),
    ("ct", nothing, groups(symmetric=False), "weight_zero_point, which unpacks it, is missing"),
    ("ct", nothing, groups(twist=1), r"weights\.twist: the key is not known"),
    ("ct", nothing, groups() | {"format": "int-quantized"}, "is pack-quantized, but the config says int-quantized"),
    ("ct", nothing, groups() | {"format": "sparse-24-bitmask"}, "zoo does not read 'sparse-24-bitmask'"),
    ("ct", nothing, groups() | {"transform_config": {"a": 1}}, "weights that were made sparse or rotated"),
    ("ct", nothing, groups() | {"config_groups": None}, "config_groups: is missing"),
    ("fp8", change("weight_scale", lose), {}, r"up_proj\.weight: is float8_e4m3fn without"),
    ("fp8", change("weight_scale", narrow), {}, r"weight_scale: is float32 \[95, 1\]\na weight of \[96, 64\]"),
    ("fp8", change("weight_scale", put(NAN)), {}, r"weight_scale: holds NaN or infinity"),
    ("fp8", change("weight_scale", put(0)), {}, r"weight_scale: is 0 for weights"),
    ("nvfp4", change("weight_scale_2", put(NAN)), {}, r"weight_scale_2: holds NaN or infinity"),
    ("nvfp4", change("weight_scale_2", lose), {}, r"up_proj\.weight: is uint8"),
    ("nvfp4", change("weight_scale", narrow), {}, r"weight_scale: is float8_e4m3fn \[95, 4\]"),
    ("nvfp4", nothing, {"quant_algo": "W4A8_AWQ"}, "'W4A8_AWQ' is not one of"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
@pytest.mark.parametrize(
    ("kind", "edit", "keys", "told"), one_in(3, CASES), ids=lambda v: v[:40] if isinstance(v, str) else ""
)
def test_what_cannot_be_right_is_refused(
    kind: str, edit: Callable[[Parts], None], keys: dict[str, Any], told: str, tmp_path: Path
) -> None:
    pack, config = KINDS[kind]

    def spoilt(module: str, matrix: Tensor) -> tuple[Parts, Tensor]:
        parts, numbers = pack(module, matrix)
        if module == tiny.UP:
            edit(parts)
        return parts, numbers

    folder = tiny.packed(tmp_path / "f", spoilt, quantization_config=config | keys)
    with pytest.raises(CheckpointError, match=told):  # noqa: SIM117  the second may raise it as well
        with open_checkpoint(folder.path).open() as tensors:
            tensors[f"{tiny.UP}.weight"]
    with pytest.raises(ZooError):
        zoo.load(folder.path, allow=["*"])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_right_before_it_is_spoilt(kind: str, tmp_path: Path) -> None:
    pack, config = KINDS[kind]
    folder = tiny.packed(tmp_path / "f", pack, quantization_config=config)
    tiny.check(folder._replace(unpacked={n: t.bfloat16() for n, t in folder.unpacked.items()}))


def test_a_part_is_of_one_weight_only(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.gptq(4, 32), quantization_config=GPTQ)
    stored = {f"{tiny.UP}.weight": torch.ones(96, 64)}
    with open_checkpoint(folder.path).open_parts() as raw:
        tiny.write(folder.path, {n: raw[n].clone() for n in raw} | stored, quantization_config=GPTQ)
    with pytest.raises(CheckpointError, match=r"up_proj\.weight: is in the file twice, packed and as it is"):
        open_checkpoint(folder.path)


@pytest.mark.parametrize("method", ["aqlm", "vptq", "higgs", "exl2", None, 3])
def test_what_zoo_does_not_unpack_is_refused_by_its_name(method: Any, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "f", tiny.weights(), quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(
        CheckpointError, match=rf"quant_method: it says .* by '{method}', which zoo cannot unpack\nuse the"
    ):
        open_checkpoint(folder)


def test_a_module_that_the_config_excepts_is_told(tmp_path: Path) -> None:
    config = AWQ | {"modules_to_not_convert": [tiny.UP, "lm_head"]}
    checkpoint = open_checkpoint(tiny.packed(tmp_path / "f", by_hand.awq(32), quantization_config=config).path)
    assert checkpoint.packing is not None
    assert any(f"says that {tiny.UP}.weight is not packed, but the file has it" in n for n in checkpoint.packing.told())


def test_what_happens_to_activations_is_told(tmp_path: Path) -> None:
    config = groups() | {"kv_cache_scheme": {"num_bits": 8}}
    config["config_groups"]["group_0"]["input_activations"] = {"num_bits": 8, "dynamic": True}
    checkpoint = open_checkpoint(tiny.packed(tmp_path / "f", by_hand.int4, quantization_config=config).path)
    assert checkpoint.packing is not None
    told = " ".join(checkpoint.packing.told())
    assert "its owner computes with activations of 8 bits; zoo does not round them" in told
    assert "its owner keeps the cache in few bits; zoo does not round it" in told


JUNK: list[Any] = [None, True, 0, -1, 16, 2**70, 1.5, "", "x", [], [[1]], {}, {"a": 1}, "\x00"]
SHAPES: list[tuple[int, ...]] = [(), (0,), (0, 0), (3, 5), (2, 3, 4)]


@pytest.mark.parametrize("kind", KINDS)
def test_headers_and_settings_of_any_kind_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    pack, config = KINDS[kind]
    folder = tiny.packed(tmp_path / "f", pack, quantization_config=config)
    infos = read_header(folder.path / "model.safetensors").tensors
    rng = Random(kind)
    for _ in range(200):
        keys, found = deepcopy(config), dict(infos)
        group = rng.choice([keys, *(keys.get("config_groups", {}).get("group_0", {}).values())])
        if isinstance(group, dict):
            group[rng.choice(sorted(group))] = rng.choice(JUNK)
        name = rng.choice(sorted(found))
        changed = {"shape": rng.choice(SHAPES)} if rng.random() < 0.5 else {"dtype": rng.choice(["int8", "float32"])}
        found[name] = replace(found[name], **(changed if rng.random() < 0.7 else {}))
        with contextlib.suppress(CheckpointError):
            packing = recognise({"quantization_config": keys}, folder.path / "config.json", found)
            assert packing is None or packing.in_words(packing.shown(found))
