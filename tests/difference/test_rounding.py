"""One checkpoint is told to be another rounded where it is, and what no rounding explains is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from tests.files.packed import by_hand, tiny
from tests.files.packed.test_small_floats import CASES as FLOATS
from tests.files.packed.test_words_of_32 import AWQ
from tests.files.packed.test_words_of_32 import CASES as WORDS
from tests.some import some
from zoo.difference import diff
from zoo.difference.grid import Grid
from zoo.difference.rounding import fit

LAYER = "layers.0"
GRID = Grid("4 bits", 4, 32)
KEPT = {"norm", "embedding", "head"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("plain") / "f", tiny.weights(torch.float16), torch_dtype="float16")


def rounded(matrix: Tensor, bits: int = 4, size: int = 32) -> Tensor:
    """To nearest, a scale and a zero point for each group."""
    groups = np.arange(matrix.shape[1]) // size
    codes, zeros, scales = by_hand.quantise(matrix, bits, groups, symmetric=False)
    return by_hand.numbers(codes, zeros, scales, groups).float()


def drawn(rows: int = 96, columns: int = 256) -> Tensor:
    return 0.05 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def by_row(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """8-bit floats, the largest of each row at the end of the scale."""
    scale = matrix.float().abs().amax(1, keepdim=True) / 448
    codes = (matrix.float() / scale).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}, (codes.float() * scale).to(matrix.dtype)


FORMS = WORDS | {"floats by row": (by_row, FLOATS["by row"][1], "")}


@pytest.mark.parametrize("case", some(FORMS, "awq", "floats by row"))
def test_what_was_rounded_to_nearest_is_told_so_whatever_the_format(case: str, plain: Path, tmp_path: Path) -> None:
    pack, config, _ = FORMS[case]
    folder = tiny.packed(tmp_path / "f", pack, "float16", quantization_config=config)
    found = diff(plain, folder.path)
    told = found.rounding
    assert told is not None
    assert told.explains, told.lines()
    assert told.side == "B"
    before = tiny.weights(torch.float16)
    expected = {
        name: ((folder.unpacked[name].double() - w.double()).norm() / w.double().norm()).item()
        for name, w in before.items()
        if name.endswith(f"{tiny.UP.rpartition('.')[2]}.weight") or "mlp" in name
    }
    mlp = next(role for role in told.roles if role.role == "mlp")
    assert mlp.worst == pytest.approx(max(expected.values()), rel=1e-6)
    assert mlp.median == pytest.approx(float(np.median([*expected.values()])), rel=1e-6)
    assert not KEPT & {role.role for role in told.roles}
    other = diff(folder.path, plain).rounding  # the same, seen from the other side
    assert other is not None
    assert (other.side, other.explains, other.roles) == ("A", True, told.roles)


def swap(one: str, other: str) -> Callable[[dict[str, Tensor]], None]:
    def change(held: dict[str, Tensor]) -> None:
        for part in [name.removeprefix(one) for name in held if name.startswith(one)]:
            held[one + part], held[other + part] = held[other + part], held[one + part]

    return change


def scales(module: str, change: Callable[[Tensor], Any]) -> Callable[[dict[str, Tensor]], None]:
    return lambda held: held.__setitem__(f"{module}.scales", change(held[f"{module}.scales"].clone()))


def at(tensor: Tensor, place: Any, factor: float) -> Tensor:
    tensor[place] *= factor
    return tensor


HURT: dict[str, tuple[str, Callable[[dict[str, Tensor]], None], str]] = {
    "swapped matrices": ("gate_proj", swap(tiny.MODULES[4] + ".", tiny.UP + "."), "unlike the original's"),
    "all scales": ("up_proj", scales(tiny.UP, lambda s: s * 1.1), "1.09"),
    "scales of the half": ("up_proj", scales(tiny.UP, lambda s: s / 2), "0.49"),
    "a column's scales": ("up_proj", scales(tiny.UP, lambda s: at(s, (slice(None), 5), 1.5)), "the first 5"),
    "one scale": ("up_proj", scales(tiny.UP, lambda s: at(s, (1, 5), 2)), "row"),
    "scales one on": ("up_proj", scales(tiny.UP, lambda s: s.roll(1, 1)), "times"),
    "words of another order": (
        "down_proj",
        lambda held: held.__setitem__(f"{tiny.DOWN}.qweight", held[f"{tiny.DOWN}.qweight"].flip(0).contiguous()),
        "unlike",
    ),
    "a norm": ("norm.weight", lambda held: held["model.norm.weight"].mul_(1.01), "half a step"),
    "a number of the head": ("lm_head", lambda held: held["lm_head.weight"][3].mul_(1.01), "half a step"),
}  # fmt: skip


@pytest.mark.parametrize("case", some(HURT, "swapped matrices", "one scale", "a norm"))
def test_what_rounding_does_not_explain_is_named(case: str, plain: Path, tmp_path: Path) -> None:
    name, change, words = HURT[case]
    stored: dict[str, Tensor] = {}
    for key, tensor in tiny.weights(torch.float16).items():
        module = key.removesuffix(".weight")
        parts = by_hand.awq(32)(module, tensor)[0] if module in tiny.SHAPES else {"weight": tensor}
        stored |= {f"{module}.{part}": value for part, value in parts.items()}
    change(stored)
    told = diff(plain, tiny.write(tmp_path / "f", stored, torch_dtype="float16", quantization_config=AWQ)).rounding
    assert told is not None
    assert not told.explains
    assert any(name in weight and words in "; ".join(reasons) for weight, reasons in told.beyond.items()), told.beyond


def test_scales_that_awq_moves_into_norms_and_rows_are_followed(tmp_path: Path) -> None:
    before = tiny.weights(torch.float16)
    generator = torch.Generator().manual_seed(3)

    def scale(count: int) -> Tensor:
        return (0.7 * torch.randn(count, generator=generator)).exp()

    after = {name: tensor.float() for name, tensor in before.items()}
    for norm, readers in (("input_layernorm", tiny.MODULES[:3]), ("post_attention_layernorm", tiny.MODULES[4:6])):
        s = scale(tiny.HIDDEN)
        after[f"{tiny.LAYER}.{norm}.weight"] /= s
        for reader in readers:
            after[f"{reader}.weight"] *= s
    s = scale(tiny.FFN)
    after[f"{tiny.UP}.weight"] /= s[:, None]
    after[f"{tiny.DOWN}.weight"] *= s
    wide = tiny.write(tmp_path / "a", before, torch_dtype="float16")

    def written(name: str) -> Path:
        stored: dict[str, Tensor] = {}
        for key, tensor in after.items():
            module = key.removesuffix(".weight")
            parts = by_hand.awq(32)(module, tensor.half())[0] if module in tiny.SHAPES else {"weight": tensor.half()}
            stored |= {f"{module}.{part}": value for part, value in parts.items()}
        return tiny.write(tmp_path / name, stored, torch_dtype="float16", quantization_config=AWQ)

    told = diff(wide, written("b")).rounding
    assert told is not None
    assert told.explains, told.lines()
    after[f"{tiny.MODULES[5]}.weight"] /= scale(tiny.HIDDEN)  # what the norm does not undo
    spoilt = diff(wide, written("c")).rounding
    assert spoilt is not None
    assert f"{LAYER}.mlp.up_proj.weight" in spoilt.beyond
    assert f"{LAYER}.mlp_norm.weight" in spoilt.beyond


def test_another_setting_is_beyond_rounding(plain: Path, tmp_path: Path) -> None:
    pack, config, _ = WORDS["awq"]
    folder = tiny.packed(tmp_path / "f", pack, "float16", quantization_config=config, rope_theta=5e5)
    told = diff(plain, folder.path).rounding
    assert told is not None
    assert [*told.beyond] == ["model.rope.theta"]


def test_a_narrower_float_is_a_rounding_too(plain: Path, tmp_path: Path) -> None:
    wide = tiny.weights(torch.float32)
    narrow = tiny.write(tmp_path / "b", {n: t.bfloat16() for n, t in wide.items()}, torch_dtype="bfloat16")
    told = diff(tiny.write(tmp_path / "a", wide, torch_dtype="float32"), narrow).rounding
    assert told is not None
    assert told.explains
    assert told.words == "bfloat16 (12)"
    assert diff(plain, plain).rounding is None


CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "rows": (lambda b: b[[1, 0, *range(2, len(b))]], "2 of 96 rows, the first 0"),
    "columns": (lambda b: b[:, [1, 0, *range(2, b.shape[1])]], "2 of 256 columns, the first 0"),
    "a column's scale": (lambda b: b * torch.where(torch.arange(256) == 7, 2.0, 1.0), "1 of 256 columns, the first 7"),
    "a row's scale": (lambda b: b * torch.where(torch.arange(96) == 7, 1.2, 1.0)[:, None], "1 of 96 rows, the first 7"),
    "halves for pairs": (lambda b: b.unflatten(0, (-1, 2, 8)).transpose(1, 2).flatten(0, 2), "unlike"),
    "nothing": (torch.zeros_like, "unlike"),
    "a shift": (lambda b: b + 0.02, "times"),
    "a number": (lambda b: b + torch.where(torch.arange(b.numel()).view_as(b) == 300, 0.2, 0.0), "the first 1:"),
}


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CHANGES)
def test_a_change_within_a_matrix_is_placed(case: str, bits: int) -> None:
    a, (change, words) = drawn(), CHANGES[case]
    grid = Grid("some", bits, 32)
    right = fit(a, rounded(a, bits), grid)
    assert right.beyond == ()
    assert right.is_nearest
    wrong = fit(a, change(rounded(a, bits)), grid)
    assert words in "; ".join(wrong.beyond) or (bits == 8 and wrong.beyond), wrong


def test_errors_that_calibration_spreads_are_a_rounding_up_to_a_bound() -> None:
    a, noise = drawn(), torch.randn(96, 256, generator=torch.Generator().manual_seed(2))
    error = (rounded(a) - a).square().mean().sqrt()
    spread, far = fit(a, rounded(a + 1.5 * error * noise), GRID), fit(a, rounded(a + 6 * error * noise), GRID)
    assert (spread.beyond, spread.is_nearest) == ((), False)
    assert far.beyond


@pytest.mark.parametrize("form", some(["int8", "int4-128"], "int8"))
def test_a_checkpoint_is_held_to_its_own_rounding_without_writing_it(form: str) -> None:
    found = diff("tiny", f"tiny quantize={form}")
    model = zoo.load("tiny", quantize=form)
    assert {t.name: t.fit.relative for t in found.tensors if t.fit and t.tally.changed} == pytest.approx(
        model.rounded.errors,
        rel=1e-4,  # float32 sums there
    )
    assert found.rounding is not None
    assert found.rounding.explains
