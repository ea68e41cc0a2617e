"""`zoo train` against loops of a few lines: the weights are the same, parameter by parameter."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zoo
from tests.training.runs import job, tiny, token_file
from zoo.errors import UsageError
from zoo.training.corpus.order import generator
from zoo.training.loop import Trainee, update, updates
from zoo.training.objectives.batch import Microbatch
from zoo.training.running.beginning import begun, resumed, train
from zoo.training.running.run import save


def test_a_decoder_is_trained_as_by_a_loop_of_twenty_lines(tmp_path: Path) -> None:
    file = token_file(tmp_path)
    run, _ = train(job(tmp_path / "run", file, train={"steps": 20}, schedule={"name": "cosine", "warmup": 4}))

    model = zoo.build(tiny(), device="cpu", dtype="float64", seed=0)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    ids = torch.from_numpy(np.load(file).astype(np.int64))
    order = [i for epoch in (0, 1) for i in torch.randperm(44, generator=generator(0, epoch)).tolist()]
    for step in range(1, 21):
        done = (step - 4) / 16
        rate = step / 4 if step <= 4 else 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        rows = [ids[16 * i : 16 * i + 17] for i in order[2 * step - 2 : 2 * step]]
        losses = [F.cross_entropy(model(r[None, :-1])[0], r[1:], reduction="sum") for r in rows]
        loss = sum(losses) / sum(len(r) - 1 for r in rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    ours = dict(run.trainee.model.named_parameters())
    for name, p in model.named_parameters():  # of order 1; 20 steps of float64 in another order of sums
        assert (ours[name] - p).abs().max() < 1e-12, name
    assert abs(run.folder.records()[-1]["loss"] - loss.item()) < 1e-12


def state(run) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.trainee.model.named_parameters()}


@pytest.mark.parametrize("stop", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_that_goes_on_is_bit_for_bit_one_that_never_stopped(tmp_path: Path, stop: int) -> None:
    file = token_file(tmp_path)
    more = {"train": {"ema": 0.9}, "optimizer": {"weight_decay": 0.1}}
    whole, _ = train(job(tmp_path / "whole", file, **more))
    parted = {**more, "train": {**more["train"], "stop": stop}}
    train(job(tmp_path / "parted", file, **parted))
    again, _ = train(job(tmp_path / "parted", file, **more), resume=True)
    expected, found = state(whole), state(again)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(torch.equal(again.trainee.mean[name], mean) for name, mean in whole.trainee.mean.items())
    told = [[r["loss"] for r in run.folder.records()] for run in (whole, again)]
    assert told[0] == told[1]
    for name, value in zoo.load(tmp_path / "parted").named_parameters():
        assert torch.equal(value, whole.trainee.mean[name])


def test_a_mean_of_16_bit_weights_moves_by_a_thousandth_of_a_step(tmp_path: Path) -> None:
    """In bfloat16, of 8 bits, it would stay where it began: a thousandth of a step rounds to nothing."""
    options = {"dtype": "bfloat16", "train": {"steps": 4, "ema": 0.999}}
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path), **options), print)
    mean = {name: p.double() for name, p in state(run).items()}
    for _ in updates(run.trainee, run.objective, run.recipe):
        mean = {name: 0.999 * mean[name] + 0.001 * p.double() for name, p in state(run).items()}
    for name, expected in mean.items():  # float32, four sums of numbers of order 1
        assert (run.trainee.mean[name] - expected).abs().max() < 1e-6, name
    save(run, 4)
    for name, value in zoo.load(tmp_path / "run").named_parameters():
        assert torch.equal(value, mean[name].float().to(torch.bfloat16)), name
    again, _ = resumed(job(tmp_path / "run", token_file(tmp_path), **options), print)
    assert all(torch.equal(again.trainee.mean[name], value) for name, value in run.trainee.mean.items())


def test_a_pass_that_drew_no_label_weighs_nothing() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    trainee = Trainee(model, torch.optim.SGD(model.parameters(), lr=1.0))

    class Sums:
        def loss(self, model: torch.nn.Module, batch: Microbatch, total: int) -> tuple[torch.Tensor, dict[str, object]]:
            return model(torch.ones(batch.weight, 1)).sum() / total, {}

    none, three = (Microbatch((), torch.zeros(1), n, n, is_drawn=True) for n in (0, 3))
    objective: Any = Sums()
    found = update(trainee, objective, [none, three], clip=None, autocast=None)
    assert (found["loss"], model.weight.grad.item()) == (1.0, 1.0)
    assert update(trainee, objective, [none, none], clip=None, autocast=None)["loss"] == 0.0
    with pytest.raises(UsageError, match="every label is ignored"):
        update(trainee, objective, [replace(none, is_drawn=False)], clip=None, autocast=None)


@pytest.mark.slow
def test_accumulated_steps_weigh_every_token_alike(tmp_path: Path) -> None:
    lines = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 0], [3, 4, 0], [5, 6, 7, 0], [7, 0]]
    np.save(file := tmp_path / "tokens.npy", np.concatenate(lines).astype(np.uint16))
    config = tiny()
    config.eos_token_id = [0]
    options = {"config": config, "data": {"packing": "none", "order": "sequential"}}
    at_once, _ = begun(job(tmp_path / "a", file, train={"batch_size": 4}, **options), print)
    parted, _ = begun(job(tmp_path / "b", file, train={"batch_size": 1, "accumulate": 4}, **options), print)
    one, four = (next(updates(r.trainee, r.objective, r.recipe)) for r in (at_once, parted))
    assert abs(one["loss"] - four["loss"]) < 1e-12  # float64, summed in another order
    assert one["tokens"] == four["tokens"] == 15
    expected, found = state(at_once), state(parted)
    assert all((found[name] - expected[name]).abs().max() < 1e-12 for name in expected)


@pytest.mark.slow
def test_recomputed_layers_give_the_same_gradients_bit_for_bit(tmp_path: Path) -> None:
    file, gradients = token_file(tmp_path), []
    for name, recompute in (("a", False), ("b", True)):
        run, _ = begun(job(tmp_path / name, file, train={"recompute": recompute}), print)
        next(updates(run.trainee, run.objective, run.recipe))
        gradients.append({n: p.grad for n, p in run.trainee.model.named_parameters()})
    assert all(torch.equal(gradients[1][name], gradient) for name, gradient in gradients[0].items())
