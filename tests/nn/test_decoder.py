"""A whole decoder of the blocks: what the parts must still do once they are put together.

A two-layer LLaMA-like model, its first layer with a window, large random weights; float64, held to 1e-12 by the same
reasoning as in test_attention.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.nn.naive import close
from zoo.anatomy.config import RopeConfig
from zoo.errors import UsageError
from zoo.nn import Attention, Decoder, GatedMLP, Mask, PreNormLayer, RMSNorm, Rope, causal, hidden_states, sliding

VOCAB, HIDDEN = 23, 16


@dataclass
class Sizes:
    """All that the trunk asks of a config."""

    vocab_size: int = VOCAB
    hidden_size: int = HIDDEN
    tie_embeddings: bool = False


def decoder(*masks: Mask, tied: bool = False, scaling: str = "none") -> Decoder:
    rope = Rope(6, RopeConfig(theta=30.0, scaling=scaling, factor=1.0 if scaling == "none" else 4.0), 8)
    layers = (
        PreNormLayer(
            Attention(HIDDEN, 4, 2, 6, rope=rope, mask=mask),
            GatedMLP(HIDDEN, 20, F.silu),
            RMSNorm(HIDDEN, 1e-5),
            RMSNorm(HIDDEN, 1e-5),
        )
        for mask in masks
    )
    model = Decoder(Sizes(tie_embeddings=tied), layers, RMSNorm(HIDDEN, 1e-5))
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return model.eval()


def texts(batch_size: int = 2, length: int = 12) -> Tensor:
    return torch.randint(VOCAB, (batch_size, length))


@pytest.fixture
def model() -> Decoder:
    return decoder(sliding(5), causal)


def test_logits_are_the_parts_one_after_the_other(model: Decoder) -> None:
    tokens = texts()
    states = hidden_states(model, tokens)
    assert len(states) == 1 + 2 + 1  # what enters, each layer's output, after the norm
    close(states[0], model.embed.weight[tokens])
    close(states[-1], model.norm(states[-2]))
    close(model(tokens), states[-1] @ model.lm_head.weight.T)


@pytest.mark.parametrize("chunks", [(12,), (1,) * 12, (7, 1, 4), (5, 5, 2), (2, 10), (6, 6)], ids=str)
@torch.inference_mode()
def test_cached_equals_full(model: Decoder, chunks: tuple[int, ...]) -> None:
    tokens = texts()
    cache = model.new_cache(2, 12)
    parts = [model(part, cache=cache) for part in tokens.split(chunks, 1)]
    close(torch.cat(parts, 1), model(tokens))
    assert cache.length == cache.max_len == 12


@torch.inference_mode()
def test_left_and_right_padding_give_what_none_gives(model: Decoder) -> None:
    text, pad = texts(1, 9), texts(1, 3)
    left, right = torch.cat((pad, text), 1), torch.cat((text, pad), 1)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, :3], mask[1, 9:] = False, False
    out = model(torch.cat((left, right)), attention_mask=mask)
    alone = model(text)[0]
    close(out[mask].unflatten(0, (2, 9)), torch.stack((alone, alone)))
    last = model(torch.cat((left, right)), attention_mask=mask, last=True)
    close(last[:, 0], torch.stack((alone[-1], alone[-1])))


@torch.inference_mode()
def test_ragged_rows_go_on_from_their_own_ends(model: Decoder) -> None:
    """Prompts of 9, 6 and 0 tokens, left, right and only padding, then five tokens each, one at a time."""
    prompts, more = texts(3, 9), texts(3, 5)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 6:], mask[2] = False, False
    cache = model.new_cache(3, 14)
    model(prompts, attention_mask=mask, cache=cache)
    steps = torch.cat([model(more[:, t : t + 1], cache=cache) for t in range(5)], 1)
    for row, length in enumerate((9, 6, 0)):
        alone = model(torch.cat((prompts[row : row + 1, :length], more[row : row + 1]), 1))
        close(steps[row], alone[0, length:])


@torch.inference_mode()
def test_a_full_cache_refuses_before_anything_is_written(model: Decoder) -> None:
    cache = model.new_cache(2, 4)
    model(texts(2, 3), cache=cache)
    held = [layer.k.clone() for layer in cache.layers]
    with pytest.raises(UsageError, match="holds 4 tokens and has 3; 2 more do not fit"):
        model(texts(2, 2), cache=cache)
    assert all(torch.equal(a, layer.k) for a, layer in zip(held, cache.layers, strict=True))


def test_a_tied_head_is_the_embedding() -> None:
    model, tokens = decoder(causal, tied=True), texts()
    assert model.lm_head.weight is model.embed.weight
    model(tokens).logsumexp(-1).sum().backward()
    assert model.embed.weight.grad.ne(0).all()  # through the head, also the rows of tokens that do not occur


def test_gradients_reach_every_parameter(model: Decoder) -> None:
    model(texts()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.ne(0).any(), name


def test_dynamic_scaling_grows_with_the_text() -> None:
    """Beyond the trained length (8) all angles change with each token, so earlier logits change too, by design."""
    model, tokens = decoder(causal, scaling="dynamic"), texts(1, 12)
    close(model(tokens[:, :7]), model(tokens[:, :8])[:, :7])
    assert (model(tokens[:, :9])[:, :7] - model(tokens)[:, :7]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_dtype_of_the_weights_is_the_dtype_of_everything(dtype: torch.dtype) -> None:
    model = decoder(sliding(5), causal).to(dtype)
    cache = model.new_cache(2, 12)
    assert cache.layers[0].k.dtype == cache.layers[1].v.dtype == dtype
    out = model(texts(), cache=cache)
    assert out.dtype == dtype
    assert torch.isfinite(out).all()


def test_works_on_meta() -> None:
    with torch.device("meta"):
        model = decoder(sliding(5), causal)
        cache = model.new_cache(2, 12)
        assert model(torch.empty(2, 9, dtype=torch.long), cache=cache, last=True).shape == (2, 1, VOCAB)


def padding(length: int = 12) -> Tensor:
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, :3] = False
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("mask", [pytest.param(None, marks=pytest.mark.slow), padding()], ids=["unpadded", "padded"])
@torch.inference_mode()
def test_compiles_into_one_graph(model: Decoder, mask: Tensor | None) -> None:
    tokens = texts()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    real = torch.ones(2, 12, dtype=torch.bool) if mask is None else mask
    close(compiled(tokens, attention_mask=mask), model(tokens, attention_mask=mask), real)


@pytest.mark.slow
@torch.inference_mode()
def test_compiles_into_one_graph_with_a_cache(model: Decoder) -> None:
    tokens, cache = texts(), model.new_cache(2, 12)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    parts = [compiled(part, cache=cache) for part in tokens.split((7, 1, 1, 1, 1, 1), 1)]
    close(torch.cat(parts, 1), model(tokens))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@torch.inference_mode()
def test_compiles_with_the_other_backends(model: Decoder, backend: str) -> None:
    tokens = texts()
    torch._dynamo.reset()
    close(torch.compile(model, fullgraph=True, backend=backend)(tokens), model(tokens))


@pytest.mark.slow
@pytest.mark.parametrize("mask", [None, padding()], ids=["unpadded", "padded"])
def test_exports(model: Decoder, mask: Tensor | None) -> None:
    tokens = texts()
    exported = torch.export.export(model, (tokens,), {"attention_mask": mask}).module()
    close(exported(tokens, attention_mask=mask), model(tokens, attention_mask=mask))


@pytest.mark.slow
def test_exports_for_any_batch_size_and_length() -> None:
    """Without a window, whose blocks are cut by the length at hand."""
    model = decoder(causal, causal)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=64)}
    exported = torch.export.export(model, (texts(),), dynamic_shapes=(sizes,)).module()
    for tokens in (texts(1, 2), texts(3, 30)):
        close(exported(tokens), model(tokens))
