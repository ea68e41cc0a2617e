"""The loss of a text, against models whose probabilities are known by hand, and against the card of `tiny`."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import Tensor, nn

import zoo
from tests.measurement.models import TINY
from zoo.errors import ZooError
from zoo.measurement.passages import Passage
from zoo.measurement.perplexity import Reading, read


class ByPlace(nn.Module):
    """Gives token 0 the probability exp(-(i + 1)/10) after input i of a window, and the rest to token 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.config = SimpleNamespace(vocab_size=2)
        self.calls: list[tuple[int, ...]] = []

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls.append(tuple(tokens.shape))
        log_p = -(torch.arange(tokens.shape[1]) + 1) / 10
        return torch.stack([log_p, (1 - log_p.exp()).log()], -1).expand(*tokens.shape, 2)


class Bigrams(nn.Module):
    """Knows which token follows which, peaked and asymmetric."""

    TABLE = torch.tensor([[4.0, 1.0, 0.5], [0.2, 0.3, 3.0], [2.0, 7.0, 0.1]])

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(self.TABLE.log().to(dtype))
        self.config = SimpleNamespace(vocab_size=3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight[tokens]


def passage(ids: list[int], first: int = 1) -> Passage:
    return Passage("x" * len(ids), ids, [(i, i + 1) for i in range(len(ids))], first, True)


def test_stride_decides_the_place_at_which_each_token_is_predicted() -> None:
    zeros = passage([0] * 8)  # seven predictions
    found = {s: (read(ByPlace(), zeros, window=4, stride=s).losses * 10).round().int().tolist() for s in (4, 2, 1)}
    assert found[4] == [1, 2, 3, 4, 1, 2, 3]
    assert found[2] == [1, 2, 3, 4, 3, 4, 3]
    assert found[1] == [1, 2, 3, 4, 4, 4, 4]


def test_context_before_the_first_token_is_read_and_not_predicted() -> None:
    found = read(ByPlace(), passage([0] * 6, first=3), window=4)
    assert (found.losses * 10).round().int().tolist() == [3, 4, 1]


def test_windows_of_one_length_are_read_together() -> None:
    model = ByPlace()
    read(model, passage([0] * 12), window=4)
    assert model.calls == [(2, 4), (1, 3)]


def test_loss_perplexity_and_bits_follow_from_the_table() -> None:
    ids = [0, 2, 1, 2, 2, 0]
    p = Bigrams.TABLE / Bigrams.TABLE.sum(-1, keepdim=True)
    nats = -sum(math.log(p[a, b]) for a, b in pairwise(ids))
    found = read(Bigrams(), passage(ids), window=2)
    assert found.loss == pytest.approx(nats / 5, rel=1e-6)  # float32
    assert found.perplexity == pytest.approx(math.exp(nats / 5), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / 5, rel=1e-6)
    assert found.best.tolist() == [0, 1, 2, 1, 1]
    assert found.accuracy == pytest.approx(2 / 5)  # of 2 1 2 2 0 the second and third


def test_softmax_is_taken_in_float32_of_bfloat16_logits() -> None:
    ids, weight = [0, 1, 2, 0], Bigrams(torch.bfloat16).weight.float()
    expected = -weight.log_softmax(-1)[ids[:-1], ids[1:]]
    found = read(Bigrams(torch.bfloat16), passage(ids), window=3).losses
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # a softmax in bfloat16 is off by 1e-2


def test_distributions_are_handed_over_in_order() -> None:
    taken: list[tuple[int, int]] = []
    read(Bigrams(), passage([0, 1, 2] * 5), window=4, take=lambda start, log_p: taken.append((start, len(log_p))))
    assert taken == [(0, 4), (4, 4), (8, 4), (12, 2)]


def test_a_loss_that_is_no_number_is_an_error() -> None:
    model = Bigrams()
    model.weight.data[1] = torch.nan
    with pytest.raises(ZooError, match="the loss of token 2 is nan"):
        read(model, passage([0, 2, 1, 0]), window=8)


@pytest.mark.slow
def test_tiny_scores_what_its_card_says() -> None:
    """The card was measured by the recipe's own code; sums of float32 differ between processors in the last digits."""
    card = yaml.safe_load((TINY / "README.md").read_text().split("---\n")[1])
    said = {m["type"]: m["value"] for m in card["model-index"][0]["results"][0]["metrics"]}
    found: Reading = zoo.evaluate("tiny", dtype="float32").texts["sample"]
    assert found.perplexity == pytest.approx(said["perplexity"], rel=1e-3)
    assert found.bits_per_byte == pytest.approx(said["bits_per_byte"], rel=1e-3)
