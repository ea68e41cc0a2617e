"""What ChatGLM-6B does with a prefix, and which of the models of its name it refuses to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.anatomy.size import Size
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.models.construction import materialise, on_meta
from zoo.presets.composition import compose
from zoo.registry import installed
from zoo.weights import ForeignConfig

torch.set_num_threads(1)


def gap(found: Tensor, stored: Tensor) -> float:
    assert found.shape == stored.shape
    return (found - stored).abs().max().item()


def tiny(**changed):
    kind = installed()["chatglm"].config_class
    return kind.from_dict({**kind.tiny().to_dict(), **changed})


def model() -> Any:
    return materialise(on_meta(tiny(), dtype="float64"), device="cpu", seed=3)


PROMPT = (5, 6, 57, 7, 58)  # with [gMASK] in the middle, <sop> at the end


@torch.inference_mode()
def test_several_tokens_on_a_cache_are_causal_among_themselves() -> None:
    m = model()
    tokens = torch.tensor([[*PROMPT, 9, 10, 11, 12]])
    whole = m(tokens)
    cache = m.new_cache(1, 9)
    found = torch.cat([m(part, cache=cache) for part in tokens.split([6, 2, 1], 1)], 1)
    assert gap(found, whole) < 1e-12
    cache.rewind(6)
    assert gap(m(tokens[:, 6:], cache=cache), whole[:, 6:]) < 1e-12


@torch.inference_mode()
def test_reordered_rows_keep_their_prefix() -> None:
    m = model()
    tokens = torch.tensor([[*PROMPT, 9], [57, 6, 58, 7, 8, 9]])
    cache = m.new_cache(2, 7)
    m(tokens, cache=cache)
    cache.reorder(torch.tensor([1, 1, 0]))
    more = torch.tensor([[3], [4], [5]])
    whole = m(torch.cat((tokens[[1, 1, 0]], more), 1))[:, -1:]
    assert gap(m(more, cache=cache), whole) < 1e-12


def test_a_cache_has_the_bytes_of_the_arithmetic_and_refuses_more_than_it_holds() -> None:
    m = model()
    cache = m.new_cache(1, 6)
    assert cache.nbytes == Size(m.config.anatomy(), "float64").cache_bytes(6)
    m(torch.tensor([PROMPT]), cache=cache)
    with pytest.raises(UsageError, match="holds 6 tokens and has 5; 2 more do not fit"):
        m(torch.tensor([[1, 2]]), cache=cache)
    assert cache.length == 5


@torch.inference_mode()
def test_padding_on_either_side_changes_nothing() -> None:
    m = model()
    alone, more = torch.tensor([[*PROMPT, 9]]), torch.tensor([[4], [4], [4]])
    tokens = torch.tensor([[0, 0, *PROMPT, 9], [*PROMPT, 9, 0, 0], [5, 57, 6, 7, 58, 9, 10, 11]])
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[0, :2], mask[1, 6:] = False, False
    cache = m.new_cache(3, 9)
    found = m(tokens, attention_mask=mask, cache=cache)
    assert gap(found[:1, 2:], m(alone)) < 1e-12
    assert gap(found[1:2, :6], m(alone)) < 1e-12
    assert gap(m(more, cache=cache)[:2], m(torch.cat((alone, more[:1]), 1))[:, -1:].expand(2, -1, -1)) < 1e-12


@torch.inference_mode()
def test_a_later_mask_moves_nothing_that_was_generated() -> None:
    m = model()
    text = torch.tensor([[5, 56, 7, 58, 9, 10, 57, 11]])  # [MASK] in the prefix, [gMASK] behind it
    assert gap(m(text)[:, :6], m(text[:, :6])) < 1e-12


def test_a_part_of_a_prefix_is_not_kept() -> None:
    m = model()
    cache = m.new_cache(1, 9)
    m(torch.tensor([PROMPT]), cache=cache)
    with pytest.raises(UsageError, match="a prefix of 4 tokens that have seen each other cannot be rewound to 3"):
        cache.rewind(3)
    cache.rewind(0)
    m(torch.tensor([[1, 57, 58]]), cache=cache)
    assert cache.prefix.length.tolist() == [[2]]


def test_a_prompt_that_says_too_little_is_refused() -> None:
    m = model()
    with pytest.raises(UsageError, match=r"row 1 of the tokens has no <sop> \(token 58\)"):
        m(torch.tensor([PROMPT, (1, 2, 3, 57, 4)]), cache=m.new_cache(2, 9))
    with pytest.raises(UsageError, match=r"row 0 of the tokens has neither \[gMASK\] \(token 57\) nor"):
        m(torch.tensor([[1, 2, 58, 57]]))
    mask = torch.tensor([[1, 1, 1, 1, 0]]).bool()
    with pytest.raises(UsageError, match="no <sop>"):  # padding does not count
        m(torch.tensor([PROMPT]), attention_mask=mask, cache=m.new_cache(1, 9))


def test_configs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.gmask_token_id=61 is not a token id below model.vocab_size=61"):
        tiny(gmask_token_id=61)
    with pytest.raises(ConfigError, match=r"model.bos_token_id=None is not a token"):
        tiny(bos_token_id=None)
    with pytest.raises(ConfigError, match="make heads of 6 channels"):
        tiny(num_heads=4)


@pytest.mark.parametrize(
    "key", [{"position_encoding_2d": False}, {"pre_seq_len": 128}, {"prefix_projection": True}, {"quantization_bit": 4}]
)
def test_other_models_of_the_same_name_are_refused(key: dict) -> None:
    hf = installed()["chatglm"].dialect("hf")
    with pytest.raises(CheckpointError, match=f"{next(iter(key))}: .* is not supported"):
        hf.from_config(ForeignConfig({**hf.to_config(tiny()), **key}))


def test_what_the_released_code_cannot_compute_is_not_written_for_it() -> None:
    hf = installed()["chatglm"].dialect("hf")
    with pytest.raises(UsageError, match=r"cannot store model.residual_layers=3"):
        hf.to_config(tiny(residual_layers=3))


def test_the_oldest_files_name_no_masks() -> None:
    hf = installed()["chatglm"].dialect("hf")
    raw = {k: v for k, v in hf.to_config(tiny()).items() if k not in ("mask_token_id", "gmask_token_id")}
    config = hf.from_config(ForeignConfig({**raw, "vocab_size": 150_528, "bos_token_id": 150_004}))
    assert (config.mask_token_id, config.gmask_token_id) == (150_000, 150_001)


@pytest.mark.slow
def test_the_preset_has_the_published_parameters() -> None:
    config = compose("chatglm-6b")
    assert Size.of(config).parameters == 6_173_286_400  # as model.parameters() of the released code, head tied
