"""Llama 4: the released configs, what is refused, queries that grow with the position, and how experts are chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError
from zoo.nn.side_by_side import lay_side_by_side
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

# The text_config of Llama-4-Scout-17B-16E-Instruct and, below, what is otherwise in that of Llama-4-Maverick-17B-128E.
SCOUT: dict[str, Any] = {
    "attention_bias": False,
    "attention_chunk_size": 8192,
    "attention_dropout": 0.0,
    "bos_token_id": 200000,
    "eos_token_id": [200001, 200007, 200008],
    "for_llm_compressor": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "initializer_range": 0.02,
    "interleave_moe_layer_step": 1,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "max_position_embeddings": 10485760,
    "model_type": "llama4_text",
    "no_rope_layers": [],
    "num_attention_heads": 40,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "num_local_experts": 16,
    "output_router_logits": False,
    "pad_token_id": 200018,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_qk_norm": True,
    "vocab_size": 202048,
}  # fmt: skip
MAVERICK: dict[str, Any] = {
    "interleave_moe_layer_step": 2, "max_position_embeddings": 1048576, "num_local_experts": 128, "rope_scaling": None,
    "use_qk_norm": False,
}  # fmt: skip
VISION: dict[str, Any] = {
    "attention_dropout": 0.0, "hidden_act": "gelu", "hidden_size": 1408, "image_size": 336, "initializer_range": 0.02,
    "intermediate_size": 5632, "model_type": "llama4_vision_model", "multi_modal_projector_bias": False,
    "norm_eps": 1e-05, "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 34, "patch_size": 14,
    "pixel_shuffle_ratio": 0.5, "projector_dropout": 0.0, "projector_input_dim": 4096, "projector_output_dim": 4096,
    "rope_theta": 10000, "vision_feature_layer": -1, "vision_feature_select_strategy": "default",
    "vision_output_dim": 4096, "_attn_implementation_autoset": True,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "architectures": ["Llama4ForConditionalGeneration"], "boi_token_index": 200080, "eoi_token_index": 200081,
    "image_token_index": 200092, "model_type": "llama4", "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0.dev0",
}  # fmt: skip


def read(raw: dict[str, Any]) -> Any:
    hf = ForeignConfig({"architectures": ["Llama4ForCausalLM"]} | raw)
    config = installed()["llama4"].dialect("hf").from_config(hf)
    hf.check()
    return config


def read_whole(text: dict[str, Any], vision: dict[str, Any], **keys: Any) -> Any:
    hf = ForeignConfig(WHOLE | {"text_config": text, "vision_config": vision} | keys)
    config = installed()["llama4_vl"].dialect("hf").from_config(hf)
    hf.check()
    return config


@pytest.mark.parametrize(("name", "keys"), [("llama4-scout", {}), ("llama4-maverick", MAVERICK)])
def test_released_config_is_the_preset(name: str, keys: dict[str, Any]) -> None:
    for kind, found in ((f"{name}-text", read(SCOUT | keys)), (name, read_whole(SCOUT | keys, VISION))):
        known = preset(kind)
        assert found == replace(known, **{f: getattr(type(known), f) for f in BOOKKEEPING if f != "dtype"})


@pytest.mark.parametrize(
    ("name", "published"), [("llama4-scout", 108_641_793_536), ("llama4-maverick", 401_583_781_376)]
)
def test_presets_have_the_published_number_of_parameters(name: str, published: int) -> None:
    whole, text = (sum(w.numel for w in preset(kind).anatomy().weights) for kind in (name, f"{name}-text"))
    assert whole == published
    assert whole - text == sum(w.numel for w in preset(name).anatomy().weights if w.role == "vision")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"norm_eps": 1e-6}, "norm_eps: 1e-06 is not supported"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"multi_modal_projector_bias": True}, "multi_modal_projector_bias"),
        ({"intermediate_size": 1408}, "intermediate_size: 1408, but the other keys need 5632"),
        ({"vision_output_dim": 7680}, "vision_output_dim: 7680, but the other keys need 4096"),
        ({"projector_input_dim": 1024}, "projector_input_dim: 1024, but"),
        ({"pixel_shuffle_ratio": 0.3}, "pixel_shuffle_ratio: 0.3 is not one over"),
        ({"pixel_shuffle_ratio": 0.0}, "pixel_shuffle_ratio: 0.0 is not one over"),
        ({"image_size": 340}, "multiple"),
        ({"num_attention_heads": 64}, "multiple"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "'linear' is not supported"),
        ({"model_type": "siglip_vision_model"}, "model_type"),
        ({"vision_feature_layer": -2}, "vision_feature_layer"),
        ({"use_cls": True}, "use_cls"),
    ],
)
def test_another_tower_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=message):
        read_whole(SCOUT, VISION | keys)


def test_a_tied_head_is_told_once() -> None:
    with pytest.raises(CheckpointError, match="tie_word_embeddings: True, but text_config says otherwise"):
        read_whole(SCOUT, VISION, tie_word_embeddings=True)


def test_layers_are_read_in_every_spelling() -> None:
    """Lists or steps, and the 4 that transformers 4.51 wrote for a temperature."""
    found = read(SCOUT | MAVERICK | {"moe_layers": [*range(1, 48, 2)], "attn_temperature_tuning": 4})
    assert found == read(SCOUT | MAVERICK)
    rotates = [int((i + 1) % 4 != 0) for i in range(48)]
    kinds = ["chunked_attention" if does else "full_attention" for does in rotates]
    assert read(SCOUT | {"no_rope_layers": rotates, "layer_types": kinds}) == read(SCOUT)
    assert read(SCOUT | {"no_rope_layer_interval": 2}).nope_layers == [*range(1, 48, 2)]
    assert read(SCOUT | {"attn_temperature_tuning": False}).temperature_scale is None
    assert read(SCOUT | {"layer_types": ["full_attention"] * 48}).chunked_layers == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layer_types": ["full_attention"] * 3}, "layer_types: it does not say"),
        ({"layer_types": ["sliding_attention"] * 48}, "layer_types: it does not say"),
        ({"no_rope_layers": [1] * 47}, "no_rope_layers: it does not have a 0 or a 1 for each of 48 layers"),
        ({"no_rope_layers": [2] * 48}, "no_rope_layers: it does not have a 0 or a 1"),
        ({"no_rope_layer_interval": 0}, "no_rope_layer_interval: 0 is not a number of layers"),
        ({"interleave_moe_layer_step": 0}, "interleave_moe_layer_step: 0 is not a number of layers"),
        ({"moe_layers": [48]}, "moe_layers: 48 is not one of the 48 layers"),
        ({"attention_chunk_size": None}, "attention_chunk_size: null"),
        ({"attention_chunk_size": 0}, "chunk_size=0"),
        ({"attn_temperature_tuning": 2}, "attn_temperature_tuning"),
        ({"attn_temperature_tuning": None}, "attn_temperature_tuning: null is neither"),
        ({"attn_scale": None}, "attn_scale: null"),
        ({"attn_scale": -0.1}, "temperature_scale=-0.1 is not from 0"),
        ({"floor_scale": 0}, "temperature_length=0"),
        ({"num_experts_per_tok": 17}, "experts_per_token=17"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"sliding_window": 512}, "sliding_window"),
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
    ],
)
def test_another_model_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=message):
        read(SCOUT | keys)


def test_bands_without_a_width_are_kept_or_stretched() -> None:
    """Meta's own rule for Scout: a wavelength above 8192 tokens is stretched, a shorter one kept."""
    from zoo.anatomy import frequencies

    rope = preset("llama4-scout-text").rope
    plain = [500_000.0 ** (-2 * i / 128) for i in range(64)]
    expected = [f / 16 if 2 * math.pi / f > 8192 else f for f in plain]
    assert frequencies(128, rope, 10_485_760) == pytest.approx(expected, rel=1e-15)
    assert len({f / e for f, e in zip(plain, expected, strict=True)}) == 2


