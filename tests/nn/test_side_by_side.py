"""Weights that lie behind one another are one product in a step; else, and for everybody else, they are as always."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo.nn.side_by_side import lay_side_by_side
from zoo.registry import installed

TOKENS = torch.tensor([[5, 9, 4, 8]])


class Operations(TorchDispatchMode):
    """Counts what is asked of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def built(family: str = "llama", **changes: Any) -> Any:
    """A small model whose numbers are large enough to matter."""
    config = replace(installed()[family].config_class.tiny(), **changes)
    model = zoo.build(config, device="cpu", dtype="float64").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@torch.inference_mode()
def stepped(model: Any) -> tuple[Tensor, Counter[str]]:
    """Logits of a last token that is read by itself, and the operations of that."""
    cache = model.new_cache(1, 8)
    model(TOKENS[:, :-1], cache=cache)
    with Operations() as found:
        logits = model(TOKENS[:, -1:], cache=cache)
    return logits[:, -1], found.counts


def test_a_step_takes_one_product_for_each_input_and_says_what_a_pass_says() -> None:
    model = built(num_layers=2)
    logits, operations = stepped(model)
    assert operations["linear"] == 2 * 4 + 1  # of qkv, o, gate and up, down; and the head
    assert operations["rms_norm"] == 0  # seven operations of their own
    assert sum(operations.values()) <= 2 * 37 + 25  # transformers' LLaMA takes 75 a layer
    with torch.no_grad():
        torch.testing.assert_close(logits, model(TOKENS)[:, -1], atol=1e-10, rtol=0)  # sums in another order


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "olmo2", "gemma", "phi3", "gpt2", "bloom"])
def test_biases_norms_windows_and_slopes_go_with_it(family: str) -> None:
    model = built(family)
    logits, operations = stepped(model)
    assert operations["linear"] < sum(isinstance(module, nn.Linear) for module in model.modules())
    with torch.no_grad():
        torch.testing.assert_close(logits, model(TOKENS)[:, -1], atol=1e-10, rtol=1e-10)


def cast_there_and_back(model: Any) -> Any:
    return model.float().double()


def with_a_hook(model: Any) -> Any:
    model.layers[0].attn.k_proj.register_forward_hook(lambda module, args, out: 2 * out)
    return model


def with_a_weight_replaced(model: Any) -> Any:
    mlp = model.layers[0].mlp
    mlp.up_proj.weight = nn.Parameter(mlp.up_proj.weight * 2)
    return model


def with_rows_exchanged(model: Any) -> Any:
    weight = model.layers[0].attn.k_proj.weight
    weight.data = weight.data.flip(0)
    return model


def with_another_forward(model: Any) -> Any:
    layer = model.layers[0].attn.v_proj
    layer.forward = lambda x: 3 * nn.Linear.forward(layer, x)  # as accelerate puts its hooks
    return model


def with_a_layer_in_its_place(model: Any) -> Any:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    held = model.layers[0].attn
    own = Doubled(held.q_proj.in_features, held.q_proj.out_features, bias=False, dtype=torch.float64)
    held.q_proj = own
    return model


def turned_in_place(model: Any) -> Any:
    weight = model.layers[0].mlp.gate_proj.weight
    weight.data = weight.data.flatten().view(weight.shape[1], weight.shape[0]).mT  # begins at the same place
    return model


class Tripled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


def with_another_class(model: Any) -> Any:
    model.layers[0].attn.v_proj.__class__ = Tripled
    return model


def with_another_call(model: Any) -> Any:
    layer = model.layers[0].mlp.up_proj
    layer._call_impl = lambda x: 3 * nn.Linear.forward(layer, x)
    return model


def read_as_negative(model: Any) -> Any:
    weight = model.layers[0].mlp.gate_proj.weight
    weight.data = torch._neg_view(weight.data)  # of the same place, as the imaginary part of what was conjugated
    return model


