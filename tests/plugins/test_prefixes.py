"""A prefix that the sandbox sees both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.plugins.test_decoder import MLA, mixture, texts
from zoo.errors import UsageError
from zoo.models.construction import materialise, on_meta
from zoo.testing.subject import peaked


@pytest.mark.parametrize("attention", [{"num_kv_heads": 2}, MLA], ids=["heads", "mla"])
@torch.no_grad()
def test_a_prefix_is_seen_both_ways_and_the_rest_from_left_to_right(attention: dict[str, Any]) -> None:
    mark, config = 3, mixture(attention=attention | {"prefix_token": 3})
    model = peaked(materialise(on_meta(config), device="cpu")).double().eval()
    plain = materialise(on_meta(mixture(attention=attention)), device="cpu").double().eval()
    plain.load_state_dict(model.state_dict())
    tokens = texts(2, 12)
    assert torch.equal(model(tokens), plain(tokens))  # without the mark there is no prefix
    tokens[:, 6], tokens[1, 4] = mark, mark
    whole, changed = model(tokens), tokens.clone()
    changed[:, 3] = 60
    sees = (model(changed) - whole).abs().amax(-1) > 1e-9
    assert sees.all()  # what stands before the change in the prefix sees it too
    changed = tokens.clone()
    changed[:, 8] = 60
    assert (model(changed) - whole).abs().amax(-1).gt(1e-9).tolist() == [[i >= 8 for i in range(12)]] * 2
    cache = model.new_cache(2, 12)
    steps = [model(tokens[:, :9], cache=cache), *(model(tokens[:, i : i + 1], cache=cache) for i in range(9, 12))]
    assert (torch.cat(steps, 1) - whole).abs().max() < 1e-9  # float64
    mask = torch.ones(2, 14, dtype=torch.bool)
    mask[:, :2] = False
    padded = torch.cat([torch.full((2, 2), mark), tokens], 1)
    assert (model(padded, attention_mask=mask)[:, 2:] - whole).abs().max() < 1e-9


@torch.no_grad()
def test_a_prefix_is_neither_read_in_pieces_nor_rewound_into() -> None:
    config = mixture(attention={"prefix_token": 3})
    model = materialise(on_meta(config), device="cpu").eval()
    tokens = texts(1, 9)
    tokens[0, 5] = 3
    cache = model.new_cache(1, 12)
    model(tokens[:, :4], cache=cache)
    with pytest.raises(UsageError, match="a prefix that ends with token 3 is read in one pass"):
        model(tokens[:, 4:], cache=cache)
    cache = model.new_cache(1, 12)
    model(tokens, cache=cache)
    with pytest.raises(UsageError, match="cannot be rewound to 2"):
        cache.rewind(2)
