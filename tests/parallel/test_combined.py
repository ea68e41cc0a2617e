"""A model that is cut in two ways at once, over four ranks, is the model of one process. Everything is in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import zoo
from zoo.errors import UsageError
from zoo.generation import generate
from zoo.parallel.estimate import of_rank
from zoo.parallel.layout import Layout
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.evened import evened
from zoo.testing.learning import gradients, learned, wrong_gradients
from zoo.testing.measure import difference

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")]

# Families, and the ways: an embedding that is the head, on both ends; biases, sinks and stacks of experts; experts in
# tensors of their own, and shared ones beside them.
CASES = [
    ("qwen3", ("pp", "tp"), {"num_layers": 3, "tie_embeddings": True}),
    ("llama", ("pp", "sp"), {"num_layers": 3}),
    ("gpt_oss", ("ep", "tp"), {"num_experts": 4}),
    ("deepseek", ("tp", "ep"), {}),
    ("qwen3_moe", ("ep", "pp"), {"num_experts": 4, "num_layers": 2}),
]  # fmt: skip


def subject(name: str, changes: dict[str, Any]) -> Subject:
    family = installed()[name]
    return Subject(family, evened(replace(family.config_class.tiny(), **changes), 2))


def proved(rank: int, root: str) -> list[dict[str, Any]]:
    from torch.distributed.device_mesh import init_device_mesh

    told = []
    for name, ways, changes in CASES:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=ways)
        s, folder = subject(name, changes), f"{root}/{name}"
        one, cut = zoo.load(folder), zoo.load(folder, mesh=mesh)
        built = [zoo.build(s.config, device="cpu", dtype="float64", mesh=m) for m in (None, mesh)]
        rounded = [zoo.load(folder, quantize="int8", mesh=m) for m in (None, mesh)]
        apart = {"built": held_apart(*built), "rounded": held_apart(*rounded)}
        told.append(compared(s, one, cut, mesh) | apart)
        zoo.save(cut, f"{folder}-saved")
    with pytest.raises(UsageError) as refused:
        zoo.load(f"{root}/qwen3", mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("cp", "tp")))
    return [*told, {"refused": str(refused.value)}]


def compared(s: Subject, one: Any, cut: Any, mesh: Any) -> dict[str, Any]:
    from zoo.parallel.gathering import local, whole

    ways = {"tp" if way == "sp" else way: mesh[way].get_local_rank() for way in mesh.mesh_dim_names}
    part = of_rank(
        s.config.anatomy(), Layout(**dict.fromkeys(ways, 2)), rank=ways.get("tp", 0), stage=ways.get("pp", 0)
    )
    need, found = sum(w.numel for w in part.weights), sum(local(p).numel() for p in cut.parameters())
    texts = s.tokens(2, s.longest)
    expected, outputs = learned(s, one, texts), learned(s, cut, texts)
    of_all: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(of_all, {name: whole(gradient) for name, gradient in gradients(cut)})
    grads = {name: gradient for of_rank in of_all for name, gradient in of_rank.items()}
    written = [generate(m, texts[:, :5], max_new_tokens=4, eos_token_id=[]).new_tokens for m in (one, cut)]
    return {
        "sizes": (need, found),
        "gap": max(difference(outputs[name], x) for name, x in expected.items()),
        "faults": list(wrong_gradients(one, grads)),
        "texts": written,
    }


def held_apart(one: Any, built: Any) -> float:
    """How far the logits of what was built over ranks are from one process'."""
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        return (built(tokens) - one(tokens)).abs().max().item()


def test_it_computes_learns_generates_and_saves_as_one_process(tmp_path: Path) -> None:
    for name, _, changes in CASES:
        zoo.save(subject(name, changes).model, tmp_path / name)
    for *told, last in over_ranks(proved, str(tmp_path), count=4, seconds=200):
        assert "a mesh of cp and tp: zoo does not cut a model so" in last["refused"]
        for (name, ways, _), found in zip(CASES, told, strict=True):
            case = f"{name} over {ways}"
            assert found["sizes"][0] == found["sizes"][1], case
            assert found["gap"] < 1e-12, case  # sums in another order differ by about 1e-15 of numbers of order 1
            assert max(found["built"], found["rounded"]) < 1e-12, case
            assert not found["faults"], case  # of any gradient, within 1e-9
            assert found["texts"][0] == found["texts"][1], case
    for name, *_ in CASES:
        for file in (tmp_path / name).glob("*.safetensors"):
            assert (tmp_path / f"{name}-saved" / file.name).read_bytes() == file.read_bytes(), name
