"""Models whose matrices are rounded while they are loaded: what is rounded, what is told, what they say."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.some import one_in
from zoo.checkpoint.inspection import inspect
from zoo.checkpoint.loading import realise
from zoo.errors import UnknownName, UsageError, ZooWarning
from zoo.nn.packed import packed_layers
from zoo.registry import installed

FAMILIES = ["llama", "gpt2", "deepseek", "mixtral", "chatglm2", "gemma"]


def quietly(source: Path | str, **options: object) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        return zoo.load(source, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", one_in(3, FAMILIES))
def test_a_rounded_model_is_the_model_of_its_rounded_numbers(family: str, tmp_path: Path) -> None:
    """The same logits in float64, in which a packed layer multiplies by just the numbers that it stands for."""
    config = installed()[family].config_class.tiny()
    zoo.save(zoo.build(config, device="cpu", dtype="float32"), tmp_path / "a", format="zoo")
    model, twin = quietly(tmp_path / "a", quantize="int8", dtype="float64"), quietly(tmp_path / "a", dtype="float64")
    packed = packed_layers(model)
    assert packed
    for name, layer in packed.items():
        weight = twin.get_parameter(name)
        weight.data = layer.dequantise(torch.float64).reshape(weight.shape)
    tokens = torch.tensor([[3, 5, 7, 4, 9, 11]])
    caches = [m.new_cache(1, 8) for m in (model, twin)]
    with torch.inference_mode():
        for part in (tokens[:, :4], tokens[:, 4:5], tokens[:, 5:]):  # one token at a time is another way in some
            a, b = (m(part, cache=c) for m, c in zip((model, twin), caches, strict=True))
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)  # float64, summed in another order
    assert caches[0].nbytes == caches[1].nbytes


def test_errors_are_those_of_the_numbers_and_the_worst_is_named() -> None:
    with pytest.warns(ZooWarning, match=r"rounded to int4: 4 bits") as told:
        model = zoo.load("tiny", quantize="int4")
    whole, found = quietly("tiny"), model.rounded
    errors = {}
    for name, layer in packed_layers(model).items():
        before = whole.get_parameter(name).double()
        errors[name] = ((layer.dequantise(torch.float64) - before).norm() / before.norm()).item()
    assert found.errors == pytest.approx(errors, rel=1e-5)
    assert found.worst[0] == max(errors, key=errors.__getitem__)
    assert found.worst[0] in str(told[-1].message)
    assert model.ledger.notes[-1] == found.note()
    assert model.config.family == "llama"
    assert sum(p.numel() for p in whole.parameters()) == zoo.models.construction.count(model)


def test_the_whole_is_never_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each weight is packed before the next one is read."""
    ledger, seen = inspect("tiny"), []
    from zoo.models import rounding

    put = rounding.Rounder.put

    def counted(self: rounding.Rounder, name: str, *rest: object) -> None:
        seen.append(sum(p.numel() for n, p in self.model.named_parameters() if n in self.names and not p.is_meta))
        put(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rounding.Rounder, "put", counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        realise(ledger, dtype=None, device="cpu", quantize="int8")
    assert len(seen) == 35
    assert set(seen) == {0}


def test_a_packed_model_generates_and_learns_around_its_matrices_and_is_not_saved(tmp_path: Path) -> None:
    model = quietly("tiny", quantize="int8")
    text = zoo.generate(model, "Once upon a time", max_new_tokens=12).new_tokens
    assert text == zoo.generate(quietly("tiny"), "Once upon a time", max_new_tokens=12).new_tokens
    model(torch.tensor([[1, 2, 3]])).float().sum().backward()
    assert model.embed.weight.grad.abs().sum() > 0  # through every packed layer
    with pytest.raises(UsageError, match="cannot be written as they were: they come from no packed file"):
        zoo.save(model, tmp_path / "a")


def test_what_cannot_be_rounded_says_why() -> None:
    with pytest.raises(UnknownName, match="quantize='int3' is not known"):
        zoo.load("tiny", quantize="int3")
    with pytest.raises(UsageError, match="choose one"):
        zoo.load("tiny", quantize="int8", keep_packed=True)
    with pytest.raises(UsageError, match="none of its weights are packed"):
        zoo.load("tiny", keep_packed=True)


def test_a_built_model_is_rounded_too_and_on_meta_takes_nothing() -> None:
    config = installed()["llama"].config_class.tiny()
    assert all(layer.codes.is_meta for layer in packed_layers(zoo.build(config, quantize="int4")).values())
    model = zoo.build(config, device="cpu", quantize="int8")
    assert len(packed_layers(model)) == 7 * config.num_layers
    assert torch.isfinite(model(torch.tensor([[1, 2]]))).all()
