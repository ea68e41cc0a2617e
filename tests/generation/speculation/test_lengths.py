"""Models whose angles or scores depend on the length of the text: several tokens at once are read as one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zoo.anatomy.config import RopeConfig
from zoo.generation import generate
from zoo.models.construction import build
from zoo.registry import installed

LONG = {"short_factor": [1.0] * 5, "long_factor": [1.5, 2.0, 3.0, 4.0, 5.0]}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "dynamic": ("llama", {"rope": RopeConfig(scaling="dynamic", factor=4.0), "max_seq_len": 8}),
    "longrope": ("llama", {"rope": RopeConfig(scaling="longrope", original_max_seq_len=8, **LONG)}),
    "log-n": ("qwen", {"max_seq_len": 8}),
    "chunks": (
        "qwen2",
        {
            "sliding_window": None,
            "sliding_layers": None,
            "dual_chunk": {"chunk_size": 6, "local_size": 2, "original_max_seq_len": 8},
        },
    ),
}


def model_of(kind: str) -> nn.Module:
    family, changes = KINDS[kind]
    config = installed()[family].config_class.tiny()
    if chunks := changes.get("dual_chunk"):
        changes = changes | {"dual_chunk": replace(config.dual_chunk, **chunks)}
    config = replace(config, eos_token_id=[], **changes)
    model = build(config, device="cpu", dtype="float64").eval()  # float64: no tie is broken by rounding
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


class Half:
    """Right for two tokens, and wrong from then on."""

    def __init__(self, *known: list[int]) -> None:
        self.known = known

    def propose(self, tokens: list[int], most: int) -> list[int]:
        rest = next((k[len(tokens) :] for k in self.known if k[: len(tokens)] == tokens), [])
        return [*rest[:2], 3, 4, 5][:most]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:prompt")
def test_a_draft_changes_nothing_where_the_length_counts(kind: str) -> None:
    model, prompts = model_of(kind), [[3, 4, 5, 6, 7], [8, 9]]
    plain = generate(model, prompts, max_new_tokens=20, return_logits=True)
    drafted = generate(model, prompts, max_new_tokens=20, return_logits=True, draft=Half(*plain.tokens))
    assert drafted.new_tokens == plain.new_tokens
    assert plain.logits is not None
    for found, expected in zip(drafted.logits or [], plain.logits, strict=True):
        assert (found - expected).abs().max() < 1e-9  # float64 sums in another order
    assert drafted.draft is not None
    assert drafted.draft.num_right > 5
    alone = generate(model, prompts[0], max_new_tokens=20, draft=Half(*plain.tokens))
    assert alone.new_tokens == plain.new_tokens[:1]
