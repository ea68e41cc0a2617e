"""The trunk as it is described, against the modules that it describes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import nn

from tests.some import one_in
from zoo.anatomy.trunk import describe_trunk
from zoo.nn import Attention, Decoder, GatedMLP, PreNormLayer, RMSNorm, SandwichLayer, layer_of, sliding

HEADS = (6, 2, 4)


@dataclass
class Config:
    vocab_size: int = 11
    hidden_size: int = 16
    num_layers: int = 3
    max_seq_len: int = 32
    tie_embeddings: bool = False


def window_of(layer: int) -> int | None:
    return None if layer == 2 else 5


def built(c: Config, *, bias: bool, qk_norm: bool, is_layer_norm: bool, is_sandwiched: bool) -> Decoder:
    """The modules, put together by hand."""

    def norm() -> nn.Module:
        return nn.LayerNorm(c.hidden_size) if is_layer_norm else RMSNorm(c.hidden_size, 1e-5)

    layers = []
    for i in range(c.num_layers):
        mask = {} if window_of(i) is None else {"mask": sliding(5)}
        normed = {"qk_norm": lambda dim: RMSNorm(dim, 1e-5)} if qk_norm else {}
        attn = Attention(c.hidden_size, *HEADS, has_bias=bias, has_out_bias=False, **mask, **normed)
        mlp = GatedMLP(c.hidden_size, 20, nn.functional.silu)
        layers.append(SandwichLayer(attn, mlp, norm) if is_sandwiched else PreNormLayer(attn, mlp, norm(), norm()))
    return Decoder(c, layers, norm())


@pytest.mark.parametrize(
    ("bias", "qk_norm", "is_layer_norm", "is_sandwiched", "tied"), one_in(5, product((False, True), repeat=5))
)
def test_the_description_has_the_modules_weights_and_caches(
    bias: bool, qk_norm: bool, is_layer_norm: bool, is_sandwiched: bool, tied: bool
) -> None:
    c = Config(tie_embeddings=tied)
    choices = {"bias": bias, "qk_norm": qk_norm, "is_layer_norm": is_layer_norm, "is_sandwiched": is_sandwiched}
    with describe_trunk(c, HEADS, position="none", out_bias=False, window_of=window_of, **choices) as a:
        a.gated_mlp(c.hidden_size, 20)
    with torch.device("meta"):
        model = built(c, **choices)
    assert a.shapes() == {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert sorted((spec.layers, spec.window) for spec in a.attention) == [((0, 1), 5), ((2,), None)]
    kept = sum(len(spec.layers) * spec.cached * min(spec.window or 30, 30) for spec in a.attention)
    assert model.new_cache(1, 30).nbytes == 4 * kept  # float32
    assert a.traits["norm"].startswith("LayerNorm" if is_layer_norm else "RMSNorm")
    assert (a.traits["block"].count("norm") == 4) == is_sandwiched


@pytest.mark.parametrize("layout", ["pre", "branch", "parallel", "twin"])
def test_each_layout_has_the_norms_of_its_layer(layout: str) -> None:
    c = Config(tie_embeddings=False)
    with describe_trunk(
        c, HEADS, position="none", is_layer_norm=True, norm_bias=False, head_bias=True, layout=layout
    ) as a:
        a.gated_mlp(c.hidden_size, 20)

    def norm() -> nn.Module:
        return nn.LayerNorm(c.hidden_size, bias=False)

    with torch.device("meta"):
        parts = [(Attention(c.hidden_size, *HEADS), GatedMLP(c.hidden_size, 20, nn.functional.silu)) for _ in range(3)]
        model = Decoder(c, [layer_of(layout, attn, mlp, norm) for attn, mlp in parts], norm(), head_bias=True)
    assert a.shapes() == {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert ("side by side" in a.traits["block"]) == (layout in ("parallel", "twin"))
