"""from_pretrained, save_pretrained and push_to_hub on models of families that know nothing of them."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.hub.client import Client
from tests.hub.server import Hub, serving
from zoo.models.pretrained import METHODS, equip
from zoo.registry import installed
from zoo.units import parse_bytes

TINY = Path(zoo.__file__).parent / "box" / "tiny"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return zoo.from_pretrained("tiny")


@pytest.mark.parametrize("family", sorted(installed().families))
def test_every_familys_class_has_the_three_methods_and_knows_nothing_of_them(family: str) -> None:
    kind = zoo.model_class(family)
    assert all(callable(getattr(kind, name)) for name in METHODS)
    assert zoo.Pretrained not in kind.__mro__
    assert not any(name in vars(nn.Module) for name in METHODS)


def test_what_is_built_is_saved_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = zoo.build(installed()["gpt2"].config_class.tiny(), device="cpu", dtype="bfloat16")
    folder = model.save_pretrained(tmp_path / "out", max_shard_size="10KB")
    assert (folder / "model.safetensors.index.json").is_file()
    back = type(model).from_pretrained(folder)
    assert type(back) is type(model)
    assert not back.training
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, back.get_parameter(name)), name
    assert type(model).from_pretrained(folder, dtype="float64").embed.weight.dtype == torch.float64
    assert type(model).from_pretrained(folder, dtype="auto").embed.weight.dtype == torch.bfloat16
    with pytest.raises(zoo.ZooError, match="exists already"):
        back.save_pretrained(folder)


def test_a_checkpoint_of_another_class_is_refused_before_its_weights_are_read() -> None:
    with pytest.raises(zoo.ZooError, match="it is a llama, whose class is Llama, not GPT2"):
        zoo.model_class("gpt2").from_pretrained("tiny")
    assert type(zoo.model_class("llama").from_pretrained("tiny")) is zoo.model_class("llama")


def test_copies_pickles_and_states_are_as_without_the_methods(model: nn.Module) -> None:
    tokens = torch.arange(3, 9)[None]
    expected = model(tokens)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        assert torch.equal(other(tokens), expected)
        assert other.ledger.source == "tiny"
    assert not any(name in vars(model) for name in METHODS)
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters(remove_duplicate=False)]


@pytest.mark.slow
def test_compiled_and_exported_models_are_as_without_the_methods(model: nn.Module, tmp_path: Path) -> None:
    tokens = torch.arange(3, 9)[None]
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(tokens), model(tokens))
    assert (compiled.save_pretrained(tmp_path / "compiled") / "model.safetensors").is_file()
    exported = torch.export.export(model, (tokens,)).module()
    assert torch.allclose(exported(tokens), model(tokens), atol=1e-2)  # bfloat16 sums in another order


def test_a_class_keeps_what_it_has_and_a_subclass_what_it_inherits() -> None:
    class Own(nn.Module):
        def save_pretrained(self) -> str:
            return "mine"

    class Child(Own):
        pass

    assert equip(Own)().save_pretrained() == "mine"
    assert callable(Own.push_to_hub)  # type: ignore[attr-defined]
    assert "from_pretrained" not in vars(equip(Child))
    assert equip(lambda config: nn.Identity()) is not None  # a function that builds models is left alone
    assert not hasattr(nn.Identity, "push_to_hub")


def test_the_methods_may_be_inherited_in_one_line() -> None:
    class Mine(zoo.Pretrained, nn.Module):
        pass

    assert vars(equip(Mine)).keys() & set(METHODS) == set()
    with pytest.raises(zoo.ZooError, match="not Mine"):
        Mine.from_pretrained("tiny")


def test_a_folder_has_no_revision() -> None:
    with pytest.raises(zoo.ZooError, match="has no revision 'v1'"):
        zoo.from_pretrained(TINY, revision="v1")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("5GB", 5 * 10**9),
        ("200MB", 2 * 10**8),
        ("1.5GiB", 3 * 2**29),
        ("7", 7),
        (7, 7),
        ("64 KiB", 65536),
        ("1tb", 10**12),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str | int, nbytes: int) -> None:
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "0", "GB", "5XB", "-1", "5iB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(zoo.ZooError, match="not a number of bytes"):
        parse_bytes(text)


# --- with the real client against a hub on the loopback


@pytest.fixture(scope="module")
def hub_and_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Client]]:
    with serving() as hub:
        client = Client(hub.url, tmp_path_factory.mktemp("home"))
        yield hub, client
        client.close()


@pytest.mark.slow  # the client's process imports torch
def test_a_model_is_pushed_and_loaded_again_by_name_and_commit(
    hub_and_client: tuple[Hub, Client], tmp_path: Path
) -> None:
    hub, client = hub_and_client
    hub.clear()
    commit = client.python(
        "import zoo\nfound = zoo.load('tiny').push_to_hub('acme/mine', commit_message='Hello', private=True).commit"
    )
    assert hub.messages == {commit: "Hello"}
    assert hub.private == {"acme/mine"}
    assert hub.repos["acme/mine"] == {"main": commit}
    code = """
