"""Models whose matrices are rounded while they are loaded: what is rounded, what is told, what they say."""

from __future__ import annotations

import pickle
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

FAMILIES = ["llama", "gpt2", "deepseek", "mixtral", "chatglm2", "gemma", "cohere", "gemma3n", "opt"]


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


@pytest.mark.parametrize("family", ["transformer", pytest.param("t5", marks=pytest.mark.slow)])
def test_an_encoder_decoder_looks_up_and_scores_with_one_rounded_matrix(family: str) -> None:
    """With the head's bias where there is one; float64 multiplies by the numbers themselves."""
    config = installed()[family].config_class.tiny()
    twin = zoo.build(config, device="cpu", dtype="float64").eval()
    model = zoo.build(config, device="cpu", dtype="float64", quantize="int8").eval()
    with torch.no_grad():
        if family == "transformer":
            for one in (model, twin):
                one.lm_head.bias.copy_(torch.arange(config.vocab_size))
        for name, layer in packed_layers(model).items():
            twin.get_parameter(name).copy_(layer.dequantise(torch.float64))
        source, target = torch.tensor([[3, 5, 7, 4]]), torch.tensor([[2, 9]])
        torch.testing.assert_close(model(source, target), twin(source, target), rtol=1e-9, atol=1e-9)  # float64
    assert model.lm_head is model.embed.matrix


def test_a_rounded_head_is_one_matrix_when_copied_cast_and_read_back_and_its_error_is_told() -> None:
    model = quietly("tiny", quantize="int8", dtype="bfloat16")
    assert model.embed.matrix is model.lm_head
    tokens = torch.tensor([[3, 5, 7, 5]])
    rows = model.lm_head.dequantise()
    assert torch.equal(model.embed(tokens), rows[tokens])  # to bfloat16 rounded once, as the whole matrix is
    again = pickle.loads(pickle.dumps(model))
    assert again.lm_head is again.embed.matrix
    assert torch.equal(again(tokens), model(tokens))
    twin = quietly("tiny", quantize="int8", dtype="bfloat16")
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(tokens), model(tokens))
    assert model.rounded.errors["embed.weight"] == pytest.approx(
        0.0063, rel=0.2
    )  # max / 127 / sqrt(12) of a normal row
    assert "an embedding that is not the head too, router" in model.rounded.note()
    assert "embedding, head, router" in quietly("tiny", quantize="int4").rounded.note()
    assert model.half().embed(tokens).dtype == torch.float16


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
    assert len(seen) == 36  # the table of tokens, which is the head too, among them
    assert set(seen) == {0}


def test_a_packed_model_generates_and_learns_around_its_matrices_and_is_not_saved(tmp_path: Path) -> None:
    model = quietly("tiny", quantize="int8")
    text = zoo.generate(model, "Once upon a time", max_new_tokens=12).new_tokens
    assert text == zoo.generate(quietly("tiny"), "Once upon a time", max_new_tokens=12).new_tokens
    model(torch.tensor([[1, 2, 3]])).float().sum().backward()
    assert model.layers[0].attn_norm.weight.grad.abs().sum() > 0  # through every packed layer behind it
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
    assert len(packed_layers(model)) == 7 * config.num_layers + 1  # and the head
    assert torch.isfinite(model(torch.tensor([[1, 2]]))).all()
