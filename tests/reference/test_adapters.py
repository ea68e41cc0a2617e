"""Adapters that peft made beside models of transformers, read beside zoo's, and back.

float64 logits are held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-13).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.reference.conftest import VARIANTS, Case
from zoo.adapters import merge, save_adapter

pytestmark = [  # peft is imported where it is used: it takes longer than collecting all other files of this room
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("peft") is None, reason="the extra adapters is not installed"),
]

EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama3.1", {"target_modules": ["q_proj", "v_proj", "down_proj"], "use_rslora": True}),
    "llama, whole head": ("llama3.1", {"target_modules": ["k_proj"], "modules_to_save": ["lm_head"]}),
    "llama, ranks": (
        "llama3.1",
        {"target_modules": "all-linear", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}},
    ),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"], "use_dora": True}),
    "qwen2": ("qwen2", {"target_modules": ["q_proj", "o_proj"], "layers_to_transform": [0, 2]}),
    "mixture": ("qwen3-moe", {"target_modules": ["q_proj"], "target_parameters": [*EXPERTS, "mlp.gate.weight"]}),
    "bert": ("bert", {"target_modules": ["query", "dense"]}),
    "bloom": ("bloom", {"target_modules": ["query_key_value", "dense"]}),
    "glm": ("glm", {"target_modules": ["gate_up_proj", "o_proj"]}),
    "t5": ("t5-v1.0", {"target_modules": ["q", "wo"]}),
    "embedding": ("llama3.2", {"target_modules": ["embed_tokens"]}),
    "seeing": ("qwen2-vl", {"target_modules": ["q_proj", "v_proj"]}),
}  # fmt: skip


def theirs(maker: ModuleType, case: Case) -> Any:
    """The model of transformers, in float64 with its constants."""
    import transformers

    kind = getattr(transformers, json.loads((case.folder / "config.json").read_text())["architectures"][0])
    model = kind.from_pretrained(case.folder, dtype=torch.float64)
    exact = maker.build(json.loads((case.folder / "config.json").read_text()), torch.float64)
    exact.load_state_dict(model.state_dict())
    exact.name_or_path = str(case.folder)
    return exact


def logits(maker: ModuleType, model: Any, tokens: Tensor) -> Tensor:
    more = {"decoder_input_ids": tokens[:, :5]} if model.config.is_encoder_decoder else {}
    with torch.no_grad(), maker.F64():
        return model.eval()(input_ids=tokens, **more).logits


def ours(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        out = model(tokens, tokens[:, :5]) if hasattr(model, "conditioned") else model(tokens)
    return getattr(out, "logits", out)


@pytest.fixture
def trained(maker: ModuleType) -> Callable[..., Any]:
    """A model of transformers with an adapter of peft whose numbers are no longer those at which training begins."""

    def make(case: Case, settings: dict[str, Any]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import peft

            model: Any = peft.get_peft_model(theirs(maker, case), peft.LoraConfig(r=4, lora_alpha=10, **settings))
        generator = torch.Generator().manual_seed(0)
        for name, p in model.named_parameters():
            if p.requires_grad:
                noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
                p.data = p.data * (1 + 0.1 * noise) if "magnitude" in name else p.data + 0.2 * noise
        return model

    return make


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_peft_is_read_and_written_with_its_numbers(
    name: str, maker: ModuleType, make_case: Any, trained: Any, tmp_path: Path
) -> None:
    preset, settings = CASES[name]
    case = make_case(preset, VARIANTS[0])
    model = trained(case, settings)
    model.save_pretrained(tmp_path / "a")
    tokens = torch.randint(3, 140, (2, 12), generator=torch.Generator().manual_seed(0))  # no pictures' ids among them
    expected = logits(maker, model, tokens)

    found = zoo.load(case.folder, dtype="float64", adapter=tmp_path / "a")
    got = ours(found, tokens)
    assert (got - expected).abs().max() < 1e-9
    assert (got - ours(zoo.load(case.folder, dtype="float64"), tokens)).abs().max() > 0.1  # it does something

    save_adapter(found, tmp_path / "back")
    from peft import PeftModel

    again = PeftModel.from_pretrained(theirs(maker, case), tmp_path / "back")
    assert (logits(maker, again, tokens) - expected).abs().max() < 1e-9
    save_adapter(found, tmp_path / "own", format="zoo")
    assert (ours(zoo.load(case.folder, dtype="float64", adapter=tmp_path / "own"), tokens) - got).abs().max() < 1e-9

    if name != "embedding":  # which the base ties to its head
        assert (ours(merge(found), tokens) - got).abs().max() < 1e-9
        done = zoo.convert(case.folder, tmp_path / "merged", adapter=tmp_path / "back", format="hf", dtype="float64")
        assert "changed 0.00%" in done.notes[-1]
        assert (ours(zoo.load(tmp_path / "merged"), tokens) - got).abs().max() < 1e-9
