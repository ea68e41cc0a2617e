"""KL and agreement: against torch's own, and with as much kept of the first model as there is room for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from zoo.measurement.agreement import Distributions, KLMeter, kl_divergence


def log_probs(seed: int, rows: int = 6, vocab: int = 11) -> torch.Tensor:
    return (3 * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def test_kl_is_that_of_the_first_to_the_other() -> None:
    a, b = log_probs(0), log_probs(1)
    expected = F.kl_div(b.double(), a.double(), log_target=True, reduction="none").sum(-1).float()
    torch.testing.assert_close(kl_divergence(a, b), expected)
    assert not torch.allclose(kl_divergence(b, a), expected)


def test_kl_of_the_same_is_exactly_nothing_and_what_is_ruled_out_counts_nothing() -> None:
    a = log_probs(0)
    assert not kl_divergence(a, a).any()
    ruled_out = torch.tensor([[0.0, -torch.inf]])
    assert kl_divergence(ruled_out, torch.tensor([[0.5, 0.5]]).log()).tolist() == [torch.tensor(2.0).log().item()]
    assert kl_divergence(ruled_out, ruled_out).tolist() == [0.0]


def test_as_many_tokens_are_kept_as_there_is_room_for(tmp_path: Path) -> None:
    a, b = log_probs(0), log_probs(1)
    kept = Distributions(tmp_path / "first", 6, 11, most_bytes=5 * 11 * 4 - 1)
    assert kept.length == 4
    divergence = KLMeter(kept)
    for start in (0, 3):  # the second part reaches beyond what is kept
        kept.keep(start, a[start : start + 3])
    for start in (0, 2, 4):
        divergence.take(start, b[start : start + 2])
    torch.testing.assert_close(divergence.kl, kl_divergence(a, b)[:4])
