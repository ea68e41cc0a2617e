"""zoo's contract, on the tiny config and with its switches turned over, and what this family adds to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import zoo
from zoo.anatomy.size import Size
from zoo.errors import UsageError
from zoo.generation import PromptLookup
from zoo.registry import installed
from zoo.testing import GROUPS, check_family

MAMBA2 = installed()["mamba2"]
TINY = MAMBA2.config_class.tiny()


@pytest.mark.parametrize("group", GROUPS)
def test_the_contract_holds(group: str) -> None:
    failed = [str(check) for check in check_family("mamba2", groups=[group]) if check.state == "fail"]
    assert not failed


@pytest.mark.parametrize(
    "changes",
    [{"has_bias": True, "has_conv_bias": False}, {"conv_kernel": 1, "chunk_size": 1}, {"tie_embeddings": True}],
    ids=str,
)
def test_the_contract_holds_for_variants(changes: dict[str, int]) -> None:
    checks = check_family("mamba2", config=replace(TINY, **changes), groups=["model", "cache", "weights"])
    assert not [str(check) for check in checks if check.state == "fail"]


@torch.no_grad()
def test_the_chunk_size_changes_nothing_but_time() -> None:
    tokens = torch.arange(3, 43).remainder(61)[None]
    models = [zoo.build(replace(TINY, chunk_size=n), device="cpu", dtype="float64") for n in (1, 3, 64)]
    found = [model(tokens) for model in models]
    # Sums in float64 in another order: about 1e-15.
    assert max((x - found[0]).abs().max().item() for x in found[1:]) < 1e-12


def test_a_cache_does_not_grow_with_the_length() -> None:
    model = zoo.build(TINY, device="cpu")
    assert model.new_cache(2, 10).nbytes == model.new_cache(2, 1000).nbytes
    size = Size.of(TINY)
    assert size.cache_bytes(10) == size.cache_bytes(1000) == size.state_bytes()
    assert size.cache_bytes_per_token() == 0
    assert size.flops_per_token(0) == size.flops_per_token(1000)


def test_the_state_stays_float32_beside_narrower_weights() -> None:
    layer = zoo.build(TINY, device="cpu", dtype="bfloat16").new_cache(1, 4).layers[0]
    assert (layer["conv"].dtype, layer["ssm"].dtype) == (torch.bfloat16, torch.float32)


def test_a_draft_is_refused_before_anything_is_computed() -> None:
    model = zoo.build(TINY, device="cpu")
    with pytest.raises(UsageError, match="a draft needs a cache that can drop tokens"):
        zoo.generate(model, [[5, 6, 7]], max_new_tokens=4, draft=PromptLookup())


def test_beams_and_samples_go_on_from_their_own_states() -> None:
    """A search that reorders rows finds a text at least as likely as the greedy one."""
    model = zoo.build(TINY, device="cpu", dtype="float64")
    settings = {"max_new_tokens": 6, "eos_token_id": []}
    greedy = zoo.generate(model, [[5, 6, 7]], **settings).new_tokens[0]
    beams = zoo.generate(model, [[5, 6, 7]], num_beams=8, **settings).new_tokens[0]
    assert score(model, beams) >= score(model, greedy) - 1e-12


@torch.no_grad()
def score(model: torch.nn.Module, new: list[int]) -> float:
    text = torch.tensor([[5, 6, 7, *new]])
    logs = model(text).log_softmax(-1)[0, 2:-1]
    return logs[torch.arange(len(new)), torch.tensor(new)].sum().item()


# Written out from the shapes in the paper's code: per layer a projection in to 2 inner + 2 state + heads, a convolution
# of width 4 over inner + 2 state channels with biases, three numbers per head, two norms, a projection out.
def by_hand(width: int, layers: int) -> int:
    inner, state, heads, vocab = 2 * width, 128, 2 * width // 64, 50288
    conv = (inner + 2 * state) * (4 + 1)
    layer = width * (2 * inner + 2 * state + heads) + conv + 3 * heads + inner + width + inner * width
    return vocab * width + layers * layer + width


@pytest.mark.parametrize(
    ("name", "width", "layers"),
    [("130m", 768, 24), ("370m", 1024, 48), ("780m", 1536, 48), ("1.3b", 2048, 48), ("2.7b", 2560, 64)],
)
def test_released_sizes_have_the_parameters_of_their_shapes(name: str, width: int, layers: int) -> None:
    config = zoo.compose(f"mamba2-{name}")
    count = sum(p.numel() for p in zoo.build(config).parameters())
    assert count == by_hand(width, layers) == Size.of(config).parameters
    # The name states it to one or two digits.
    stated = float(name[:-1]) * {"m": 1e6, "b": 1e9}[name[-1]]
    assert abs(count / stated - 1) < 0.04


def test_the_authors_own_config_is_read() -> None:
    from zoo.weights import ForeignConfig

    raw = {
        "d_model": 768, "d_intermediate": 0, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"},
        "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
        "pad_vocab_size_multiple": 16, "tie_embeddings": True,
    }  # fmt: skip
    assert next(family.name for family, _ in installed().detect(raw)) == "mamba2"
    keys = ForeignConfig(raw)
    config = MAMBA2.dialect("hf").from_config(keys)
    keys.check(where="mamba2")
    ours = {"hub": "state-spaces/mamba2-130m", "license": "apache-2.0", "source": "arXiv:2405.21060"}
    assert replace(config, **ours) == zoo.compose("mamba2-130m")
