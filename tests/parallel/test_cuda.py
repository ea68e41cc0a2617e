"""One CUDA device as a mesh of one rank over NCCL: the ways that the other tests go over gloo. Skipped without one.

ZOO_SMOKE_DEVICE=cpu goes the same ways over gloo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo

DEVICE = os.environ.get("ZOO_SMOKE_DEVICE", "cuda")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A mesh without names, which is cut over whatever its size: one rank holds all of the cut weights."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    store = tmp_path_factory.mktemp("ranks") / "store"
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=store.as_uri(), rank=0, world_size=1)
    yield init_device_mesh(DEVICE, (1,))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def plain() -> Any:
    return zoo.build("tiny", device=DEVICE)


def tokens() -> torch.Tensor:
    return torch.arange(24, device=DEVICE).reshape(2, 12) * 7 % 250


def test_a_model_that_is_cut_computes_what_a_plain_one_does(mesh: Any, plain: Any) -> None:
    """Rows, columns, vocabulary and their sums through NCCL, forward and backward."""
    from zoo.parallel.gathering import is_over_ranks, whole

    cut = zoo.build("tiny", device=DEVICE, mesh=mesh)
    assert any(is_over_ranks(p) for p in cut.parameters())
    outputs = [model(tokens()) for model in (plain, cut)]
    # One rank adds nothing up, but a library of matrices may choose another algorithm for another layout: float32.
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    for out in outputs:
        out.square().mean().backward()
    expected = dict(plain.named_parameters())
    for name, p in cut.named_parameters():
        torch.testing.assert_close(whole(p.grad), expected[name].grad, rtol=1e-4, atol=1e-6)
    plain.zero_grad(set_to_none=True)


def test_a_step_of_fsdp2_is_that_of_a_plain_model(mesh: Any) -> None:
    from zoo.parallel.gathering import whole
    from zoo.parallel.sharding import shard

    models = [zoo.build("tiny", device=DEVICE) for _ in range(2)]
    shard(models[1], mesh)
    for model in models:
        model(tokens()).square().mean().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()  # AdamW's first step is the sign of what may be noise
    expected = dict(models[0].named_parameters())
    for name, p in models[1].named_parameters():
        torch.testing.assert_close(whole(p), expected[name], rtol=1e-4, atol=1e-6)


def test_a_folder_of_dcp_is_read_again_by_torch_bit_for_bit(mesh: Any, plain: Any, tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    from zoo.parallel.gathering import whole

    cut = zoo.build("tiny", device=DEVICE, mesh=mesh)
    dcp.save({"model": dict(cut.named_parameters())}, checkpoint_id=str(tmp_path / "dcp"))
    state = {name: torch.empty_like(p) for name, p in plain.named_parameters()}
    dcp.load({"model": state}, checkpoint_id=str(tmp_path / "dcp"))
    for name, p in cut.named_parameters():
        assert torch.equal(state[name], whole(p.detach())), name


def test_it_loads_and_saves_the_same_bytes(mesh: Any, plain: Any, tmp_path: Path) -> None:
    zoo.save(plain, tmp_path / "one")
    cut = zoo.load(tmp_path / "one", device=DEVICE, mesh=mesh)
    assert next(cut.parameters()).device.type == DEVICE
    zoo.save(cut, tmp_path / "other")
    for file in (tmp_path / "one").glob("*.safetensors"):
        assert (tmp_path / "other" / file.name).read_bytes() == file.read_bytes()


def test_generate_says_on_the_device_what_it_says_on_the_cpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.cli import main

    words = ["generate", "tiny", "-p", "She had been", "--temperature", "0", "--tokens", "16", "--dtype", "float32"]
    told = []
    for device in ("cpu", DEVICE):
        with pytest.raises(SystemExit) as end:
            main([*words, "--device", device])
        assert end.value.code == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
