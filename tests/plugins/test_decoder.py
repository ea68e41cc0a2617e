"""The sandbox: it equals every family that it can put together, and any sound mixture keeps the contract.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.some import some
from zoo.anatomy.config import RopeConfig
from zoo.anatomy.size import Size
from zoo.errors import ConfigError, UsageError
from zoo.models.construction import materialise, on_meta
from zoo.presets import config as read_preset
from zoo.presets.file import resolve
from zoo.presets.overrides import grammar
from zoo.registry import installed
from zoo.testing import check_family
from zoo.testing.subject import peaked

torch.set_num_threads(1)

SMALL = "vocab_size=61 hidden_size=24 num_layers=6 num_heads=6 max_seq_len=64".split()
MID = [*SMALL, "intermediate_size=40"]
HEADS = [*MID, "head_dim=10"]
EXPERTS = "num_experts=6 experts_per_token=3 moe_intermediate_size=18".split()
LATENT = "kv_lora_rank=10 nope_head_dim=8 rope_head_dim=6 v_head_dim=7 q_lora_rank=14".split()
DEEPSEEK = [*MID, *LATENT, *EXPERTS, "num_groups=3", "groups_per_token=2", "rope.original_max_seq_len=16"]

# preset of the sandbox: the preset that it equals, and what makes both small
EQUAL: dict[str, tuple[str, list[str]]] = {
    "llama3": ("llama3-8b", [*HEADS, "num_kv_heads=2"]),
    "gpt2": ("gpt2", MID),
    "mistral": ("mistral-7b-v0.1", [*HEADS, "num_kv_heads=2", "sliding_window=5"]),
    "mixtral": ("mixtral-8x7b", [*HEADS, "num_kv_heads=2"]),
    "gemma": ("gemma-7b", [*HEADS, "num_kv_heads=6", "query_pre_attn_scalar=7"]),
    "gemma2": ("gemma2-9b", [*HEADS, "num_kv_heads=2", "query_pre_attn_scalar=7", "sliding_window=5"]),
    "gemma3": ("gemma3-4b-text", [*HEADS, "num_kv_heads=2", "query_pre_attn_scalar=7", "sliding_window=5"]),
    "qwen2": ("qwen2-7b", [*HEADS, "num_kv_heads=2"]),
    "qwen2-moe": ("qwen1.5-moe-a2.7b", [*HEADS, *EXPERTS, "num_kv_heads=2", "shared_intermediate_size=72"]),
    "qwen2.5-1m": (
        "qwen2.5-7b-1m",
        [*HEADS, "num_kv_heads=2", *(f"dual_chunk.{size}" for size in ("chunk_size=8", "local_size=3")),
         "dual_chunk.original_max_seq_len=12"],
    ),
    "qwen3": ("qwen3-8b", [*HEADS, "num_kv_heads=2"]),
    "qwen3-moe": ("qwen3-30b-a3b", [*HEADS, *EXPERTS, "num_kv_heads=2"]),
    "bloom": ("bloom-560m", SMALL),
    "deepseek-v2": ("deepseek-v2", DEEPSEEK),
    "deepseek-v3": ("deepseek-v3", DEEPSEEK),
    "glm4": ("glm-4-9b-0414", [*HEADS, "num_kv_heads=2", "head_dim=12"]),
    "glm4.5": ("glm-4.5-air", [*HEADS, *EXPERTS, "num_kv_heads=2", "head_dim=12"]),
}  # fmt: skip

# Where the sandbox keeps what a family has among its own fields; what is not here has the same name.
PLACES = {
    **dict.fromkeys("num_kv_heads sliding_window query_pre_attn_scalar".split(), "attention"),
    **dict.fromkeys((word.partition("=")[0] for word in LATENT), "attention"),
    **dict.fromkeys("num_experts experts_per_token moe_intermediate_size num_groups groups_per_token".split(), "mlp"),
}
WIDTHS = {"gpt2": ["head_dim=4"], "bloom": ["head_dim=4", "intermediate_size=96"]}  # fields that follow in the family


def in_the_sandbox(override: str) -> str | None:
    name = override.partition("=")[0]
    if name == "shared_intermediate_size":
        return None  # four times the width of one expert, in both
    if name.startswith("dual_chunk."):
        return override.replace("dual_chunk", "attention")
    return f"{PLACES[name]}.{override}" if name in PLACES else override


def family_of(name: str) -> str:
    given, _ = EQUAL[name]
    if given not in installed().presets():
        pytest.skip(f"there is no preset {given}")
    family = resolve(given, installed().presets())["family"]
    if family not in installed().families:
        pytest.skip(f"the family {family} is not installed")
    return given


def pair(name: str, dtype: str = "float32") -> tuple[Any, Any]:
    """A small model of the family, and one of the sandbox that was given its weights."""
    given, small = family_of(name), EQUAL[name][1]
    there = [changed for changed in map(in_the_sandbox, small) if changed] + WIDTHS.get(name, [])
    family = peaked(materialise(on_meta(zoo.compose(given, *(f"model.{word}" for word in small))), device="cpu"))
    config = zoo.compose(f"decoder/{name}", *(f"model.{word}" for word in there))
    sandbox = materialise(on_meta(config), device="cpu", seed=1)
    sandbox.load_state_dict(family.state_dict())  # strict: the names coincide
    return family.to(getattr(torch, dtype)).eval(), sandbox.to(getattr(torch, dtype)).eval()


def texts(*shape: int) -> Tensor:
    return torch.randint(4, 61, shape, generator=torch.Generator().manual_seed(0))


def test_every_preset_of_the_sandbox_is_compared() -> None:
    alone = {"decoder/glm-130b"}  # of no family: see test_glm_130b.py
    found = {n for n in installed().presets() if n.startswith("decoder/")}
    assert {f"decoder/{name}" for name in EQUAL} | alone == found


@pytest.mark.parametrize("name", EQUAL)
def test_preset_has_the_released_size(name: str) -> None:
    family, sandbox = read_preset(family_of(name)), read_preset(f"decoder/{name}")
    assert sandbox.anatomy().shapes() == family.anatomy().shapes()
    same = ("dtype", "bos_token_id", "eos_token_id", "pad_token_id", "source", "max_seq_len")
    assert {field: getattr(sandbox, field) for field in same} == {field: getattr(family, field) for field in same}
    ours, theirs = Size.of(sandbox), Size.of(family)
    assert ours.cache_bytes(40_000) == theirs.cache_bytes(40_000)
    assert ours.prefill_flops(5000) == theirs.prefill_flops(5000)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", some(EQUAL, "gemma2"))
@torch.no_grad()
def test_it_equals_its_family_bit_for_bit(name: str, dtype: str) -> None:
    """On the same weights: a whole text, padded rows, and a cache filled by a prompt, a chunk and single tokens."""
    family, sandbox = pair(name, dtype)
    tokens = texts(2, 20)
    expected = family(tokens)
    assert torch.equal(sandbox(tokens), expected)
    assert expected.isfinite().all()
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[0, :3], mask[1, 18:] = False, False
    assert torch.equal(sandbox(tokens, attention_mask=mask)[mask], family(tokens, attention_mask=mask)[mask])
    caches = family.new_cache(2, 20), sandbox.new_cache(2, 20)
    assert caches[0].nbytes == caches[1].nbytes
    for a, b in ((0, 9), (9, 16), (16, 17), (17, 18), (18, 19), (19, 20)):
        theirs, ours = (m(tokens[:, a:b], cache=cache) for m, cache in zip((family, sandbox), caches, strict=True))
        assert torch.equal(ours, theirs), f"tokens {a} to {b}"


def mixture(**parts: dict[str, Any]) -> Any:
    """The tiny sandbox with some parts replaced; its own are plain multi-head attention and SwiGLU."""
    kind = installed()["decoder"].config_class
    sizes: dict[str, Any] = {
        "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_layers": 3, "num_heads": 6, "head_dim": 10,
        "max_seq_len": 64, "rope": {"theta": 1000.0},
    }  # fmt: skip
    return kind.from_dict(sizes | parts)


MLA = {
    "kind": "mla", "q_lora_rank": 14, "kv_lora_rank": 10, "nope_head_dim": 8, "rope_head_dim": 6, "v_head_dim": 7,
}  # fmt: skip
DCA = {"kind": "dca", "num_kv_heads": 2, "chunk_size": 8, "local_size": 3, "has_qk_norm": True}
POSITIONS = ("none", "sinusoidal", "learned", "rope", "alibi", "t5")
MIXTURES: dict[str, dict[str, Any]] = {
    **{f"{kind} heads": {"position": {"kind": kind, "num_buckets": 8, "max_distance": 20},
                         "attention": {"num_kv_heads": 2}} for kind in POSITIONS},
    **{f"{kind} mla": {"position": {"kind": kind, "num_buckets": 8, "max_distance": 20}, "attention": MLA}
       for kind in POSITIONS},
    **{f"{kind} window": {"position": {"kind": kind, "num_buckets": 8, "max_distance": 20},
                          "attention": {"num_kv_heads": 1, "sliding_window": 5, "local_per_global": 2}}
       for kind in POSITIONS},
    **{f"{kind} block": {"block": {"kind": kind}, "norm": {"kind": "layernorm"}, "mlp": {"kind": "plain"}}
       for kind in ("post", "sandwich", "parallel", "deepnorm")},
    "deepnorm mla moe": {"block": {"kind": "deepnorm"}, "attention": MLA,
                     "mlp": {"kind": "moe", "num_experts": 5, "num_shared_experts": 1, "has_shared_gate": True}},
    "dca": {"attention": DCA, "norm": {"kind": "rmsnorm_unit_offset"}},
    "longrope": {"rope": {"scaling": "longrope", "short_factor": [1.1] * 5, "long_factor": [2.0] * 5,
                          "original_max_seq_len": 32}},
    "prefix": {"position": {"kind": "learned"}, "attention": {"num_kv_heads": 2, "prefix_token": 3}},
    "prefix mla": {"attention": MLA | {"prefix_token": 3}},
    "softcap t5": {"position": {"kind": "t5"}, "attention": {"softcap": 9.0, "sliding_window": 5}},
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_has_the_weights_that_its_anatomy_names(name: str) -> None:
    config = mixture(**MIXTURES[name])
    shapes = {parameter: tuple(p.shape) for parameter, p in on_meta(config).named_parameters()}
    assert shapes == config.anatomy().shapes()
    assert {"attention", "position", "norm", "block", "mlp"} <= config.anatomy().traits.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_keeps_the_contract(name: str) -> None:
    checks = check_family("decoder", config=mixture(**MIXTURES[name]), groups=["model", "cache"])
    assert not [str(check) for check in checks if check.state == "fail"]


OPTIONS = [
    (group, option)
    for group in ("position", "norm", "block", "attention", "mlp")
    for option in grammar("build").groups[group]
]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), OPTIONS)
@pytest.mark.parametrize(
    "preset", ["llama3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma3", "deepseek-v3"))]
)
def test_every_option_composes_and_builds(preset: str, group: str, option: str) -> None:
    extra = ["model.has_local_rope=false"] if preset == "gemma3" else []
    extra += ["position=rope", "rope=none", "model.position.is_interleaved=false"] if option == "dca" else []
    config: Any = zoo.compose(f"decoder/{preset}", f"{group}={option}", "model.num_layers=4", *extra)
    shapes = {name: tuple(p.shape) for name, p in on_meta(config).named_parameters()}
    assert shapes == config.anatomy().shapes()


@pytest.mark.slow
def test_a_group_leaves_the_other_parts_alone() -> None:
    plain: Any = zoo.compose("decoder/llama3")
    mixed: Any = zoo.compose(
        "decoder/llama3", "attention=mla", "position=alibi", "norm=layernorm", "mlp=moe", "block=sandwich"
    )
    kinds = {part: getattr(mixed, part).kind for part in ("attention", "position", "norm", "mlp", "block")}
    assert kinds == {
        "attention": "mla", "position": "alibi", "norm": "layernorm", "mlp": "moe", "block": "sandwich",
    }  # fmt: skip
    parts = {part: getattr(plain, part) for part in kinds}
    assert replace(mixed, **parts) == plain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("attention=gqa model.num_heads=12", "model.num_heads=12 is not a multiple of model.attention.num_kv_heads=8"),
        ("attention=mla model.attention.sliding_window=9", "its latents are cached for all tokens"),
        ("attention=mla model.attention.num_kv_heads=8", "keys and values are rebuilt per head from one latent"),
        (
            "attention=mla model.attention.softcap=9",
            "model.attention.softcap cannot be used with model.attention.kind=mla",
        ),
        ("attention=mla model.attention.has_bias=true", "in mla both or neither"),
        ("attention=mla model.rope.partial=0.5", "in mla all rope_head_dim channels rotate"),
        ("attention=mla model.attention.rope_head_dim=7", "model.attention.rope_head_dim=7 is 7 channels"),
        ("attention=dca position=alibi", "model.attention.kind=dca needs model.position.kind=rope, not alibi"),
        ("attention=dca rope=yarn", "model.attention.kind=dca cannot be used with model.rope.scaling=yarn"),
        ("attention=dca model.attention.local_size=262144", "uses up all of model.attention.chunk_size=262144"),
        ("model.attention.local_per_global=2", "local_per_global needs model.attention.sliding_window"),
        ("model.has_local_rope=true", "model.has_local_rope=true needs model.attention.sliding_window"),
        ("model.local_rope.theta=100", "model.local_rope has numbers that are not used"),
        ("model.head_dim=127", "not whole pairs"),
        ("position=sinusoidal model.hidden_size=63", "model.hidden_size=63 is not a multiple of"),
        ("position=t5 model.position.max_distance=16", "model.position.max_distance=16 is not above half"),
        ("block=pre model.block.alpha=2", "model.block.alpha=2.0 is only for model.block.kind=deepnorm, not pre"),
        ("mlp=moe model.mlp.experts_per_token=9", "model.mlp.experts_per_token=9 exceeds the 8 experts"),
        ("mlp=moe model.mlp.has_bias=true", "experts have no biases"),
        ("mlp=moe model.mlp.has_shared_gate=true", "needs model.mlp.num_shared_experts"),
        (
            "attention=prefix position=alibi",
            "model.attention.prefix_token cannot be used with model.position.kind=alibi",
        ),
        ("attention=prefix model.attention.sliding_window=9", "all tokens of a prefix are seen"),
        ("attention=prefix model.attention.prefix_token=128256", "is not below model.vocab_size=128256"),
        ("rope=longrope", "needs model.rope.short_factor and model.rope.long_factor"),
        ("model.position.kind=rotary", "model.position.kind='rotary' is not one of none, sinusoidal"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as found:
        zoo.compose("decoder/llama3", *overrides.split())
    assert message in str(found.value)


def test_deepnorm_takes_its_numbers_from_the_depth() -> None:
    """alpha = (2 N)^(1/4) on skip branches, (8 N)^(-1/4) on fresh weights of values, outputs and MLPs."""
    shallow, deep = (mixture(block={"kind": "deepnorm"}, num_layers=n) for n in (2, 8))
    assert (shallow.alpha, deep.alpha) == (4**0.25, 2.0)
    assert mixture(block={"kind": "deepnorm", "alpha": 3.0}).alpha == 3.0
    model: Any = materialise(on_meta(replace(deep, hidden_size=512)), device="cpu")
    attn = model.layers[0].attn
    ratio = attn.v_proj.weight.std() / attn.k_proj.weight.std()
    assert ratio.item() == pytest.approx(64**-0.25, rel=0.05)


def test_a_layer_without_local_angles_of_its_own_takes_those_of_all() -> None:
    window = {"sliding_window": 5, "local_per_global": 1}
    model: Any = on_meta(mixture(attention=window))
    assert model.layers[0].attn.rope is model.layers[1].attn.rope
    model = on_meta(replace(mixture(attention=window), has_local_rope=True, local_rope=RopeConfig(theta=50.0)))
    assert [layer.attn.rope.rope.theta for layer in model.layers] == [50.0, 1000.0, 50.0]


@pytest.mark.slow
def test_a_group_on_a_family_without_that_part_points_here() -> None:
    with pytest.raises(UsageError) as found:
        zoo.compose("llama3", "attention=mla")
    assert "no key 'model.attention'" in str(found.value)
    assert "parts can be chosen in decoder, for example: decoder/llama3 attention=mla" in str(found.value)
