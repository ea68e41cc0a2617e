"""What is saved can be read again: a model whose parts were changed by hand is not written as what its config says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import zoo
from zoo.errors import UsageError, ZooError


def small(*overrides: str) -> Any:
    return zoo.build("tiny", "model.num_layers=2", *overrides, device="cpu")


def fewer_layers(model: Any) -> None:
    del model.layers[1]


def more_layers(model: Any) -> None:
    model.layers.append(copy.deepcopy(model.layers[0]))


def one_layer_twice(model: Any) -> None:
    model.layers[1] = model.layers[0]


def one_layer_again(model: Any) -> None:
    model.layers.append(model.layers[0])


def wider(model: Any) -> None:
    for name in ("gate_proj", "up_proj"):
        setattr(model.layers[1].mlp, name, nn.Linear(model.config.hidden_size, 296, bias=False))


def one_beside(model: Any) -> None:
    model.probe = nn.Linear(3, 3)


def more_tokens(model: Any) -> None:
    model.embed = nn.Embedding(2050, model.config.hidden_size)
    model.lm_head.weight = model.embed.weight


def untied(model: Any) -> None:
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())


def masked(model: Any) -> None:
    prune.l1_unstructured(model.layers[0].mlp.up_proj, "weight", 0.5)


def with_bias(model: Any) -> None:
    model.layers[0].attn.o_proj.bias = nn.Parameter(torch.ones(model.config.hidden_size))


CHANGES: dict[Callable[[Any], None], str] = {
    fewer_layers: r"9 weights .*\n  missing +layers\.1\.attn_norm\.weight  \[128\]",
    more_layers: r"9 weights .*\n  unexpected  layers\.2\.attn_norm\.weight  \[128\]",
    one_layer_twice: r"9 weights .*\n  missing +layers\.1\.",
    one_layer_again: r"9 weights .*\n  unexpected  layers\.2\.attn_norm\.weight  \[128\]",
    wider: r"2 weights .*\n  mismatched  layers\.1\.mlp\.gate_proj\.weight  \[296, 128\], by the config \[288, 128\]",
    one_beside: r"2 weights .*\n  unexpected  probe\.weight  \[3, 3\]",
    more_tokens: r"1 weights .*\n  mismatched  embed\.weight  \[2050, 128\], by the config \[2048, 128\]",
    untied: r"1 weights .*\n  unexpected  lm_head\.weight",
    masked: r"2 weights .*\n  missing +layers\.0\.mlp\.up_proj\.weight .*\n  unexpected .*up_proj\.weight_orig",
    with_bias: r"1 weights .*\n  unexpected  layers\.0\.attn\.o_proj\.bias",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("format", ["hf", "zoo"])
def test_a_model_with_other_weights_than_its_config_says_is_not_saved(
    tmp_path: Path, change: Callable[[Any], None], format: str
) -> None:
    model = small()
    change(model)
    with pytest.raises(UsageError, match=CHANGES[change]):
        zoo.save(model, tmp_path / "out", format=format)
    assert not [*tmp_path.iterdir()]


def test_a_head_that_was_tied_by_hand_is_missing(tmp_path: Path) -> None:
    model = small("model.tie_embeddings=false")
    model.lm_head.weight = model.embed.weight
    with pytest.raises(UsageError, match=r"missing +lm_head\.weight"):
        zoo.save(model, tmp_path / "out")


def test_what_the_hint_says_makes_a_model_that_is_saved(tmp_path: Path) -> None:
    """The layer that is left, and a mask that was taken into its matrix."""
    model = small()
    masked(model)
    prune.remove(model.layers[0].mlp.up_proj, "weight")
    del model.layers[1]
    again: Any = zoo.build("tiny", "model.num_layers=1", device="cpu")
    again.load_state_dict(model.state_dict())
    found = zoo.load(zoo.save(again, tmp_path / "out"))
    tokens = torch.tensor([[1, 5, 9]])
    with torch.inference_mode():
        assert torch.equal(found(tokens), model(tokens))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_no_reader_takes_are_not_written(tmp_path: Path, number: float) -> None:
    model = small()
    with torch.no_grad():
        model.layers[1].mlp.up_proj.weight[3, 4] = number
    with pytest.raises(ZooError, match=r"layers\.1\.mlp\.up_proj\.weight contains NaN or infinity"):
        zoo.save(model, tmp_path / "out")
    assert not [*tmp_path.iterdir()]


def test_other_numbers_and_layers_in_another_order_are_saved(tmp_path: Path) -> None:
    model = small()
    model.layers[0], model.layers[1] = model.layers[1], model.layers[0]
    model.embed.weight.data.mul_(2)
    assert len(zoo.load(zoo.save(model, tmp_path / "out")).layers) == 2


def test_the_hint_for_a_tie_that_was_lost_mends_it(tmp_path: Path) -> None:
    model = small()
    model.load_state_dict(model.state_dict(), assign=True)
    with pytest.raises(UsageError, match=r"assign=True\) .*: model\.lm_head\.weight = model\.embed\.weight$"):
        zoo.save(model, tmp_path / "out")
    model.lm_head.weight = model.embed.weight
    zoo.load(zoo.save(model, tmp_path / "out"))


@pytest.mark.slow
def test_the_hint_for_what_was_compiled_mends_it(tmp_path: Path) -> None:
    wrapped: Any = torch.compile(small())
    with pytest.raises(UsageError, match=r"model\._orig_mod; "):
        zoo.save(wrapped, tmp_path / "out")
    zoo.load(zoo.save(wrapped._orig_mod, tmp_path / "out"))
