"""Stages of a pipeline; the contract compares every family that has them with one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.learning import gradients, wrong_gradients
from zoo.testing.measure import difference

pytestmark = pytest.mark.slow

STAGES = 3  # so that one is neither the first nor the last


def subject(name: str, **changes: Any) -> Subject:
    return Subject(installed()[name], replace(installed()[name].config_class.tiny(), **changes))


MODELS = {
    "tied": subject("llama", num_layers=4, tie_embeddings=True),
    "untied": subject("gpt_neox", num_layers=4),
}
REFUSED = {
    "few": (subject("llama", num_layers=2), "pp=3: there are 2 layers, and a stage would have none"),
    "mtp": (subject("deepseek", num_layers=4, num_mtp_layers=1), "belongs to no one stage"),
    "pair": (subject("t5"), "T5 is not one stack of layers from tokens to logits"),
    "seeing": (subject("qwen2_vl", num_layers=4), "Qwen2VL reads grid beside tokens"),
}


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def learn(rank: int, folder: str) -> dict[str, Any]:
    """What is refused, read and learned on a stage."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    from zoo.parallel.schedule import Schedule

    mesh = init_device_mesh("cpu", (STAGES,), mesh_dim_names=("pp",))
    told: dict[str, Any] = {"refused": {}, "faults": [], "layers": {}}
    for name in REFUSED:
        with pytest.raises(UsageError) as refused:
            zoo.load(f"{folder}/{name}", mesh=mesh)
        told["refused"][name] = str(refused.value)
    for name, s in MODELS.items():
        texts, targets = s.tokens(6, 9), s.tokens(6, 9, seed=1)
        one = zoo.load(f"{folder}/{name}")
        expected = loss(one(texts), targets)
        expected.backward(retain_graph=True)
        expected.backward()
        for kind in ("gpipe", "1f1b"):
            model = zoo.load(f"{folder}/{name}", mesh=mesh)
            schedule = Schedule(model, loss, num_microbatches=3, kind=kind)
            found = schedule.step(texts, targets)
            schedule.step(texts, targets)  # whose gradients are added
            of_all: list[Any] = [None] * STAGES
            dist.all_gather_object(of_all, dict(gradients(model)))
            told["faults"] += [kind] if difference(found, expected.detach()) > 1e-12 else []
            for mine in of_all:
                told["faults"] += wrong_gradients(one, dict(gradients(one)) | mine)
            told["faults"] += {n for n, _ in gradients(one)} - {n for mine in of_all for n in mine}
        told["layers"][name] = sorted({int(n.split(".")[1]) for n, _ in model.named_parameters() if "layers." in n})
    built = [zoo.build(MODELS["tied"].config, device="cpu", mesh=m)(texts) for m in (None, mesh)]
    told["gap"] = difference(built[1], built[0])
    model = zoo.load(f"{folder}/tied", mesh=mesh)
    loss(model.decode(model.states(texts)), targets).backward()  # as losses in chunks do
    one = zoo.load(f"{folder}/tied")
    loss(one(texts), targets).backward()
    told["faults"] += wrong_gradients(one, dict(gradients(one)) | dict(gradients(model)))
    told["read"] = asked(f"{folder}/tied", mesh)
    return told


def asked(folder: str, mesh: Any) -> set[str]:
    """The tensors of the file that a stage looks at."""
    from zoo.parallel.stages import StagePlan

    ledger = zoo.inspect(folder)
    plan = StagePlan.of(zoo.build(ledger.config), mesh)
    steps = [plan.narrowed(step) for step in ledger.account.steps]
    return {name.split(".layers.")[-1].split(".")[0] for step in steps if step is not None for name in step.theirs}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stages")
    for name, s in (*MODELS.items(), *((name, s) for name, (s, _) in REFUSED.items())):
        zoo.save(s.model, folder / name)
    torch.manual_seed(0)
    return over_ranks(learn, str(folder), count=STAGES)


def test_a_model_without_stages_is_refused_with_the_reason(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        for name, (_, words) in REFUSED.items():
            assert words in of_rank["refused"][name]
        assert "sizes that work: 1 to 2" in of_rank["refused"]["few"]


def test_schedules_of_micro_batches_learn_what_one_process_learns(told: list[dict[str, Any]]) -> None:
    """Loss and every gradient, those of a tied embedding on both ends, by GPipe and 1F1B."""
    assert [of_rank["faults"] for of_rank in told] == [[]] * STAGES


def test_a_stage_holds_and_reads_its_own_layers_alone(told: list[dict[str, Any]]) -> None:
    assert [of_rank["layers"]["tied"] for of_rank in told] == [[0], [1], [2, 3]]
    assert [of_rank["read"] & set("0123") for of_rank in told] == [{"0"}, {"1"}, {"2", "3"}]


def test_the_same_seed_gives_the_weights_of_one_process(told: list[dict[str, Any]]) -> None:
    assert all(of_rank["gap"] == 0 for of_rank in told)
