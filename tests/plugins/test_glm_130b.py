"""GLM-130B from parts, beside its layers written in the order of the released code (arXiv:2210.02414).

There a layer norms what it is given and multiplies that by sqrt(2 num_layers): the norm of each layer is the second
norm of the one before, the first layer's that of the embedding. Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.anatomy.size import Size
from zoo.presets import config as read_preset
from zoo.testing.subject import peaked

SMALL = ("vocab_size=61", "hidden_size=24", "intermediate_size=40", "num_layers=3", "num_heads=2", "head_dim=12")
SOP, LAYERS = 58, 3
TOKENS = torch.tensor([[3, 9, 4, 57, SOP, 7, 30, 2]])


def turned(x: Tensor) -> Tensor:
    """x [B, N, T, H], the halves of its channels as pairs, rotated by position: one angle of position for a pair."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def by_hand(w: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B, T, V]."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    count, prefix = tokens.shape[1], int((tokens[0] == SOP).nonzero()[0, 0])
    seen = torch.ones(count, count, dtype=torch.bool).tril()
    seen[:, :prefix] = True
    x, alpha = norm(w["embed.weight"][tokens], "embed_norm"), (2 * LAYERS) ** 0.5
    for i in range(LAYERS):
        at = f"layers.{i}"
        q, k, v = (linear(x, f"{at}.attn.{n}_proj").unflatten(-1, (2, 12)).transpose(1, 2) for n in "qkv")
        scores = (turned(q) @ turned(k).mT / 12**0.5).masked_fill(~seen, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)
        x = norm(x * alpha + linear(mixed, f"{at}.attn.o_proj"), f"{at}.attn_norm")
        gated = linear(x, f"{at}.mlp.up_proj") * F.gelu(linear(x, f"{at}.mlp.gate_proj"))
        x = norm(x * alpha + linear(gated, f"{at}.mlp.down_proj"), f"{at}.mlp_norm")
    return F.linear(x, w["embed.weight"])


@torch.no_grad()
def test_it_computes_what_the_released_layers_do() -> None:
    alpha = f"model.block.alpha={(2 * LAYERS) ** 0.5}"
    words = [*(f"model.{word}" for word in SMALL), alpha, f"model.attention.prefix_token={SOP}"]
    ends = [f"model.bos_token_id={SOP}", "model.eos_token_id=[59]"]
    model: Any = zoo.build("decoder/glm-130b", *words, *ends, device="cpu", dtype="float64")
    peaked(model)
    expected = by_hand(model.state_dict(), TOKENS)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(TOKENS), expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_the_preset_has_the_published_sizes() -> None:
    """As in the released launch script: 70 layers of width 12,288, an MLP of 32,768; the title says 130B."""
    config: Any = read_preset("decoder/glm-130b")
    layer = 4 * 12_288**2 + 3 * 12_288 * 32_768 + 4 * 12_288 + 2 * 32_768 + 12_288 + 4 * 12_288
    assert Size.of(config).parameters == 70 * layer + 150_528 * 12_288 + 2 * 12_288
    assert abs(config.block.alpha - 140**0.5) < 1e-12
