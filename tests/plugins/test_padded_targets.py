"""What an encoder-decoder writes after a padded target is what it writes after the target alone."""

from __future__ import annotations

import pytest
import torch

from zoo.registry import installed
from zoo.testing import Subject

FAMILIES = ("t5", "transformer")


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_padding_before_a_target_changes_nothing(name: str) -> None:
    subject = Subject(installed()[name])
    assert subject.is_encoder_decoder
    model, source, target = subject.model, subject.tokens(2, 9), subject.tokens(2, 6)
    is_real = torch.ones(2, 6, dtype=torch.bool)
    is_real[1, :2] = False
    found = model(source, target, decoder_attention_mask=is_real)
    # Float64: an order of sums apart, some 1e-15 each.
    assert torch.allclose(found[0], model(source[:1], target[:1])[0], rtol=0, atol=1e-11)
    assert torch.allclose(found[1, 2:], model(source[1:], target[1:, 2:])[0], rtol=0, atol=1e-11)
    assert not torch.allclose(found[1, 2:], model(source, target)[1, 2:], rtol=0, atol=1e-6)
