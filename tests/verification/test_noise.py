"""What a reference differs from itself by excuses that much, and no mistake.

References here are zoo's own models with a part in float32, or with noise put in by hand.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import zoo
from tests.verification.plants import side_by_side
from tests.verification.seeded import right
from zoo.cli import main
from zoo.errors import UsageError
from zoo.nn import Rope
from zoo.nn.rope import paired
from zoo.registry import installed
from zoo.verification import Verification, verify
from zoo.verification.bounds import LIMITS, limit_for
from zoo.verification.constants import constants, shaken
from zoo.verification.noise import EXACT, Noise

torch.set_num_threads(1)

SAME, ROUNDING, OTHER = "the same", "the same within the reference's own rounding", "not the same"


class NarrowRope(Rope):
    """Angles in float32 whatever is asked for, as GPT-J's in transformers."""

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Any:
        turns = paired(torch.tensor(self.short, dtype=torch.float32))
        angles = positions[..., None, None].to(torch.float32) * turns
        return angles.cos().to(dtype), angles.sin().to(dtype)


class HeldRope(Rope):
    """Sines and cosines in a buffer, rounded once and for all."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        angles = torch.arange(64.0)[:, None] * paired(torch.tensor(self.short))
        self.register_buffer("held", torch.cat((angles.cos(), angles.sin()), 1), persistent=False)

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Any:
        cos, sin = self.held[positions].to(dtype)[..., None, :].chunk(2, -1)
        return cos, sin


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return right(installed()["llama"].config_class.tiny())


def narrowed(model: nn.Module, kind: type[Rope] = NarrowRope) -> Any:
    other: Any = copy.deepcopy(model)
    rope = kind(other.config.head_dim, other.config.rope, other.config.max_seq_len)
    for layer in other.layers:
        layer.attn.rope = rope
    return other


def other_eps(m: Any) -> None:
    for layer in m.layers:
        layer.attn_norm.eps = layer.mlp_norm.eps = layer.attn_norm.eps / 10


def other_theta(m: Any) -> None:
    rope = replace(m.config.rope, theta=m.config.rope.theta * 1.001)
    for layer in m.layers:
        layer.attn.rope = Rope(m.config.head_dim, rope, m.config.max_seq_len)


def one_weight(m: Any) -> None:
    with torch.no_grad():
        m.layers[1].mlp.up_proj.weight[3, 5] *= 1 + 1e-6


def test_two_numbers_are_said_of_a_reference_that_rounds(model: nn.Module) -> None:
    result = verify(model, against=narrowed(model))
    assert (result.verdict, result.passed) == (ROUNDING, True)
    # float32 rounds by 6e-8, here angles of up to 60 radians.
    assert result.noise.size is not None
    assert 1e-8 < result.noise.size < 1e-5
    assert result.difference == pytest.approx(result.noise.size, rel=1e-6)
    assert result.noise.way == EXACT
    assert result.limit.source == "the reference's own noise"
    told = result.to_dict()
    assert told["verdict"] == ROUNDING
    assert (told["difference"], told["noise"]) == (result.difference, result.noise.size)
    assert told["difference"] <= told["limit"] == 4 * told["noise"]
    for words in (result.table(), result.html()):
        assert f"difference {result.difference:.1e}" in words
        assert f"noise of the reference {result.noise.size:.1e} ({EXACT})" in words
    assert f"{ROUNDING}." in result.table()


@pytest.mark.slow
@pytest.mark.parametrize("plant", [other_eps, other_theta, one_weight])
@pytest.mark.parametrize("is_narrow", [False, True], ids=["exact", "rounding"])
def test_noise_excuses_no_mistake(plant: Any, is_narrow: bool, model: nn.Module) -> None:
    """Even one that is smaller than the noise: it is held to the reference with exact constants, too."""
    wrong = copy.deepcopy(model)
    plant(wrong)
    result = verify(wrong, against=narrowed(model) if is_narrow else model)
    assert result.verdict == OTHER, result
    if plant is one_weight and is_narrow:
        assert result.noise.size is not None
        assert result.measures[0].is_ok  # what tells is the row of the exact constants
        assert result.divergence is not None
        assert result.divergence.place == "layers.1.mlp.up_proj"


def test_constants_that_cannot_be_computed_anew_are_shaken(model: nn.Module) -> None:
    other = narrowed(model, HeldRope)
    assert list(constants(other)) == ["layers.0.attn.rope.held"]
    result = verify(model, against=other)
    assert result.noise.way == "its constants moved by half a unit of float32"
    assert 1e-9 < (result.noise.size or 0) < 1e-6


def test_what_is_meant_as_it_stands_is_not_shaken() -> None:
    plain = torch.tensor([0.0, 1.0, -0.5, 3.0], dtype=torch.float64)
    third = torch.tensor(1 / 3, dtype=torch.float32).double()
    assert shaken({"plain": plain}) == {}
    assert shaken({"exact": torch.tensor([1 / 3], dtype=torch.float64)}) == {}  # more digits than float32 has
    moved = shaken({"both": torch.stack((third, plain[1]))})["both"]
    assert abs(moved[0] / third - 1).item() == pytest.approx(2.0**-24, rel=1e-6)
    assert moved[1] == 1


def test_a_reference_that_is_not_one_proves_nothing(model: nn.Module) -> None:
    """Dropout left on: it is far from itself, and that is not taken for rounding."""
    other: Any = copy.deepcopy(model)
    head, generator = other.lm_head.forward, torch.Generator().manual_seed(3)
    other.lm_head.forward = lambda x: head(x) + 1e-2 * torch.randn(61, generator=generator, dtype=x.dtype)
    result = verify(model, against=other)
    assert result.verdict == OTHER
    assert result.noise.size is None or result.noise.size < 1e-6
    assert "which is more than rounding: it cannot show" in result.table()
    assert result.limit.value <= LIMITS["float64"][0]


@pytest.mark.slow
def test_noise_is_no_first_divergence_and_hides_no_mistake(model: nn.Module) -> None:
    """A reference whose attention errs by 1e-9 in a way that nothing measures; the block of layer 1 is wrong."""
    other: Any = copy.deepcopy(model)
    attn = other.layers[0].attn
    whole, sway = attn.forward, torch.randn(24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    attn.forward = lambda *args: whole(*args) + 2e-9 * sway
    wrong = copy.deepcopy(model)
    side_by_side(wrong)
    result = verify(wrong, against=other)
    assert result.divergence is not None
    assert result.divergence.place == "layers.1"
    (found, *rest) = result.explanations
    assert (found.mistake, found.where) == ("block order", ("layers.1",))
    assert not rest


@pytest.mark.slow
def test_the_limit_is_the_callers_where_he_gives_one(model: nn.Module) -> None:
    wrong = copy.deepcopy(model)
    other_eps(wrong)
    far = verify(wrong, against=model).difference
    for limit, verdict in ((2 * far, SAME), (far / 2, OTHER)):
        result = verify(wrong, against=model, limit=limit)
        assert result.verdict == verdict
        assert (result.limit.value, result.limit.source) == (limit, "given")
        assert result.noise.size is not None
    for limit in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="not a largest difference"):
            verify(wrong, against=model, limit=limit)


def test_a_limit_below_rounding_blames_no_module(model: nn.Module) -> None:
    result = verify(model, against=narrowed(model), limit=1e-12)
    assert result.verdict == OTHER
    assert not result.explanations
    assert "no module differs by more than rounding" in result.table()


@pytest.mark.slow
def test_the_command_takes_a_limit_and_says_the_verdict() -> None:
    done = CliRunner().invoke(main, ["verify", "tiny", "--against", "tiny", "--limit", "1e-6", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (told["verdict"], told["limit"], told["limit_source"]) == (SAME, 1e-6, "given")
    assert CliRunner().invoke(main, ["verify", "tiny", "--limit", "0"]).exit_code == 2


def test_a_limit_follows_the_sums_of_the_reference_and_stays_within_the_dtype() -> None:
    """Sixteen times what two ways of summing differ by, no less than 1e-12 and no more than 1e-9."""
    for sums, expected in ((1e-15, 1e-12), (1e-12, 1.6e-11), (1e-8, 1e-9)):
        assert limit_for(torch.float64, Noise({"its rows one by one": sums})).plain == pytest.approx(expected)
    assert limit_for(torch.float64, Noise()).value == 1e-9
    assert limit_for(torch.float32, Noise({"its rows one by one": 1e-7})).value == 1e-4


def test_python_gets_a_record(model: nn.Module) -> None:
    result = zoo.verify(model, against=copy.deepcopy(model))
    assert isinstance(result, Verification)
    assert (result.verdict, result.difference) == (SAME, 0.0)
