"""Keys and values in 8 bits: bytes are those of the formula, numbers those that were written but for half a step."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.anatomy.size import Size
from zoo.errors import UsageError
from zoo.nn import Cache, StateCache, in_int8
from zoo.nn.rounded_cache import RoundedNumbers, int8_cache
from zoo.nn.unwritten import unallocated
from zoo.registry import installed

FAMILIES = ["llama", "gemma", "deepseek", "mistral", "qwen", "chatglm2", "gpt2"]


def test_numbers_are_off_by_half_a_step_at_most() -> None:
    new = torch.randn(2, 3, 4, 8)
    held = RoundedNumbers.empty(torch.zeros(2, 3, 9, 8))
    held[:, :, 2:6] = new
    step = new.abs().amax(-1, keepdim=True) / 127
    assert ((held[:, :, 2:6] - new).abs() <= step * (0.5 + 127 * 2**-8)).all()
    assert not held[:, :, 6:].any()
    assert torch.equal(held.index_select(0, torch.tensor([1]))[:, :, 2:6], held[:, :, 2:6][1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_are_those_of_the_formula_and_texts_go_on_alike(family: str) -> None:
    config = installed()[family].config_class.tiny()
    model = zoo.build(config, device="cpu", dtype="float32").eval()
    tokens = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8]])
    cache, plain = in_int8(model.new_cache(1, 12)), model.new_cache(1, 12)
    assert cache.nbytes == Size.of(config).cache_bytes(12, dtype="float32", is_rounded=True)
    with torch.inference_mode():
        for part in (tokens[:, :4], tokens[:, 4:7], tokens[:, 7:]):
            rounded, exact = model(part, cache=cache), model(part, cache=plain)
    assert cache.nbytes < plain.nbytes
    assert (rounded - exact).norm() / exact.norm() < 0.02  # each key and value is off by 0.4 % of its head's largest


@pytest.mark.parametrize("family", [*FAMILIES, "gpt_oss", "llama4", "gemma3n"])
def test_a_token_sees_all_rounded_however_many_are_read_with_it(family: str) -> None:
    """One by one, in parts that turn a ring, and padded beside another row: where drafts and batches say the same."""
    model = zoo.build(installed()[family].config_class.tiny(), device="cpu", dtype="float64").eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens, pad = torch.arange(3, 21)[None], 2
    both = torch.cat((torch.cat((tokens.new_zeros(1, pad), tokens), 1), torch.full((1, 18 + pad), 9)))
    mask = torch.ones_like(both, dtype=torch.bool)
    mask[0, :pad] = False
    with torch.inference_mode():
        cache = in_int8(model.new_cache(1, 18))
        singly = torch.cat([model(tokens[:, i : i + 1], cache=cache) for i in range(18)], 1)[0]
        cache = in_int8(model.new_cache(1, 18))
        parts = torch.cat([model(part, cache=cache) for part in tokens.split(7, 1)], 1)[0]
        cache = in_int8(model.new_cache(2, 18 + pad))
        ends = [(0, 9), *((i, i + 1) for i in range(9, 18 + pad))]
        padded = [model(both[:, a:b], attention_mask=mask[:, a:b], cache=cache)[:1] for a, b in ends]
    assert (parts - singly).abs().max() < 1e-9  # float64 sums in another order; rounding is some thousandths
    assert (torch.cat(padded, 1)[0, pad:] - singly).abs().max() < 1e-9


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_what_is_not_rounded_is_never_there(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.build(installed()[family].config_class.tiny(), device="cpu", dtype="float32").eval()
    made: list[int] = []
    zeros = torch.zeros

    def counted(*size: object, **named: object) -> torch.Tensor:
        made.append((found := zeros(*size, **named)).nbytes)
        return found

    plain = in_int8(model.new_cache(2, 12))
    monkeypatch.setattr(torch, "zeros", counted)
    cache = int8_cache(model, 2, 12)
    assert sum(made) <= cache.nbytes == plain.nbytes
    tokens = torch.tensor([[3, 5, 7, 4], [9, 11, 2, 8]])
    with torch.inference_mode():
        assert torch.equal(model(tokens, cache=cache), model(tokens, cache=plain))
        with unallocated():
            late = model.new_cache(2, 12)
        assert torch.equal(model(tokens, cache=late), model(tokens, cache=model.new_cache(2, 12)))


def test_generation_keeps_a_small_cache_where_it_is_told_to() -> None:
    model = zoo.load("tiny")
    text = "Once upon a time"
    plain, small = (zoo.generate(model, text, max_new_tokens=10, cache=form).texts for form in (None, "int8"))
    assert plain == small
    beams = zoo.generate(model, text, max_new_tokens=6, num_beams=3, cache="int8")
    assert beams.texts == zoo.generate(model, text, max_new_tokens=6, num_beams=3).texts
    with pytest.raises(UsageError, match="cache='int4' is not int8"):
        zoo.generate(model, text, cache="int4")


def test_what_keeps_no_keys_or_holds_some_already_is_refused() -> None:
    with pytest.raises(UsageError, match="no layer of this model keeps keys"):
        in_int8(Cache([StateCache(x=torch.zeros(1, 2))], 1, 4))
    model = zoo.build(installed()["llama"].config_class.tiny(), device="cpu")
    cache = model.new_cache(1, 4)
    model(torch.tensor([[1, 2]]), cache=cache)
    with pytest.raises(UsageError, match="only an empty cache"):
        in_int8(cache)
    source = zoo.build(installed()["t5"].config_class.tiny(), device="cpu", dtype="float32")
    assert in_int8(source.new_cache(1, 4)).nbytes < source.new_cache(1, 4).nbytes