@pytest.mark.parametrize("change", [
    cast_there_and_back, with_a_hook, with_a_weight_replaced, with_rows_exchanged, with_another_forward,
    with_another_class, with_another_call, read_as_negative, with_a_layer_in_its_place, turned_in_place,
    copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)),
])  # fmt: skip
def test_what_was_changed_counts(change: Callable[[Any], Any]) -> None:
    model = built()
    stepped(model)
    changed = change(model)
    with torch.no_grad():
        torch.testing.assert_close(stepped(changed)[0], changed(TOKENS)[:, -1], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("owner", "method"), [(nn.Linear, "forward"), (nn.Module, "__call__")])
def test_what_was_changed_of_all_linear_layers_counts(
    owner: type[nn.Module], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = getattr(owner, method)

    def doubled(self: nn.Module, *given: Any, **named: Any) -> Any:
        out = before(self, *given, **named)
        return 2 * out if type(self) is nn.Linear else out

    model = built()
    monkeypatch.setattr(owner, method, doubled)
    with torch.no_grad():
        torch.testing.assert_close(stepped(model)[0], model(TOKENS)[:, -1], atol=1e-10, rtol=1e-10)


def test_a_weight_that_two_layers_share_stays_one() -> None:
    attn: Any = built().layers[0].attn
    attn.v_proj.weight = attn.k_proj.weight
    lay_side_by_side(attn)
    attn.k_proj.weight.data.mul_(2)
    x = torch.randn(1, 1, attn.q_proj.in_features, dtype=torch.float64)
    with torch.no_grad():
        assert attn.qkv(attn, x) is None


def test_training_and_reading_write_where_the_product_looks() -> None:
    model, other = built(), built()
    loss = model(TOKENS).square().mean()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for _ in range(2):
        logits, operations = stepped(model)
        assert operations["linear"] < sum(isinstance(module, nn.Linear) for module in model.modules())
        with torch.no_grad():
            torch.testing.assert_close(logits, model(TOKENS)[:, -1], atol=1e-10, rtol=1e-10)
        model.load_state_dict(other.state_dict())


def test_gradients_come_to_the_weights_of_a_step_too() -> None:
    model = built()
    cache = model.new_cache(1, 8)
    model(TOKENS[:, :1], cache=cache).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.layers[-1].mlp.parameters())


def test_writers_of_files_see_weights_that_share_nothing(tmp_path: Path) -> None:
    model = built()
    weights = model.state_dict()
    assert len({w.untyped_storage().data_ptr() for w in weights.values()}) == len(weights)
    assert all(w.untyped_storage().nbytes() == w.nbytes for w in weights.values())
    save_file(weights, tmp_path / "a.safetensors")
    assert all(torch.equal(load_file(tmp_path / "a.safetensors")[name], w) for name, w in weights.items())


def test_a_loaded_model_has_them_where_its_weights_were_cast_and_else_the_file_s_mapping() -> None:
    one_by_one = sum(isinstance(module, nn.Linear) for module in zoo.load("tiny").modules())
    assert stepped(zoo.load("tiny"))[1]["linear"] == one_by_one
    assert stepped(zoo.load("tiny", dtype="float32"))[1]["linear"] == one_by_one - 3 * 5  # layers


@pytest.mark.parametrize("family", ["gpt2", "phi3"])
def test_what_a_file_holds_as_one_is_one_product_without_a_copy(family: str, tmp_path: Path) -> None:
    zoo.save(built(family), tmp_path / "hf", format="hf")
    model = zoo.load(tmp_path / "hf")
    attn = model.layers[0].attn
    assert attn.q_proj.weight.untyped_storage().data_ptr() == attn.k_proj.weight.untyped_storage().data_ptr()
    logits, operations = stepped(model)
    assert operations["linear"] == sum(isinstance(m, nn.Linear) for m in model.modules()) - operations["chunk"] - 2 * (
        len(model.layers)
    )
    with torch.no_grad():
        torch.testing.assert_close(logits, model(TOKENS)[:, -1], atol=1e-10, rtol=1e-10)
