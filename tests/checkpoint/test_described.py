"""A model whose weights were changed by hand in Python is not saved as one that its config describes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import UsageError


def another_head(model: Any) -> None:
    model.lm_head = nn.Linear(model.config.hidden_size, 99, bias=False)


def another_embedding(model: Any) -> None:
    model.embed = nn.Embedding(99, model.config.hidden_size)


def one_layer_less(model: Any) -> None:
    del model.layers[-1]


def one_layer_twice(model: Any) -> None:
    model.layers.append(model.layers[0])


def one_layer_more(model: Any) -> None:
    model.layers.append(deepcopy(model.layers[0]))


def a_bias(model: Any) -> None:
    model.layers[0].attn.o_proj.bias = nn.Parameter(model.norm.weight.detach().clone())


def wider(model: Any) -> None:
    for name in ("gate_proj", "up_proj"):
        setattr(model.layers[1].mlp, name, nn.Linear(model.config.hidden_size, 296, bias=False))


def untied(model: Any) -> None:
    model.lm_head.weight = nn.Parameter(model.embed.weight.detach().clone())


def one_beside(model: Any) -> None:
    model.probe = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another_head, r"embed\.weight \[2048, 128\], where its config .* \[2048, 128\], which is lm_head\.weight too"),
        (another_embedding, r"embed\.weight \[99, 128\], where its config describes embed\.weight \[2048, 128\]"),
        (one_layer_less, r"no layers\.1\.attn\.k_proj\.weight, where its config describes .* \[64, 128\]"),
        (one_layer_twice, r"layers\.0\.attn\.k_proj\.weight .*, which is layers\.2\.attn\.k_proj\.weight too"),
        (one_layer_more, r"layers\.2\.attn\.k_proj\.weight \[64, 128\], where its config describes no layers\.2"),
        (a_bias, r"layers\.0\.attn\.o_proj\.bias \[128\], where its config describes no layers\.0"),
        (wider, r"gate_proj\.weight \[296, 128\], .* \[288, 128\]\nnot as described, too: layers\.1\.mlp\.up_proj"),
        (untied, r"embed\.weight \[2048, 128\], where its config .*, which is lm_head\.weight too"),
        (one_beside, r"probe\.bias \[3\], where its config describes no probe\.bias"),
    ],
)
@pytest.mark.parametrize("format", ["hf", "zoo"])
def test_it_is_refused_and_nothing_is_written(
    change: Callable[[Any], None], told: str, format: str, tmp_path: Path
) -> None:
    model = zoo.build("tiny", "model.num_layers=2", device="cpu")
    change(model)
    with pytest.raises(UsageError, match=told):
        zoo.save(model, tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_other_numbers_and_layers_in_another_order_are_saved(tmp_path: Path) -> None:
    model: Any = zoo.build("tiny", "model.num_layers=2", device="cpu")
    model.layers[0], model.layers[1] = model.layers[1], model.layers[0]
    model.embed.weight.data.mul_(2)
    assert len(zoo.load(zoo.save(model, tmp_path / "out")).layers) == 2


def test_the_hint_for_a_tie_that_was_lost_mends_it(tmp_path: Path) -> None:
    model: Any = zoo.build("tiny", "model.num_layers=2", device="cpu")
    model.load_state_dict(model.state_dict(), assign=True)
    with pytest.raises(UsageError, match=r"assign=True\) .*: model\.lm_head\.weight = model\.embed\.weight$"):
        zoo.save(model, tmp_path / "out")
    model.lm_head.weight = model.embed.weight
    zoo.load(zoo.save(model, tmp_path / "out"))


@pytest.mark.slow
def test_the_hint_for_what_was_compiled_mends_it(tmp_path: Path) -> None:
    wrapped: Any = torch.compile(zoo.build("tiny", device="cpu"))
    with pytest.raises(UsageError, match=r"model\._orig_mod; "):
        zoo.save(wrapped, tmp_path / "out")
    zoo.load(zoo.save(wrapped._orig_mod, tmp_path / "out"))
