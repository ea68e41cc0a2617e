"""NaN is looked for in threads beside the placing of weights: nothing is passed over, and the first is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.checkpoint import checks
from zoo.checkpoint.checks import FiniteBeside
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.errors import CheckpointError

TINY = Path(zoo.__file__).parent / "box" / "tiny"


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return inspect(TINY)


@pytest.fixture(params=[1, 6])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many as torch says that there are; pieces of few bytes, and a few bytes that may be ahead."""
    monkeypatch.setattr(checks.torch, "get_num_threads", lambda: request.param)
    monkeypatch.setattr(FiniteBeside, "PIECE", 64)
    monkeypatch.setattr(FiniteBeside, "WAITING", 200)
    return int(request.param)


NAMES = ("embed.weight", "layers.0.attn_norm.weight", "layers.0.mlp.up_proj.weight")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
@pytest.mark.parametrize("at", [0, 31, 32, 499, 999])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_nan_is_found_wherever_it_is(ledger: Ledger, threads: int, dtype: Any, at: int, which: int) -> None:
    tensors = [torch.ones(1000).to(dtype) for _ in NAMES]
    with FiniteBeside(ledger) as beside:
        for name, tensor in zip(NAMES, tensors, strict=True):
            beside.check(name, tensor)
    bad = torch.ones(1000)
    bad[at] = torch.nan
    tensors[which] = bad.to(dtype)

    def check() -> None:
        with FiniteBeside(ledger) as beside:
            for name, tensor in zip(NAMES, tensors, strict=True):
                beside.check(name, tensor)

    with pytest.raises(CheckpointError, match=rf"our {NAMES[which]}\): it contains NaN or infinity"):
        check()


def test_no_more_than_so_many_bytes_are_ahead(ledger: Ledger, threads: int) -> None:
    with FiniteBeside(ledger) as beside:
        for _ in range(20):
            beside.check(NAMES[0], torch.ones(1000))
            assert beside._ahead <= beside.WAITING
            assert sum(len(data) for _, data, _ in beside._waiting) == beside._ahead


def test_of_two_the_first_is_told(ledger: Ledger, threads: int) -> None:
    def check() -> None:
        with FiniteBeside(ledger) as beside:
            for name in NAMES[1:]:
                beside.check(name, torch.full((40, 40), torch.inf).T)

    with pytest.raises(CheckpointError, match=NAMES[1]):
        check()


def test_another_error_is_told_as_it_is_and_nothing_is_waited_for(ledger: Ledger, threads: int) -> None:
    def check() -> None:
        with FiniteBeside(ledger) as beside:
            beside.check(NAMES[0], torch.full((1,), torch.nan))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check()


def test_what_was_not_finite_for_a_moment_is_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights lie in the file's mapping, which another program may write to between the two looks."""
    monkeypatch.setattr(checks, "are_finite", lambda pieces, num_threads: False)

    def check() -> None:
        with FiniteBeside(ledger) as beside:
            beside.check(NAMES[0], torch.ones(3))

    with pytest.raises(CheckpointError, match="it contains NaN or infinity"):
        check()


@pytest.mark.parametrize("what", [torch.zeros(0, 3), torch.arange(5), torch.tensor([True]), torch.ones(2, 2).T[:1]])
def test_what_has_no_such_numbers_is_let_through(ledger: Ledger, threads: int, what: torch.Tensor) -> None:
    with FiniteBeside(ledger) as beside:
        beside.check(NAMES[0], what)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float32"}, {"quantize": "int8"}], ids=["as it lies", "cast", "int8"]
)
def test_every_weight_that_a_model_has_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(FiniteBeside, "PIECE", 1 << 16)
    (tmp_path / "config.json").write_bytes((TINY / "config.json").read_bytes())
    whole = load_file(TINY / "model.safetensors")
    for name, value in whole.items():
        spoilt = value.clone()
        spoilt.view(-1)[-1] = -torch.inf
        save_file(whole | {name: spoilt}, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=rf"{name}.*it contains NaN or infinity"):
            zoo.load(tmp_path, **options)
