"""The pictures of masks are what the models do: a token that is disturbed changes what is drawn as seeing it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zoo.comparison import ComparedModel
from zoo.comparison.attention import PREFIX, SHADES, TOKENS, look, shrunk, specimen
from zoo.models.construction import build
from zoo.registry import installed


def one_layer(family: str, **fields):
    """A tiny config of a family with a single layer, so that what a token changes has gone through one attention."""
    config = installed()[family].config_class.tiny()
    return replace(config, num_layers=1, **fields)


def chunked():
    config = one_layer("qwen2", sliding_window=None, sliding_layers=None)
    return replace(config, dual_chunk=replace(config.dual_chunk, chunk_size=40, local_size=8), max_seq_len=64)


CONFIGS = {
    "causal": lambda: one_layer("llama"),
    "sliding": lambda: one_layer("mistral"),
    "sliding, drawn smaller": lambda: one_layer("mistral", sliding_window=32),
    "prefix": lambda: one_layer("chatglm"),
    "latent": lambda: one_layer("deepseek"),
    "ALiBi": lambda: one_layer("bloom"),
    "dual chunks": chunked,
    "log-n": lambda: one_layer("qwen"),
    "bidirectional": lambda: one_layer("bert"),
}


def seen_by_disturbing(config) -> torch.Tensor:
    """[query, key]: whether a nudge to the key token's embedding changes what comes out at the query, in float64."""
    model = build(config, device="cpu", dtype="float64").eval()
    tokens = specimen(config).expand(TOKENS + 1, -1)

    def nudge(module, inputs, output):
        output = output.clone()
        for j in range(TOKENS):
            output[j + 1, j] += torch.linspace(-1, 2, output.shape[-1], dtype=output.dtype)
        return output

    embed = next(m for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.num_embeddings > TOKENS)
    embed.register_forward_hook(nudge)
    with torch.no_grad():
        out = model(tokens)
    out = out if isinstance(out, torch.Tensor) else out.hidden
    change = (out[1:] - out[0]).abs().amax(-1).T
    # rounding of float64 leaves about 1e-16; the faintest attention of these widths some 1e-7
    assert not ((change > 1e-12) & (change < 1e-10)).any()
    return change > 1e-10


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_mask_is_drawn_as_the_model_attends(kind):
    config = CONFIGS[kind]()
    pictures = look(ComparedModel.of(config)).masks
    assert len(pictures) == 1
    drawn = torch.tensor(pictures[0].shades) > 0
    assert torch.equal(drawn, seen_by_disturbing(shrunk(config)[0]))


def test_the_kinds_are_as_their_papers_say():
    q, k = torch.arange(TOKENS)[:, None], torch.arange(TOKENS)
    expected = {
        "causal": k <= q,
        "sliding": (k <= q) & (k > q - 5),
        "sliding, drawn smaller": (k <= q) & (k > q - 8),
        "prefix": (k <= q) | (k < PREFIX) & (q < PREFIX),
        "bidirectional": (k == k) & (q == q),
    }
    for kind, mask in expected.items():
        drawn = torch.tensor(look(ComparedModel.of(CONFIGS[kind]())).masks[0].shades) > 0
        assert torch.equal(drawn, mask), kind


def test_captions_say_what_was_cut_down():
    (picture,) = look(ComparedModel.of(CONFIGS["sliding, drawn smaller"]())).masks
    assert (picture.title, picture.caption) == ("its one layer", "sliding window 32 drawn as 8")
    local, everywhere = look(ComparedModel.of("gemma2-9b")).masks
    assert (local.title, local.caption) == ("21 of 42 layers", "sliding window 4,096 drawn as 8")
    assert everywhere.caption == ""


def test_alibi_fades_as_its_slopes_say():
    (picture,) = look(ComparedModel.of("bloom-7b1")).masks
    slope = 2 ** (-8 * 17 / 32)  # of head 17 of 32, arXiv:2108.12409
    assert "head 17 of 32" in picture.caption
    assert picture.shades[20][11] == pytest.approx(math.exp(-slope * 9), rel=1e-9)


def test_dual_chunks_are_shaded_by_age():
    (picture,) = look(ComparedModel.of("qwen2.5-7b-1m")).masks
    chunk = 10 - 2
    for q in range(TOKENS):
        for k in range(q + 1):
            assert picture.shades[q][k] == pytest.approx(SHADES[min(q // chunk - k // chunk, 2)])


def test_wavelengths_are_those_of_the_model():
    (waves,) = look(ComparedModel.of("llama3-8b")).wavelengths.values()
    assert waves[0] == pytest.approx(2 * math.pi)
    assert waves[-1] == pytest.approx(2 * math.pi * 500_000 ** (126 / 128))
    local, everywhere = look(ComparedModel.of("gemma3-1b")).wavelengths.items()
    assert local[0] == "22 of 26 layers, window 512"
    assert (local[1][1], everywhere[1][1]) == pytest.approx(
        (2 * math.pi * 1e4 ** (1 / 128), 2 * math.pi * 1e6 ** (1 / 128))
    )
    assert not look(ComparedModel.of("gpt2")).wavelengths


@pytest.mark.parametrize("family", sorted(installed().families))
def test_every_family_says_who_attends_to_whom(family):
    subject = ComparedModel.of(installed()[family].config_class.tiny())
    attending = [a for a in subject.size.anatomy.attention if a.layers]
    assert len(look(subject).masks) == len(attending)
