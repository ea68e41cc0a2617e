"""Small encoders with weights large enough that a misplaced one shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo.registry import installed

FAMILIES = ("bert", "roberta", "xlm_roberta", "mpnet", "electra", "albert", "distilbert")
HEADS = {
    "none": {},
    "masked_lm": {},
    "sequence_classification": {"num_labels": 3},
    "token_classification": {"num_labels": 4, "labels": ["O", "PER", "LOC", "ORG"]},
}
BERT_HEADS = HEADS | {"pretraining": {}, "next_sentence": {}}
POOLED = (
    "pretraining",
    "next_sentence",
    "sequence_classification",
)  # heads that in BERT and ALBERT read the pooled state
ALL = [("bert", head) for head in BERT_HEADS] + [(f, head) for f in FAMILIES[1:] for head in HEADS]
ALL.append(("albert", "pretraining"))


def config_of(family: str, head: str, **changes: Any) -> Any:
    """The family's tiny config with another head."""
    values = {"head": head, **BERT_HEADS.get(head, {}), **changes}
    if family in ("bert", "albert"):
        values = {"has_pooler": head in POOLED} | values
    return replace(installed()[family].config_class.tiny(), **values)


def model_of(config: Any) -> nn.Module:
    """The model in float64, drawn so that attention is peaked, norms are not 1 and biases not 0."""
    model = zoo.build(config, device="cpu", dtype="float64").eval()
    redraw(model)
    return model


@torch.no_grad()
def redraw(model: nn.Module, seed: int = 0) -> None:
    """Weights for which a misplaced one shows, from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.copy_(1 + 0.2 * noise if is_norm else 0.3 * noise)


def tokens_of(config: Any, batch_size: int = 3, length: int = 11) -> Tensor:
    """Random tokens, none of them padding."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(2, config.vocab_size, (batch_size, length), generator=generator)
