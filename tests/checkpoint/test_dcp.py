"""Models in folders of torch.distributed.checkpoint: whoever wrote them, by whatever names, and as zoo writes them."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.breaking import TINY, logits, run
from zoo.errors import CheckpointError, UsageError, ZooWarning

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")]


def stored(folder: Path, state: Any) -> Path:
    """A folder as plain torch writes it, with the hub's config of tiny."""
    import torch.distributed.checkpoint as dcp

    dcp.save(state, checkpoint_id=str(folder), no_dist=True)
    shutil.copy(TINY / "config.json", folder)
    return folder


def hub_names() -> dict[str, torch.Tensor]:
    return load_file(TINY / "model.safetensors")


def our_names() -> dict[str, torch.Tensor]:
    """What a user's script has of a model: a tied head stands in it twice."""
    return zoo.load(TINY).state_dict()


STATES: dict[str, tuple[Callable[[], Any], str]] = {
    "the hub's names": (hub_names, ""),
    "the hub's names in a table": (lambda: {"model": hub_names()}, "the weights are those under 'model'"),
    "the hub's names after a prefix": (
        lambda: {f"module.{n}": t for n, t in hub_names().items()}, "every tensor name begins with 'module.'"),
    "our names": (our_names, "the tensors go by the names of zoo's own modules"),
    "our names in a table": (lambda: {"model": our_names()}, "names of zoo's own modules"),
    "an optimizer's state beside them": (
        lambda: {"app": {"model": hub_names(), "optim": {"state": {"a.exp_avg": torch.ones(2)}, "lr": 0.1}}, "step": 3},
        "the weights are those under 'app.model'; left out: step, optim"),
    "an optimizer's state among them": (
        lambda: {**{f"model.{n}": t for n, t in hub_names().items()}, "optimizer.a.exp_avg": torch.ones(2)},
        "the weights are those under 'model'; left out: optimizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_what_plain_torch_wrote_is_the_model_that_it_was(case: str, tmp_path: Path) -> None:
    state, words = STATES[case]
    folder = stored(tmp_path / "dcp", state())
    ledger = zoo.inspect(folder)
    ledger.check()
    assert words in " ".join(ledger.notes)
    if words:
        with pytest.warns(ZooWarning, match=words[:20]):
            model = zoo.load(folder)
    else:
        model = zoo.load(folder)
    assert torch.equal(logits(model), logits(zoo.load(TINY)))


def test_a_tied_head_that_differs_from_the_embedding_is_refused(tmp_path: Path) -> None:
    state = our_names()
    state["lm_head.weight"] = state["lm_head.weight"] + 1
    with pytest.raises(CheckpointError, match=r"lm_head.weight: it differs from embed.weight"):
        zoo.load(stored(tmp_path / "dcp", state))


def test_two_weights_in_one_place_are_refused_unless_they_are_one(tmp_path: Path) -> None:
    """The names of two matrices of one shape lead to one shard; a tied head and its embedding may."""
    folder = stored(tmp_path / "dcp", hub_names())
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    up, gate = (f"model.layers.0.mlp.{name}_proj.weight" for name in ("up", "gate"))
    places = {index.fqn: index for index in metadata.storage_data}
    metadata.storage_data[places[up]] = metadata.storage_data[places[gate]]
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=rf"{up}: lies where {gate} does"):
        zoo.load(folder)
    zoo.convert(TINY, tmp_path / "tied", format="dcp")
    assert "lm_head.weight" in zoo.inspect(tmp_path / "tied").checkpoint.tensors
    zoo.load(tmp_path / "tied")


def test_a_config_is_given_where_there_is_none(tmp_path: Path) -> None:
    folder = stored(tmp_path / "dcp", hub_names())
    (folder / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"has no config.json"):
        zoo.inspect(folder)
    for given in (tmp_path / "config.json", tmp_path):
        zoo.inspect(folder, f"config={given}").check()
    ours = stored(tmp_path / "ours", our_names())
    (ours / "config.json").unlink()
    zoo.inspect(ours, "config=tiny").check()
    assert "47 loaded" in run("inspect", ours, "config=tiny").stdout
    with pytest.raises(UsageError, match="config=absent is neither a file, a folder nor a preset"):
        zoo.inspect(ours, "config=absent")
    with pytest.raises(CheckpointError, match=r"is not a folder of torch\.distributed"):
        zoo.inspect(TINY, "config=tiny")


def test_zoo_writes_what_torch_reads_into_a_module_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    model = zoo.load(TINY)
    for name in ("one", "two"):
        zoo.save(model, tmp_path / name, format="dcp", max_shard_size="300KB")
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert len([name for name in files if name.endswith(".distcp")]) > 2
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in files)
    state = zoo.build("tiny", device="cpu", dtype="bfloat16").state_dict()  # with the second name of the embedding
    dcp.load(state, checkpoint_id=str(tmp_path / "one"), no_dist=True)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_folder_of_dcp_becomes_the_hubs_again_bit_for_bit(tmp_path: Path) -> None:
    run("convert", TINY, tmp_path / "dcp", "--to", "dcp")
    zoo.convert(tmp_path / "dcp", tmp_path / "hf", format="hf")
    zoo.convert(TINY, tmp_path / "same", format="hf")
    assert (tmp_path / "hf/model.safetensors").read_bytes() == (tmp_path / "same/model.safetensors").read_bytes()
    words = ["-p", "She had been", "--temperature", "0", "--tokens", "6"]
    assert run("generate", tmp_path / "dcp", *words).stdout == run("generate", "tiny", *words).stdout
