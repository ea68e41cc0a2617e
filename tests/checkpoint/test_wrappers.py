"""Prefixes of wrappers are taken off where one explains every name, told at every door, and refused in part."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo
from tests.breaking import TINY, Tensors, broken, logits, run, saved
from zoo.errors import CheckpointError, ZooWarning

__all__ = ["broken", "saved"]  # fixtures


def renamed(change: Callable[[str], str]) -> Callable[[Tensors], None]:
    def edit(tensors: Tensors) -> None:
        found = {change(name): tensors.pop(name) for name in list(tensors)}
        tensors.update(found)

    return edit


PREFIXES = [
    "module._orig_mod.", "model.", *(pytest.param(prefix, marks=pytest.mark.slow) for prefix in (
        "module.", "_orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module.", "_forward_module.model.",
        "model.module.", "net.",
    )),
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_one_prefix_on_every_name_is_taken_off_and_told(prefix: str, broken: Callable[..., Path]) -> None:
    folder = broken("tiny", renamed(lambda name: prefix + name))
    told = f"every tensor name begins with '{prefix}' in the files: taken off"
    with pytest.warns(ZooWarning) as warned:
        model = zoo.load(folder)
    assert any(told in str(w.message) for w in warned)
    assert told in run("inspect", folder).stdout
    assert torch.equal(logits(model), logits(zoo.load(TINY)))
    assert set(model.ledger.checkpoint.tensors) == set(zoo.inspect(TINY).checkpoint.tensors)


@pytest.mark.parametrize(
    ("name", "is_zip"),
    [("last.ckpt", True), *(pytest.param(n, False, marks=pytest.mark.slow) for n in ("pytorch_model.bin", "old.pth"))],
)
def test_a_trainers_checkpoint_is_the_model_that_is_in_it(
    name: str, is_zip: bool, broken: Callable[..., Path], tmp_path: Path
) -> None:
    folder = broken("tiny")
    state = {f"model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    tree = {"epoch": 3, "state_dict": state, "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}]}
    torch.save(tree, folder / name, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="is a pickle"):
        zoo.load(folder / name)
    with pytest.warns(ZooWarning) as warned:
        model = zoo.load(folder / name, allow_pickle=True)
    told = " ".join(str(w.message) for w in warned)
    assert f"{name}: the weights are those under 'state_dict'; left out: epoch, optimizer_states" in told
    assert "every tensor name begins with 'model.'" in told
    assert torch.equal(logits(model), logits(zoo.load(TINY)))
    done = run("convert", folder / name, tmp_path / "out", "--to", "hf", "--allow-pickle")
    assert done.exit_code == 0, done.output
    assert len(json.loads((tmp_path / "out" / "zoo.json").read_text())["provenance"]["concessions"]) == 2


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_it_is_so_in_other_families(name: str, broken: Callable[..., Path], saved: Callable[[str], Path]) -> None:
    folder = broken(name, renamed(lambda n: f"model.{n}"))
    with pytest.warns(ZooWarning, match="every tensor name begins with 'model.'"):
        assert torch.equal(logits(zoo.load(folder)), logits(zoo.load(saved(name))))


@pytest.mark.slow  # torch.compile is slow to import
def test_what_torch_itself_makes_of_the_names_is_undone(broken: Callable[..., Path]) -> None:
    def names_of(module: nn.Module) -> list[str]:
        return [name for name, _ in module.named_parameters()]

    inner = nn.ModuleDict({"a": nn.Linear(1, 1)})
    assert names_of(nn.DataParallel(inner))[0] == "module.a.weight"
    assert names_of(torch.compile(inner))[0] == "_orig_mod.a.weight"  # type: ignore[arg-type]
    assert names_of(nn.DataParallel(torch.compile(inner)))[0] == "module._orig_mod.a.weight"  # type: ignore[arg-type]


def in_layers(name: str) -> str:
    head, dot, rest = name.partition(".layers.")
    number, _, below = rest.partition(".")
    return f"{head}{dot}{number}._fsdp_wrapped_module._checkpoint_wrapped_module.{below}" if dot else name


@pytest.mark.parametrize("outer", ["", "_fsdp_wrapped_module.", "module."])
def test_wrappers_inside_names_are_taken_out_of_those_that_have_them(outer: str, broken: Callable[..., Path]) -> None:
    folder = broken("tiny", renamed(lambda name: outer + in_layers(name)))
    with pytest.warns(ZooWarning, match="_fsdp_wrapped_module"):
        assert torch.equal(logits(zoo.load(folder)), logits(zoo.load(TINY)))


@pytest.mark.slow
def test_conversion_writes_plain_names_and_keeps_what_was_undone(broken: Callable[..., Path], tmp_path: Path) -> None:
    folder = broken("tiny", renamed(lambda name: f"module.{name}"))
    done = run("convert", folder, tmp_path / "out", "--to", "hf")
    assert done.exit_code == 0
    assert "'module.'" in done.stderr
    kept = json.loads((tmp_path / "out" / "zoo.json").read_text())["provenance"]["concessions"]
    assert kept == ["every tensor name begins with 'module.' in the files: taken off, as a wrapper's"]
    assert "'module.'" in run("inspect", tmp_path / "out").stdout
    assert torch.equal(logits(zoo.load(tmp_path / "out")), logits(zoo.load(TINY)))


def test_a_model_with_its_ledger_is_pickled(broken: Callable[..., Path]) -> None:
    with pytest.warns(ZooWarning):
        model = zoo.load(broken("tiny", renamed(lambda name: f"module.{name}")))
    again = pickle.loads(pickle.dumps(model.ledger))
    with again.checkpoint.open() as tensors:
        assert torch.equal(tensors["model.norm.weight"], model.state_dict()["norm.weight"])


def some_of_them(name: str) -> str:
    return f"module.{name}" if "layers.0" in name else name


def a_mixture(name: str) -> str:
    return f"module.{name}" if "layers" in name else f"_orig_mod.{name}"


@pytest.mark.parametrize("change", [some_of_them, a_mixture, lambda n: f"module.{some_of_them(n)}"])
def test_a_prefix_on_some_names_is_refused_with_the_reason(
    change: Callable[[str], str], broken: Callable[..., Path]
) -> None:
    with pytest.raises(CheckpointError, match=r"names begin with '[a-z_.]+'\nthe others do not: .*norm") as error:
        zoo.load(broken("tiny", renamed(change)), allow=["*"])
    assert "on every name, or on none" in str(error.value)


def test_two_names_that_become_one_are_refused(broken: Callable[..., Path]) -> None:
    def double(tensors: Tensors) -> None:
        tensors["model._orig_mod.norm.weight"] = tensors["model.norm.weight"].clone()

    with pytest.raises(CheckpointError, match=r"are both model\.norm\.weight without what wrappers add"):
        zoo.inspect(broken("tiny", double))


def test_pieces_of_fsdp_are_called_what_they_are(broken: Callable[..., Path]) -> None:
    def flatten(tensors: Tensors) -> None:
        tensors.clear()
        tensors["_fsdp_wrapped_module._flat_param"] = torch.ones(3)

    folder = broken("tiny", flatten)
    with pytest.raises(CheckpointError, match="FSDP keeps several tensors in it"):
        zoo.inspect(folder)


@pytest.mark.slow
def test_a_wrong_size_under_a_prefix_is_still_a_wrong_size(broken: Callable[..., Path]) -> None:
    def edit(tensors: Tensors) -> None:
        name = "model.embed_tokens.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
        renamed(lambda n: f"module.{n}")(tensors)

    told = run("inspect", broken("tiny", edit)).stderr
    assert "model.vocab_size=2049\n" in told
    assert "unexpected" not in told


def test_a_prefix_before_names_that_the_family_does_not_know_stays(broken: Callable[..., Path]) -> None:
    folder = broken("tiny", renamed(lambda name: f"net.{name[::-1]}"))
    assert any(name.startswith("net.") for name in zoo.inspect(folder).account.unexpected)
