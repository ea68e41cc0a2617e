"""What trainers save: the weights are found below a name, the rest is told, and two models in one file are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import CheckpointError
from zoo.files.pickle_file import PickleReader, read_pickle

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2)}
# The state of an AdamW after a step, written out: to make one imports PyTorch's compiler.
STEPPED: dict[str, Any] = {
    "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.full((2,), 0.1), "exp_avg_sq": torch.full((2,), 1e-3)}},
    "param_groups": [
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False, "maximize": False,
         "foreach": None, "capturable": False, "differentiable": False, "fused": None,
         "decoupled_weight_decay": True, "params": [0]}
    ],
}  # fmt: skip
FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])


def saved(path: Path, state: Any, is_zip: bool = True) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    return path


@FORMATS
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"model": WEIGHTS}, "under 'model'"),
        ({"state_dict": WEIGHTS, "epoch": 3, "optimizer_states": [STEPPED], "lr_schedulers": [{"last_epoch": 1}]},
         "under 'state_dict'; left out: epoch, optimizer_states, lr_schedulers"),
        ({"optimizer": STEPPED, "model_state_dict": WEIGHTS, "loss": torch.tensor(1.5), "shape": torch.Size([2])},
         "under 'model_state_dict'; left out: optimizer, loss, shape"),
        ({"module": WEIGHTS, "rng_state": torch.ones(3).byte(), "optimizer": {"state": {"a": {"m": WEIGHTS["b"]}}}},
         "under 'module'; left out: rng_state, optimizer"),
        ({"state_dict": {"model": WEIGHTS, "step": 2}, "device": torch.device("cpu")},
         "under 'state_dict.model'; left out: device, step"),
        ({"my_net": WEIGHTS, "name": "tiny"}, "under 'my_net'; left out: name"),
    ],
    ids=["model", "state_dict", "model_state_dict", "module", "deeper", "another name"],
)  # fmt: skip
def test_the_weights_are_found_and_the_rest_is_told(state: Any, told: str, is_zip: bool, tmp_path: Path) -> None:
    infos, notes = read_pickle(saved(tmp_path / "x.bin", state, is_zip))
    assert notes == (f"x.bin: the weights are those {told}",)
    reader = PickleReader(infos)
    assert infos.keys() == WEIGHTS.keys()
    assert all(torch.equal(reader(name), tensor) for name, tensor in WEIGHTS.items())


@FORMATS
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"model": WEIGHTS, "ema": WEIGHTS}, "holds 2 state dicts: model, ema\nsave the one that you want alone"),
        ({"generator": {"state_dict": WEIGHTS}, "discriminator": {"state_dict": WEIGHTS}},
         "2 state dicts: generator.state_dict, discriminator.state_dict"),
        ({"model": WEIGHTS, "extra.weight": WEIGHTS["b"]}, "has tensors beside 'model': extra.weight"),
        ({"model": {}}, "model: is a dict, not a tensor"),
        ({"model": [WEIGHTS]}, "model: is a list, not a tensor"),
        ({"model": {1: WEIGHTS["a"]}}, "model: is a dict, not a tensor"),
        ({"optimizer": STEPPED}, "optimizer: is a dict, not a tensor"),
        ({"a": {"b": {"c": {"d": {"e": WEIGHTS}}}}}, "a: is a dict, not a tensor"),
        ({"model": {**WEIGHTS, "step": 3}}, "model: is a dict, not a tensor"),
        ({"model": {**WEIGHTS, "_extra_state": None}, "ema": WEIGHTS}, "has tensors under 'model' too"),
        ({"model_epoch_3": WEIGHTS, "ema": WEIGHTS}, "has tensors under 'model_epoch_3' too"),
        ({"ema": WEIGHTS, 0: WEIGHTS}, "has tensors under '0' too"),
        ({"ema": WEIGHTS, "models": [{"net": WEIGHTS}]}, "has tensors under 'models' too"),
        ({"ema": WEIGHTS, "a": {"b": {"c": {"d": {"e": WEIGHTS}}}}}, "has tensors under 'a' too"),
        ({"state": {"exp_avg": WEIGHTS}}, "state: is a dict, not a tensor"),
        ([WEIGHTS], "holds a list"),
    ],
    ids=lambda value: "" if isinstance(value, dict | list) else value[:24],
)  # fmt: skip
def test_what_may_be_several_models_or_none_is_refused(state: Any, told: str, is_zip: bool, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        read_pickle(saved(tmp_path / "x.bin", state, is_zip))
    assert told in str(error.value)


@pytest.mark.slow
def test_an_optimizer_says_what_is_written_out_above(tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    found = optimizer.state_dict()
    assert found["param_groups"] == STEPPED["param_groups"]
    assert found["state"].keys() == STEPPED["state"].keys()
    assert found["state"][0].keys() == STEPPED["state"][0].keys()
    assert all(torch.allclose(found["state"][0][name], value) for name, value in STEPPED["state"][0].items())
    infos, _ = read_pickle(saved(tmp_path / "x.bin", {"state_dict": WEIGHTS, "optimizer_states": [found]}))
    assert infos.keys() == WEIGHTS.keys()


@pytest.mark.parametrize("leaf", [{"n": 1}, {"w": WEIGHTS["b"]}], ids=["barren", "full"])
def test_tables_that_hold_each_other_many_times_do_not_take_for_ever(leaf: Any, tmp_path: Path) -> None:
    for _ in range(4):  # 10^12 paths in 4000 names
        leaf = {f"{i}": leaf for i in range(1000)}
    with pytest.raises(CheckpointError, match=r"is a dict, not a tensor|state dicts"):
        read_pickle(saved(tmp_path / "x.bin", leaf))