import torch, zoo
theirs, ours = zoo.from_pretrained("acme/mine", revision=revision), zoo.load("tiny")
same = all(torch.equal(p, theirs.get_parameter(n)) for n, p in ours.named_parameters())
theirs.save_pretrained(folder, force=True)
found = [same, theirs.ledger.source, theirs.ledger.repo, theirs.ledger.revision, theirs.ledger.commit]
"""
    folder = tmp_path / "saved"
    for revision in (None, "main", commit):
        found = client.python(code, revision=revision, folder=str(folder))
        assert found == [True, "acme/mine", "acme/mine", revision, commit]
        told = json.loads((folder / "zoo.json").read_text())["provenance"]
        assert (told["repo"], told["revision"], told["commit"]) == ("acme/mine", revision, commit)
    hub.requests.clear()
    local = "import zoo\nfound = zoo.from_pretrained('acme/mine', local_files_only=True).ledger.commit"
    assert client.python(local) == commit
    assert hub.requests == []
    other = client("python", "import zoo\nzoo.model_class('gpt2').from_pretrained('acme/mine')")
    assert "acme/mine: it is a llama, whose class is Llama, not GPT2" in other["text"]
    nowhere = client("python", "import zoo\nzoo.from_pretrained('acme/nothing')")
    assert (nowhere["exit_code"], "acme/nothing is not on the hub" in nowhere["text"]) == (3, True)
    nobody = client("python", "import os, zoo\nos.environ.pop('HF_TOKEN')\nzoo.load('tiny').push_to_hub('acme/x')")
    assert (nobody["exit_code"], "the hub does not know who you are" in nobody["text"]) == (3, True)


USER = """
import torch
import zoo

model = zoo.build("llama3", "model.num_layers=2", device="cpu", seed=0)
layers: int = model.config.num_layers
loaded = zoo.load("./folder", dtype="bfloat16")
count: int = loaded.ledger.num_parameters
new: list[list[int]] = zoo.generate(loaded, torch.tensor([[1, 2]]), max_new_tokens=20).new_tokens
zoo.save(model, "./copy", format="hf")
model.save_pretrained("./copy", max_shard_size="200MB")
model.to(torch.float64).eval()
zoo.build(3)  # the one mistake
"""


@pytest.mark.slow
def test_a_type_checker_knows_what_the_models_of_users_can_do(tmp_path: Path) -> None:
    checker = Path(sys.executable).with_name("pyrefly")
    if not checker.exists():
        pytest.skip("pyrefly is not installed beside this Python")
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "pyrefly.toml").write_text("")  # without settings of its own it checks next to nothing
    words = [str(checker), "check", "user.py", "--search-path", str(Path(zoo.__file__).parents[1])]
    words += ["--python-interpreter-path", sys.executable, "--output-format", "min-text"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    found = [line for line in done.stdout.splitlines() if "ERROR" in line]
    assert len(found) == 1, done.stdout
    assert "function `zoo.models.construction.build`" in found[0]
