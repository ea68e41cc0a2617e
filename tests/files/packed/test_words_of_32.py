"""GPTQ and AWQ: integers in words of 32 bits, packed here bit by bit from the published layouts, in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.files.packed import by_hand, tiny
from tests.some import one_in
from zoo.errors import CheckpointError, UsageError
from zoo.files.checkpoint import open_checkpoint
from zoo.registry import installed

GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
ROUND: dict[str, Any] = {
    "quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": True, "data_type": "int", "iters": 200,
    "packing_format": "auto_round:auto_gptq", "autoround_version": "0.8.0", "block_name_to_quantize": "model.layers",
}  # fmt: skip
CASES: dict[str, tuple[by_hand.Pack, dict[str, Any], str]] = {
    "4 bits": (by_hand.gptq(4, 32), GPTQ, "GPTQ, 4 bits, groups of 32, symmetric: yes"),
    "2 bits": (by_hand.gptq(2, 32), GPTQ | {"bits": 2}, "GPTQ, 2 bits"),
    "3 bits": (by_hand.gptq(3, 32), GPTQ | {"bits": 3}, "GPTQ, 3 bits"),
    "8 bits": (by_hand.gptq(8, 32), GPTQ | {"bits": 8}, "GPTQ, 8 bits"),
    "3 bits, zeros": (
        by_hand.gptq(3, 16, symmetric=False),
        GPTQ | {"bits": 3, "group_size": 16, "sym": False},
        "symmetric: no",
    ),
    "zeros as they are": (
        by_hand.gptq(4, 32, symmetric=False, v2=True),
        GPTQ | {"sym": False, "checkpoint_format": "gptq_v2"},
        "GPTQ v2, 4 bits",
    ),
    "ordered": (
        by_hand.gptq(4, 16, ordered=True),
        GPTQ | {"group_size": 16, "desc_act": True},
        "columns ordered by activation",
    ),
    "one group": (by_hand.gptq(4, -1), GPTQ | {"group_size": -1}, "one group per row"),
    "a ragged group": (by_hand.gptq(4, 40), GPTQ | {"group_size": 40}, "groups of 40"),
    "no list of groups": (by_hand.gptq(4, 32, index=False), GPTQ, "groups of 32"),
    "others by module": (by_hand.gptq(8, 32), GPTQ | {"dynamic": {"+:.*": {"bits": 8}}}, "GPTQ, 8 bits, groups of 32"),
    "auto-round": (by_hand.gptq(4, 32, index=False), ROUND, "AutoRound in the layout of GPTQ, 4 bits, groups of 32"),
    "auto-round, zeros as they are": (
        by_hand.gptq(4, 32, symmetric=False, v2=True, index=False),
        ROUND
        | {"quant_method": "intel/auto-round", "sym": False, "packing_format": None, "backend": "auto_round:triton"},
        "AutoRound in the layout of GPTQ v2, 4 bits",
    ),
    "auto-round, awq": (
        by_hand.awq(32),
        ROUND | {"sym": False, "packing_format": "auto_round:auto_awq"},
        "AutoRound in the layout of AWQ, 4 bits",
    ),
    "auto-round, bits by module": (
        by_hand.gptq(8, 32, index=False),
        ROUND
        | {
            "extra_config": {
                r".*self_attn.*": {"bits": 8},
                **{m: {"bits": 8} for m in tiny.MODULES if "mlp" in m},
                "lm_head": {"bits": 16},
            }
        },
        "AutoRound in the layout of GPTQ, 8 bits, groups of 32",
    ),
    "awq": (by_hand.awq(32), AWQ, "AWQ, 4 bits, groups of 32, symmetric: no"),
    "awq, one group": (by_hand.awq(-1), AWQ | {"group_size": -1}, "AWQ, 4 bits, one group per row"),
}


@pytest.mark.parametrize("case", one_in(4, CASES))
def test_each_layout_is_unpacked_to_the_numbers_that_were_packed(case: str, tmp_path: Path) -> None:
    pack, config, told = CASES[case]
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config)
    checkpoint = tiny.check(folder)
    assert checkpoint.packing is not None
    assert told in checkpoint.packing.in_words(checkpoint.tensors)


@pytest.mark.parametrize("case", ["3 bits, zeros", "ordered", "awq"])
def test_some_rows_are_those_of_the_whole(case: str, tmp_path: Path) -> None:
    pack, config, _ = CASES[case]
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config)
    checkpoint = open_checkpoint(folder.path)
    assert checkpoint.packing is not None
    matrix = checkpoint.packing.matrices[f"{tiny.UP}.weight"]
    with checkpoint.open_parts() as raw:
        parts = {role: raw[info.name] for role, info in matrix.parts.items()}
        for rows in (slice(0, 1), slice(5, 23), slice(90, 96), slice(4, 4), slice(None)):
            assert torch.equal(matrix.unpack(parts, rows), folder.unpacked[matrix.name][rows])


def test_a_model_in_another_type_has_the_numbers_rounded_once_more(tmp_path: Path) -> None:
    pack, config, _ = CASES["awq"]
    folder = tiny.packed(tmp_path / "f", pack, dtype="bfloat16", quantization_config=config)
    expected = {name: tensor.bfloat16() for name, tensor in folder.unpacked.items()}
    tiny.check(folder._replace(unpacked=expected))


def test_a_zero_point_that_tools_read_differently_is_refused(tmp_path: Path) -> None:
    with_zero = tiny.packed(tmp_path / "g", lowest_zero, dtype="float16", quantization_config=GPTQ | {"sym": False})
    with (
        open_checkpoint(with_zero.path).open() as tensors,
        pytest.raises(CheckpointError, match=r"qzeros: has a stored zero point of 15, which no two tools read alike"),
    ):
        tensors[f"{tiny.UP}.weight"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"packing_format": "auto_round:mx_fp4"}, "zoo does not read AutoRound's 'auto_round:mx_fp4'"),
        ({"packing_format": "auto_round:fp8"}, "use the checkpoint in 16 or 32 bits"),
        ({"data_type": "nv_fp"}, "data_type: 'nv_fp' is not one of int"),
        ({"bits": 5}, "bits: 5 is not one of 2, 3, 4, 8"),
        ({"bits": 8, "packing_format": "auto_round:auto_awq"}, "bits: 8 is not one of 4"),
        ({"group_size": 0}, "group_size: 0 is not a number from 1"),
        ({"super_bits": 6}, "super_bits: zoo does not read scales that are packed themselves"),
        (
            {"extra_config": {tiny.UP: {"bits": 8}}},
            r"up_proj\.scales: is float16 \[2, 96\]\na matrix of \[96, 32\] in 8 bits",
        ),
        ({"extra_config": {tiny.UP: {"twist": 8}}}, r"extra_config\..*up_proj\.twist: the key is not known"),
        ({"rotation": "hadamard"}, "rotation: the key is not known"),
    ],
)
def test_what_auto_round_says_and_zoo_does_not_read_is_refused(
    config: dict[str, Any], told: str, tmp_path: Path
) -> None:
    pack = by_hand.gptq(4, 32, index=False)
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=ROUND | config)
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(folder.path)


@pytest.mark.parametrize(("v2", "layout"), [(True, "auto_round:auto_gptq"), (False, "auto_round:exllamav2")])
def test_auto_rounds_layouts_are_not_taken_for_each_other(v2: bool, layout: str, tmp_path: Path) -> None:
    """They differ by one in every zero point, which of symmetric codes is known to be the middle."""
    pack = by_hand.gptq(4, 32, v2=v2, index=False)
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=ROUND | {"packing_format": layout})
    with (
        open_checkpoint(folder.path).open() as tensors,
        pytest.raises(CheckpointError, match="has zero points beside the middle, and the config says symmetric"),
    ):
        tensors[f"{tiny.UP}.weight"]


@pytest.mark.parametrize(("v2", "format"), [(True, "gptq"), (False, "gptq_v2")])
def test_GPTQs_two_formats_are_not_taken_for_each_other(v2: bool, format: str, tmp_path: Path) -> None:
    """Other programs take symmetric codes about their middle, whatever the file says, or follow the file."""
    pack, config = by_hand.gptq(4, 32, v2=v2), GPTQ | {"checkpoint_format": format}
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config)
    with (
        open_checkpoint(folder.path).open() as tensors,
        pytest.raises(CheckpointError, match="has zero points beside the middle, and the config says symmetric"),
    ):
        tensors[f"{tiny.UP}.weight"]
    others = GPTQ | {"checkpoint_format": "gptq_v2" if v2 else "gptq", "dynamic": {"+:.*up.*": {"sym": False}}}
    pack = by_hand.gptq(4, 32, symmetric=False, v2=v2)
    tiny.check(tiny.packed(tmp_path / "g", pack, dtype="float16", quantization_config=others))


def test_the_middle_in_3_bits_is_known_as_GPTQModel_writes_it(tmp_path: Path) -> None:
    """It takes these ones from each three words of zero points, and gives them back when it reads."""
    ones = [0b00100100100100100100100100100100, 0b10010010010010010010010010010010, 0b01001001001001001001001001001001]
    second = by_hand.gptq(3, 16, v2=True)

    def pack(module: str, matrix: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        parts, numbers = second(module, matrix)
        taken = torch.tensor(ones).repeat(parts["qzeros"].shape[1] // 3)
        left = (parts["qzeros"].long() - taken) % 2**32
        parts["qzeros"] = (left - (left >= 2**31) * 2**32).int()
        return parts, numbers

    config = GPTQ | {"bits": 3, "group_size": 16}
    tiny.check(tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config))


def test_zero_points_of_3_bits_that_GPTQModel_wrote_in_the_first_format_are_refused(tmp_path: Path) -> None:
    """Where they are not the middle, nothing tells whether ones were taken from words or from codes."""
    for name, more in (("f", {}), ("g", {"checkpoint_format": "gptq_v2"})):
        config = GPTQ | {"bits": 3, "group_size": 16, "sym": False, "meta": {"quantizer": ["gptqmodel:4.0.0"]}} | more
        pack = by_hand.gptq(3, 16, symmetric=False, v2=bool(more))
        folder = tiny.packed(tmp_path / name, pack, dtype="float16", quantization_config=config)
        if more:
            tiny.check(folder)
        else:
            with pytest.raises(CheckpointError, match=r"qzeros.*not read the same by any two tools"):
                open_checkpoint(folder.path)


def test_zero_points_may_be_anywhere_where_nothing_is_said_of_them(tmp_path: Path) -> None:
    config = {key: value for key, value in GPTQ.items() if key != "sym"}
    pack = by_hand.gptq(4, 32, symmetric=False)
    tiny.check(tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config))


def test_modules_that_the_config_excepts_are_known_by_parts_of_their_path_and_by_patterns(tmp_path: Path) -> None:
    pack, config, _ = CASES["awq"]
    for i, (names, count) in enumerate(
        [(["mlp"], 3), (["re:.*self_attn"], 4), (["up_proj", "lm_head"], 1), (["attn", "model.layers.1"], 0)]
    ):
        keys = config | {"modules_to_not_convert": names}
        folder = tiny.packed(tmp_path / str(i), pack, dtype="float16", quantization_config=keys)
        packing = open_checkpoint(folder.path).packing
        assert packing is not None
        assert len(packing.matrices) == 7  # the file is followed
        assert len(packing.notes) == (count > 0)
        assert sum(module in " ".join(packing.notes) for module in tiny.MODULES) == min(count, 3)  # the others counted


@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
def test_settings_within_the_text_models_group_are_those_of_the_folder(tmp_path: Path) -> None:
    """As folders of models for pictures have them; said twice, they must say the same."""
    config = installed()["gemma3_vl"].config_class.tiny()
    zoo.save(zoo.build(config, device="cpu", dtype="bfloat16"), tmp_path / "a", format="hf")
    zoo.quantize(tmp_path / "a", tmp_path / "b", form="int8")
    expected = zoo.load(tmp_path / "b")
    file = tmp_path / "b" / "config.json"
    raw = json.loads(file.read_text())
    settings = raw.pop("quantization_config")
    raw["text_config"]["quantization_config"] = settings
    file.write_text(json.dumps(raw))
    found = zoo.load(tmp_path / "b")
    assert all(torch.equal(a, found.get_parameter(name)) for name, a in expected.named_parameters())
    kept = zoo.load(tmp_path / "b", keep_packed=True)
    with pytest.raises(UsageError, match=r"stands in a group of config\.json, text_config\.quantization_config"):
        zoo.save(kept, tmp_path / "c")
    file.write_text(json.dumps(raw | {"quantization_config": settings}))
    zoo.load(tmp_path / "b")
    file.write_text(json.dumps(raw | {"quantization_config": settings | {"ignore": []}}))
    with pytest.raises(CheckpointError, match="is not the same as quantization_config: which of them is right"):
        zoo.load(tmp_path / "b")


def lowest_zero(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    parts, out = by_hand.gptq(4, 32)(module, matrix)
    return parts | {"qzeros": parts["qzeros"] | 15}, out
