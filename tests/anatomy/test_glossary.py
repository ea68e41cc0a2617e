"""Every model's short forms are told, each once."""

from __future__ import annotations

import re

import pytest

import zoo
from zoo.anatomy.glossary import meanings
from zoo.anatomy.size import Size
from zoo.presets import config


@pytest.mark.parametrize(
    ("traits", "told"),
    [
        ({"attention": "MLA 512 + 64"}, ["a token keeps 512 numbers", "and 64 rotary ones"]),
        ({"attention": "GQA 32/8, window 4096"}, ["32 query heads share 8 key and value heads", "sees the last 4096"]),
        ({"position": "RoPE 500k llama3 ×8"}, ["base 500k", "llama3 ×8: for texts 8 times"]),
        ({"mlp": "SwiGLU MoE 64+2, top 6"}, ["SwiGLU: an MLP of two", "6 of 64 experts, and to 2 that all go to"]),
        ({"mlp": "SwiGLU MoE 8 × 14336, top 2"}, ["MoE 8 × 14336, top 2: a token goes to 2 of 8 experts"]),
        ({"norm": "RMSNorm, pre", "mlp": "ReLU 2048"}, []),
    ],
)
def test_a_short_form_is_told(traits, told):
    found = " · ".join(meanings(traits))
    assert all(words in found for words in told)
    assert bool(found) is bool(told)


def test_no_models_short_form_of_attention_or_experts_is_left_untold():
    seen = set()
    for record in zoo.list_models():
        if record.problem or record.family not in ("llama", "deepseek", "mixtral", "gemma2", "glm4_moe", "qwen3_moe"):
            continue
        traits = Size.of(config(record.name)).anatomy.traits
        told = " ".join(meanings(traits))
        short = re.findall(r"\b(?:MHA|GQA|MQA|MLA|MoE)\b", " ".join(traits.values()))
        assert all(f"{word} " in told for word in short), record.name
        seen |= {*short}
    assert {"GQA", "MLA", "MoE"} <= seen