@torch.no_grad()
def test_queries_grow_with_the_position() -> None:
    """q (1 + s ln(1 + floor((p + 1) / f))), written out for one head of a layer without positions."""
    tiny = replace(
        installed()["llama4"].config_class.tiny(), num_layers=1, nope_layers=[0], chunked_layers=[], dense_layers=[],
        num_heads=1, num_kv_heads=1, temperature_scale=0.7, temperature_length=3,
    )  # fmt: skip
    attn = zoo.build(tiny, device="cpu").double().layers[0].attn
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 9, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    from zoo.nn import Span

    found = attn(x, Span(1, 9, x.device))[0]
    q, k, v = (p(x[0]) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    factor = torch.tensor([1 + 0.7 * math.log(1 + (p + 1) // 3) for p in range(9)], dtype=torch.float64)
    assert factor[:3].tolist() == [1.0, 1.0, 1 + 0.7 * math.log(2)]
    scores = (q * factor[:, None]) @ k.T / math.sqrt(10)
    weights = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf")).softmax(-1)
    torch.testing.assert_close(found, attn.o_proj(weights @ v), rtol=0, atol=1e-12)
    # a step's projections may be one product, which must not pass the growth by
    lay_side_by_side(attn)
    cache = attn.new_cache(1, 9)
    from zoo.nn import Cache

    whole = Cache([cache], 1, 9)
    steps = []
    for t in range(9):
        span = Span(1, 1, x.device, cache=whole)
        steps.append(attn(x[:, t : t + 1], span, cache))
        whole.advance(span)
    torch.testing.assert_close(torch.cat(steps, 1)[0], found, rtol=0, atol=1e-12)


def tokens(mlp: Any, x: Tensor) -> Tensor:
    """What the released code gives: every expert is given every token, times a score that is 0 if it is not chosen."""
    logits = x @ mlp.router.weight.T
    best = logits.topk(mlp.router.experts_per_token, -1)
    scores = torch.full_like(logits, float("-inf")).scatter(-1, best.indices, best.values).sigmoid()
    out = mlp.shared(x)
    for e in range(logits.shape[-1]):
        gate, up, down = (stack[e] for stack in mlp.experts.stacks())
        scaled = x * scores[..., e : e + 1]
        out = out + (nn.functional.silu(scaled @ gate.T) * (scaled @ up.T)) @ down.T
    return out


@torch.no_grad()
@pytest.mark.parametrize("size", [1.0, 60.0], ids=["apart", "sigmoids of 1"])
def test_experts_are_given_the_scaled_token(size: float) -> None:
    """Large logits have the same sigmoid in float64 too: the choice goes by the logits."""
    mlp = zoo.build(installed()["llama4"].config_class.tiny(), device="cpu").double().layers[0].mlp
    torch.manual_seed(0)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = size * torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found, expected = mlp(x), tokens(mlp, x)
    rounding = 1e-14 * expected.abs().max().item()  # of sums in another order, whose terms are as large as the largest
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding)
    one = torch.cat([mlp(x[:1, t : t + 1]) for t in range(7)], 1)
    torch.testing.assert_close(one, expected[:1], rtol=0, atol=rounding)


@torch.no_grad()
def test_bfloat16_rotates_in_float32() -> None:
    """As the released code does: what is rounded to bfloat16 is the rotated query, not its cosines."""
    rope = zoo.build(installed()["llama4"].config_class.tiny(), device="cpu").layers[0].attn.rope
    x = torch.randn(1, 40, 2, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    places = torch.arange(40)[None]
    found = rope.rotate(x, rope(places, torch.bfloat16))
    expected = rope.rotate(x.double(), rope(places, torch.float64)).bfloat16()
    assert found.dtype == torch.bfloat16
    # A number near a border of two bfloat16 may fall on its other side.
    assert (found != expected).float().mean() < 0.005


@torch.no_grad()
def test_a_text_that_is_padded_on_the_left_is_what_it_is_alone() -> None:
    """Queries grow with the tokens before them; transformers counts the padding, too."""
    tiny = installed()["llama4"].config_class.tiny()
    model = zoo.build(tiny, device="cpu", dtype="float64").eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    text = torch.tensor([[5, 9, 7, 3, 11, 2, 8, 4, 30, 21, 50]])
    padded = torch.cat((torch.zeros(1, 4, dtype=torch.long), text), 1)
    mask = torch.ones_like(padded, dtype=torch.bool)
    mask[:, :4] = False
    torch.testing.assert_close(model(padded, attention_mask=mask)[:, 4:], model(text), rtol=0, atol=1e-12)


def test_a_picture_has_places_for_its_tiles_row_by_row_and_for_the_whole() -> None:
    """As transformers' Llama4Processor writes them; of one tile the whole alone."""
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    config = installed()["llama4_vl"].config_class.tiny()
    spell = {61: "<p>", 62: "<start>", 63: "<end>"}.__getitem__
    images = [image.new("RGB", size) for size in ((30, 22), (12, 12), (24, 5))]  # of tiles of 12, with 4 states each
    made = installed()["llama4_vl"].picture_reader(config, images, None, spell)
    tile, beside, below = "<p>" * 4, "<|tile_x_separator|>", "<|tile_y_separator|>"
    row, whole = f"{tile}{beside}{tile}", f"<|image|>{tile}<end>"
    expected = [f"{row}{beside}{tile}{below}" * 2, "", f"{row}{below}"]
    assert made.spans == [f"<start>{tiles}{whole}" for tiles in expected]
    assert (made.marker, made.leads) == ("<|image|>", ["<|image|>"] * 3)
    assert made.inputs["pixels"].shape == (7 + 1 + 3, 3, 12, 12)
    with pytest.raises(CheckpointError, match="the picture settings: height: 336, but the model is made for 12"):
        installed()["llama4_vl"].picture_reader(config, images, {"image_processor_type": "Llama4ImageProcessor"}, spell)
