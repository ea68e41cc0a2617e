"""Experts by rank; the contract compares every family of experts with one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.learning import gradients, learned, wrong_gradients

pytestmark = pytest.mark.slow

NAMES = ("mixtral", "deepseek")  # experts in tensors of their own, and shared experts beside them


def subject(name: str, num_experts: int) -> Subject:
    return Subject(installed()[name], replace(installed()[name].config_class.tiny(), num_experts=num_experts))


def observed(rank: int, folder: str) -> dict[str, Any]:
    """What is read, refused, and learned, of models in a folder."""
    from torch.distributed.device_mesh import init_device_mesh

    from zoo.parallel.gathering import whole

    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("ep",))
    told: dict[str, Any] = {"refused": [], "faults": [], "parts": {}, "is_idle": False}
    for name in (f"{folder}/odd", f"{folder}/dense"):
        with pytest.raises(UsageError) as refused:
            zoo.load(name, mesh=mesh)
        told["refused"].append(str(refused.value))
    for name in NAMES:
        s = subject(name, 6)
        one, cut = (zoo.load(f"{folder}/{name}", mesh=m) for m in (None, mesh))
        for texts in (s.tokens(2, 7), s.tokens(1, 1), s.tokens(1, 5)):  # shares of the tokens that are not equal
            for model in (one, cut):
                model.zero_grad(set_to_none=True)
                with torch.no_grad():
                    for weight in (m.router.weight for m in model.modules() if hasattr(m, "router")):
                        weight.zero_()  # so that every token chooses the same experts, and a rank's are left alone
                learned(s, model, texts)
            told["faults"] += wrong_gradients(one, {n: whole(g) for n, g in gradients(cut)})
        told["is_idle"] |= not any(p.grad.to_local().any() for _, p in stacks(cut))
        told["parts"][name] = [(n, tuple(p.shape), tuple(p.to_local().shape)) for n, p in stacks(cut)]
    told["read"] = asked(f"{folder}/mixtral", mesh)
    return told


def stacks(model: Any) -> list[tuple[str, Any]]:
    return [(name, p) for name, p in model.named_parameters() if hasattr(p, "to_local")]


def asked(folder: str, mesh: Any) -> list[str]:
    """The tensors of experts that a rank looks at."""
    from zoo.parallel.plan import ShardingPlan

    ledger = zoo.inspect(folder)
    plan = ShardingPlan.of(zoo.build(ledger.config), mesh, "ep")
    steps = [plan.narrowed(step) for step in ledger.account.steps]
    return [name for step in steps for name in step.theirs if ".experts." in name]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("experts")
    for name in NAMES:
        zoo.save(subject(name, 6).model, folder / name)
    zoo.save(subject("mixtral", 5).model, folder / "odd")
    zoo.save(Subject(installed()["llama"]).model, folder / "dense")
    return over_ranks(observed, str(folder))


def test_what_cannot_be_parted_is_refused_before_anything_is_read(told: list[dict[str, Any]]) -> None:
    for odd, dense in (of_rank["refused"] for of_rank in told):
        assert odd.startswith("ep=2 cannot cut this model: num_experts has 5")
        assert "sizes that work: 1, 5" in odd
        assert dense.startswith("ep=2: the model has no experts")


def test_a_rank_whose_experts_nobody_chose_learns_what_one_process_learns(told: list[dict[str, Any]]) -> None:
    assert [of_rank["faults"] for of_rank in told] == [[], []]
    assert [of_rank["is_idle"] for of_rank in told] in ([True, False], [False, True])


def test_a_rank_holds_and_reads_its_own_experts_alone(told: list[dict[str, Any]]) -> None:
    for rank, of_rank in enumerate(told):
        assert all(
            (whole[0], part[0]) == (6, 3) and whole[1:] == part[1:]
            for parts in of_rank["parts"].values()
            for _, whole, part in parts
        )
        numbers = {int(name.split(".experts.")[1].split(".")[0]) for name in of_rank["read"]}
        assert numbers == {*range(3 * rank, 3 * rank + 3)}
