"""The FLOPs that zoo.anatomy.size computes are those that torch counts, without allocating a weight."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from tests.kinds import kinds
from zoo import presets
from zoo.anatomy import Anatomy
from zoo.anatomy.config import ModelConfig
from zoo.anatomy.size import Size
from zoo.models.construction import on_meta
from zoo.registry import installed

pytestmark = pytest.mark.slow  # torch imports its compiler to count

FAMILIES = sorted(installed().families)
LENGTH = 11


@pytest.mark.parametrize("name", FAMILIES)
def test_flops_of_every_tiny_forward_pass_are_those_that_were_counted(name):
    config = installed()[name].config_class.tiny()
    model, size = on_meta(config), Size.of(config)
    _skip_unless_tokens_are_enough(model)
    with FlopCounterMode(display=False) as counter, _Registered() as registered:
        model(torch.zeros(1, LENGTH, dtype=torch.long, device="meta"))
    assert counter.get_total_flops() == registered.total == _handed_flops(size) + _of_delta_nets(config, LENGTH)


@pytest.mark.parametrize("name", FAMILIES)
def test_flops_of_a_prompt_and_of_one_more_token_are_those_that_were_counted(name):
    _check(installed()[name].config_class.tiny())


@pytest.mark.parametrize("name", ["clip-vit-b32", "clip-vit-h14"])
def test_a_text_of_clip_costs_its_tower_and_one_projection(name):
    config = presets.config(name)
    model, size = on_meta(config), Size.of(config)
    with FlopCounterMode(display=False) as counter:
        model.text(torch.zeros(1, LENGTH, dtype=torch.long, device="meta"))
    once = 2 * config.projection_size * config.text.hidden_size
    assert counter.get_total_flops() == size.prefill_flops(LENGTH) + _masked_flops(size) + once


@pytest.mark.parametrize("name", ["vit-base", "vit-large"])
def test_a_picture_costs_its_patches_and_one_class(name):
    config = presets.config(name)
    model, size = on_meta(config), Size.of(config)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, config.image_size, config.image_size, device="meta"))
    # The class token is no patch, and the classifier reads it alone.
    patch, head = model.embed.patches.weight.numel(), model.classifier.weight.numel()
    assert counter.get_total_flops() == size.prefill_flops(config.num_patches + 1) - 2 * patch + 2 * head


@pytest.mark.parametrize("name", kinds())
def test_flops_of_a_preset_of_each_kind_are_those_that_were_counted(name):
    # Eight layers hold every kind that a preset has, two where all are alike; the whole depth is in the test below, and
    # in the counts above.
    config = presets.config(name)
    if hasattr(config, "num_layers"):
        anatomy, whole = config.anatomy(), tuple(range(config.num_layers))
        spans = {part.layers for part in (*anatomy.weights, *anatomy.attention)} - {None, whole, whole[:1]}
        few = {
            name: min(8 if spans else 2, number)
            for name in ("num_layers", "num_decoder_layers")
            if (number := getattr(config, name, None)) is not None
        }
        numbered = {
            f.name: [i for i in layers if i < few["num_layers"]]
            for f in dataclasses.fields(config)
            if f.name.endswith("_layers") and isinstance(layers := getattr(config, f.name), list)
        }
        config = dataclasses.replace(config, **few, **numbered)
    _check(config)


@pytest.mark.parametrize("name", ["gpt2-xl", "gemma3-12b-text", "deepseek-v2-lite", "t5-base", "qwen3-30b-a3b"])
def test_flops_of_the_whole_depth_are_those_that_were_counted(name):
    _check(presets.config(name))


def _check(config: ModelConfig) -> None:
    """The prompt and the token after it, in two passes: a hundred layers on meta take their time."""
    model, size = on_meta(config), Size.of(config)
    if size.anatomy.cross:
        return _check_encoder_decoder(model, size)
    _skip_unless_tokens_are_enough(model)
    cache = {"cache": model.new_cache(1, LENGTH + 1)} if hasattr(model, "new_cache") else {}
    with _Registered() as counter:
        model(torch.zeros(1, LENGTH, dtype=torch.long, device="meta"), **cache)
    assert counter.total == _handed_flops(size) + _of_delta_nets(config, LENGTH)
    if cache:
        with _Registered() as counter:
            model(torch.zeros(1, 1, dtype=torch.long, device="meta"), **cache)
        assert counter.total == size.flops_per_token(LENGTH) + _of_delta_nets(config, 1)


def _check_encoder_decoder(model: nn.Module, size: Size) -> None:
    """A source read, and one token written after as many others; no key is masked where torch counts."""
    tokens = torch.zeros(1, LENGTH, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        memory = model.encode(tokens)
        cache = model.new_cache(1, LENGTH, memory)
    assert counter.get_total_flops() == size.prefill_flops(LENGTH)
    assert cache.nbytes == size.cache_bytes(LENGTH) + size.source_cache_bytes(LENGTH)
    model.decode(tokens[:, 1:], memory, cache=cache)
    with FlopCounterMode(display=False) as counter:
        model.decode(tokens[:, :1], memory, cache=cache)
    assert counter.get_total_flops() == size.flops_per_token(LENGTH - 1)


def _handed_flops(size: Size) -> int:
    """What torch counts for LENGTH tokens: the formula, and the pairs that a kernel is handed but the mask forbids."""
    # BERT's pooler and its sentence head act on one token of a text.
    once = [w for w in size.anatomy.weights if w.role == "head" and len(w.shape) == 2 and not w.is_matmul]
    told = size.prefill_flops(LENGTH) + _masked_flops(size) + sum(2 * w.numel for w in once)
    # DeBERTa's table of distances is projected once for a text, however long: for each layer and each term.
    tables = [w for w in size.anatomy.weights if w.name == "distances.table.weight"]
    return told + sum(round(2 * w.numel * w.used * w.shape[1]) for w in tables) + _widened_flops(size)


def _widened_flops(size: Size) -> int:
    """Products with the zeros that fill values up to the width of the keys, for a kernel: no part of a model."""
    layers = ((a, len(a.layers) * a.num_heads * _handed(a)) for a in size.anatomy.attention)
    return sum(2 * max(0, a.qk_dim - a.v_dim) * count for a, count in layers)


def _of_delta_nets(config: ModelConfig, tokens: int) -> int:
    """What torch counts of a delta net beyond the formula, which charges the recurrence.

    Of the seven FLOPs for each number of a state, those are not products of matrices that let it decay and write to it.
    Several tokens at once multiply keys and queries by keys, what is written by these, and each by the state.
    """
    if (d := getattr(config, "delta", None)) is None:
        return 0
    state, pairs = d.key_dim * d.value_dim, tokens * tokens * (4 * d.key_dim + 2 * d.value_dim)
    counted = 4 * state if tokens == 1 else pairs + 6 * tokens * state
    layers = sum(len(s.layers) for s in config.anatomy().states if s.is_wide)
    return layers * d.num_heads * (counted - 7 * tokens * state)


def _masked_flops(size: Size) -> int:
    return sum(2 * _of_a_pair(a) * len(a.layers) * (_handed(a) - _allowed(a)) for a in size.anatomy.attention)


def _of_a_pair(a) -> int:
    """Products of one query and one key over all heads, and over those of an indexer where it has to choose."""
    heads, width, _ = a.indexer if a.indexer is not None and a.chosen < LENGTH else (0, 0, 0)
    return a.num_heads * (a.qk_dim + a.v_dim) + heads * (width + 1)


class _Registered(TorchDispatchMode):
    """FLOPs by torch's own formulas, in half the time of its counter, which looks for a decomposition of every op."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _allowed(a) -> int:
    """Pairs of query and key that the mask lets through: what the formula charges."""
    one = Anatomy()
    one.attends([0], 1, 1, 1, window=a.window, is_causal=a.is_causal, is_chunked=a.is_chunked)
    return Size(one).prefill_flops(LENGTH) // 4


def _handed(a) -> int:
    """Pairs that torch counts: a causal kernel is charged for masked keys too, a banded one block by block."""
    window = a.window
    if window is None or window >= LENGTH or not a.is_causal:
        return LENGTH * LENGTH
    blocks = [(start, min(start + window, LENGTH)) for start in range(0, LENGTH, window)]
    before = 0 if a.is_chunked else window - 1
    return sum((end - start) * (end - max(0, start - before)) for start, end in blocks)


def _skip_unless_tokens_are_enough(model: nn.Module) -> None:
    needs = [p.name for p in inspect.signature(model.forward).parameters.values() if p.default is p.empty]
    if needs != ["tokens"]:
        pytest.skip(f"its forward pass takes {', '.join(needs)}")
