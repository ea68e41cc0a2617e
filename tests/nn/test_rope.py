"""Rotary embedding against complex multiplication and against transformers' own frequencies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.nn.naive import turn
from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import attention_factor, frequencies
from zoo.nn import Rope

DIM, MAX_LEN = 64, 512

LONG = {
    "short_factor": [1.0 + 0.01 * i for i in range(DIM // 2)],
    "long_factor": [1.5 + 0.5 * i for i in range(DIM // 2)],
}
BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {  # label -> (scaling, its settings, in both vocabularies alike)
    "linear": ("linear", {"factor": 4.0}),
    "linear-fraction": ("linear", {"factor": 2.5, "theta": 5e5}),
    "dynamic": ("dynamic", {"factor": 4.0}),
    "llama3.1": ("llama3", {"factor": 8.0, **BANDS, "original": 8192, "theta": 5e5}),
    "llama3.2": ("llama3", {"factor": 32.0, **BANDS, "original": 64}),
    "yarn": ("yarn", {"factor": 4.0, "original": 128}),
    "yarn-theta": ("yarn", {"factor": 40.0, "original": 4096, "theta": 1e6}),
    "yarn-betas": ("yarn", {"factor": 8.0, "original": 64, "beta_fast": 20.0, "beta_slow": 2.5}),
    "yarn-exact": ("yarn", {"factor": 8.0, "original": 64, "truncate": False}),
    "yarn-given": ("yarn", {"factor": 8.0, "original": 64, "attention_factor": 1.3}),
    "yarn-all-stretched": ("yarn", {"factor": 4.0, "original": 1024, "theta": 10.0}),  # a ramp beyond the last channel
    "yarn-no-ramp": ("yarn", {"factor": 4.0, "original": 512, "beta_fast": 4.0, "beta_slow": 4.0, "truncate": False}),
    "yarn-deepseek": ("yarn", {"factor": 40.0, "original": 4096, "mscale": 0.707, "mscale_all_dim": 0.707}),
    "yarn-mscales": ("yarn", {"factor": 40.0, "original": 4096, "mscale": 1.0, "mscale_all_dim": 0.5}),
    "yarn-half-mscale": ("yarn", {"factor": 40.0, "original": 4096, "mscale": 0.7}),
    "longrope": ("longrope", {"original": 128, **LONG}),
    "longrope-given": ("longrope", {"original": 128, "attention_factor": 1.19, **LONG}),
    "longrope-factor": ("longrope", {"original": 128, "factor": 32.0, **LONG}),
    "longrope-no-stretch": ("longrope", {"original": MAX_LEN, **LONG}),
}  # fmt: skip
kinds = pytest.mark.parametrize("label", KINDS)


def ours(label: str) -> RopeConfig:
    scaling, values = KINDS[label]
    values = {{"original": "original_max_seq_len"}.get(k, k): v for k, v in values.items()}
    return RopeConfig(scaling=scaling, **values)


def theirs(label: str, length: int | None, partial: float = 1.0) -> tuple[torch.Tensor, float]:
    """(frequencies, attention factor) as transformers computes them, in float32."""
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils", reason="the reference extra is not installed")
    from transformers import LlamaConfig

    scaling, values = KINDS[label]
    names = {"original": "original_max_position_embeddings", "theta": "rope_theta"}
    group = {"rope_theta": 10_000.0} | {names.get(k, k): v for k, v in values.items()}
    config = LlamaConfig(
        head_dim=DIM,
        max_position_embeddings=MAX_LEN,
        rope_parameters={"rope_type": scaling, "partial_rotary_factor": partial, **group},
    )
    return rope_utils.ROPE_INIT_FUNCTIONS[scaling](config, "cpu", seq_len=length)


@pytest.mark.slow
@kinds
@pytest.mark.parametrize("length", [None, 100, 129, 600, 5000])
def test_frequencies_equal_those_of_transformers(label: str, length: int | None) -> None:
    expected, factor = theirs(label, length)
    found = torch.tensor(frequencies(DIM, ours(label), MAX_LEN, length))
    # They compute in float32, whose power function is good to a few units in the last place (6e-8 each).
    assert torch.allclose(found, expected.double(), rtol=1e-6, atol=0)
    assert attention_factor(ours(label), MAX_LEN) == pytest.approx(factor, rel=1e-12)


@pytest.mark.slow
def test_partial_rotary_frequencies_are_those_of_the_rotary_channels() -> None:
    scaling, values = KINDS["yarn"]
    expected, _ = theirs("yarn", None, partial=0.5)
    rope = RopeConfig(scaling=scaling, partial=0.5, factor=values["factor"], original_max_seq_len=values["original"])
    assert torch.allclose(torch.tensor(Rope(DIM, rope, MAX_LEN).short), expected.double(), rtol=1e-6, atol=0)


def test_unscaled_frequencies_are_a_geometric_series() -> None:
    assert frequencies(6, RopeConfig(theta=8.0), 99) == pytest.approx([1.0, 0.5, 0.25], rel=1e-15)


@pytest.mark.parametrize("label", ["dynamic", "longrope"])
def test_each_row_turns_by_the_frequencies_of_its_own_length(label: str) -> None:
    rope, positions = Rope(DIM, ours(label), MAX_LEN), torch.tensor([[7], [7], [7], [7]])
    lengths = torch.tensor([8, 128, 513, 5000])
    cos, sin = rope(positions, torch.float64, lengths)
    for row, length in enumerate(lengths.tolist()):
        angles = 7 * torch.tensor(frequencies(DIM, ours(label), MAX_LEN, length))
        assert torch.allclose(cos[row, 0, 0, DIM // 2 :], angles.cos() * rope.factor, rtol=0, atol=1e-12)
        assert torch.allclose(sin[row, 0, 0, DIM // 2 :], angles.sin() * rope.factor, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_interleaved", [False, True], ids=["halves", "interleaved"])
@pytest.mark.parametrize("partial", [1.0, 0.5])
def test_rotation_is_complex_multiplication(is_interleaved: bool, partial: float) -> None:
    rope = Rope(12, RopeConfig(theta=50.0, partial=partial), 32, is_interleaved=is_interleaved)
    x = torch.randn(1, 9, 3, 12)
    found = rope.rotate(x, rope(torch.arange(9)[None], torch.float64))
    assert torch.allclose(found[0], turn(x[0], torch.tensor(rope.short), is_interleaved), rtol=0, atol=1e-13)
    assert torch.equal(found[..., rope.dim :], x[..., rope.dim :])


def test_interleaved_is_halves_with_the_channels_renumbered() -> None:
    halves = Rope(12, RopeConfig(theta=50.0), 32)
    interleaved = Rope(12, RopeConfig(theta=50.0), 32, is_interleaved=True)
    x, positions = torch.randn(2, 9, 3, 12), torch.arange(9)[None]
    order = torch.arange(12).reshape(6, 2).T.flatten()  # 0 2 4 ... 1 3 5 ...
    a = interleaved.rotate(x, interleaved(positions, torch.float64))[..., order]
    b = halves.rotate(x[..., order], halves(positions, torch.float64))
    assert torch.equal(a, b)


@kinds
@pytest.mark.parametrize("is_interleaved", [False, True], ids=["halves", "interleaved"])
def test_scores_depend_on_the_distance_only(label: str, is_interleaved: bool) -> None:
    rope = Rope(DIM, ours(label), MAX_LEN, is_interleaved=is_interleaved)
    q, k = torch.randn(2, 1, 1, 1, DIM)

    def score(q_position: int, k_position: int) -> float:
        a = rope.rotate(q, rope(torch.tensor([[q_position]]), torch.float64))
        b = rope.rotate(k, rope(torch.tensor([[k_position]]), torch.float64))
        return (a * b).sum().item()

    # Angles up to 400 rad in float64 are good to 1e-13; the score sums 64 products of order 1.
    assert score(7, 3) == pytest.approx(score(404, 400), abs=1e-11)
    assert abs(score(7, 3) - score(7, 4)) > 1e-3


@kinds
def test_rotation_changes_lengths_by_the_attention_factor_only(label: str) -> None:
    rope, x = Rope(DIM, ours(label), MAX_LEN), torch.randn(1, 5, 2, DIM)
    norms = rope.rotate(x, rope(torch.arange(5)[None] * 99, torch.float64)).norm(dim=-1)
    assert torch.allclose(norms, x.norm(dim=-1) * rope.factor, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_neighbouring_far_positions_stay_apart_in_half_precision(dtype: torch.dtype) -> None:
    """8190 and 8191 are one number in bfloat16: the angles must be formed before the cast."""
    rope = Rope(DIM, RopeConfig(), 8192)
    positions = torch.tensor([[8190, 8191]])
    cos, sin = rope(positions, dtype)
    exact_cos, exact_sin = rope(positions, torch.float64)
    assert cos.dtype == sin.dtype == dtype
    # float32 angles near 8191 are good to 5e-4; the cast to bfloat16 adds 2^-9.
    assert torch.allclose(cos.double(), exact_cos, rtol=0, atol=3e-3)
    assert torch.allclose(sin.double(), exact_sin, rtol=0, atol=3e-3)


def test_holds_no_buffers_and_so_works_on_every_device() -> None:
    rope = Rope(DIM, ours("yarn"), MAX_LEN)
    assert not rope.state_dict()
    assert not list(rope.buffers())
    cos, _ = rope(torch.arange(4, device="meta")[None], torch.float32)
    assert cos.device.type == "meta"
    assert cos.shape == (1, 4, 1, DIM)


def test_yarn_temperature_is_the_papers() -> None:
    """Scores grow by (0.1 ln s + 1)^2 (arXiv:2309.00071, eq. 22): that factor once on q and once on k."""
    assert Rope(DIM, ours("yarn"), MAX_LEN).factor == pytest.approx(0.1 * math.log(4.0) + 1, rel=1e-15)
