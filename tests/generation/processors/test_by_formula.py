"""What each processor keeps of rows that differ, by its formula in plain Python; transformers' own are slower."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.generation.history import History
from zoo.generation.processors import (
    EpsilonCutoff,
    EtaCutoff,
    ForcedBOS,
    ForcedEOS,
    FrequencyPenalty,
    MinLength,
    MinNewTokens,
    MinP,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
    SuppressTokens,
    Temperature,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
)

VOCAB, EOS = 11, 2
PROMPTS = [[1], [5, 3, 5], [4, 4, 7, 4]]


def history(added: int = 0, limit: int = 4) -> History:
    found = History(PROMPTS, [limit] * len(PROMPTS))
    for step in range(added):
        found.append(torch.tensor([5, 3, 4 + step]))
    return found


def rows() -> Tensor:
    """A flat row, one as it comes and a peaked one."""
    noise = torch.randn(3, VOCAB, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return noise * torch.tensor([[0.1], [1.0], [4.0]])


def shares(row: list[float]) -> list[float]:
    whole = sum(map(math.exp, row))
    return [math.exp(x) / whole for x in row]


def entropy(p: list[float]) -> float:
    return -sum(x * math.log(x) for x in p)


def until(order: list[int], worth: list[float], limit: float) -> set[int]:
    """The first of `order` that come to `limit` together."""
    kept, held = set(), 0.0
    for token in order:
        if held >= limit:
            break
        kept.add(token)
        held += worth[token]
    return kept


def best_first(p: list[float]) -> list[int]:
    return sorted(range(len(p)), key=lambda i: -p[i])


def top_h(row: list[float], h: float) -> set[int]:
    p, held, kept = shares(row), 0.0, set()
    for token in best_first(p):
        held -= p[token] * math.log(p[token])
        if kept and held > h * entropy(p):
            break
        kept.add(token)
    return kept


def top_n_sigma(row: list[float], n: float) -> set[int]:
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row))
    return {i for i, x in enumerate(row) if x >= max(row) - n * spread}


def typical(row: list[float], share: float) -> set[int]:
    p = shares(row)
    return until(sorted(range(len(p)), key=lambda i: abs(-math.log(p[i]) - entropy(p))), p, share)


def eta(row: list[float], epsilon: float) -> set[int]:
    p = shares(row)
    least = min(epsilon, math.sqrt(epsilon) * math.exp(-entropy(p)))
    return {i for i, x in enumerate(p) if x >= least or x == max(p)}


CUTOFFS: dict[str, tuple[Any, Callable[[list[float]], set[int]]]] = {
    "top_k": (TopK(3), lambda row: set(best_first(row)[:3])),
    "top_k of beams": (TopK(1, keep=2), lambda row: set(best_first(row)[:2])),
    "top_p": (TopP(0.7), lambda row: until(best_first(row), shares(row), 0.7)),
    "top_p of beams": (TopP(0.01, keep=2), lambda row: set(best_first(row)[:2])),
    "min_p": (MinP(0.3), lambda row: {i for i, x in enumerate(shares(row)) if x >= 0.3 * max(shares(row))}),
    "min_p of beams": (MinP(1.0, keep=2), lambda row: set(best_first(row)[:2])),
    "epsilon": (
        EpsilonCutoff(0.2),
        lambda row: {i for i, x in enumerate(shares(row)) if x >= 0.2} or {best_first(row)[0]},
    ),
    "eta": (EtaCutoff(0.15), lambda row: eta(row, 0.15)),
    "typical": (TypicalP(0.6), lambda row: typical(row, 0.6)),
    "top_h": (TopH(0.4), lambda row: top_h(row, 0.4)),
    "top_n_sigma": (TopNSigma(1.2), lambda row: top_n_sigma(row, 1.2)),
}


@pytest.mark.parametrize("name", CUTOFFS)
def test_a_cutoff_keeps_the_tokens_of_its_formula(name: str) -> None:
    processor, formula = CUTOFFS[name]
    scores = rows()
    found = processor(history(), scores)
    kept = found.isfinite()
    assert [set(row.nonzero().flatten().tolist()) for row in kept] == [formula(row) for row in scores.tolist()]
    assert torch.equal(found[kept], scores[kept])
    assert torch.equal(scores, rows())  # what came in is left as it is


def test_heat_divides() -> None:
    assert torch.equal(Temperature(0.5)(history(), rows()), rows() / 0.5)


def test_penalties_count_what_is_there() -> None:
    """Rows hold 1, 5 5; 5 3 5, 3 3; 4 4 7 4, 4 5, of which the part behind the comma was generated."""
    so_far = [{1: 0, 5: 2}, {5: 0, 3: 2}, {4: 1, 7: 0, 5: 1}]
    scores = rows()
    repeated, present, frequent = (
        processor(history(added=2), scores)
        for processor in (RepetitionPenalty(1.5), PresencePenalty(0.7), FrequencyPenalty(0.7))
    )
    for r, counts in enumerate(so_far):
        for token in range(VOCAB):
            score, count = scores[r, token].item(), counts.get(token, 0)
            there = score / 1.5 if score > 0 else score * 1.5
            assert repeated[r, token].item() == pytest.approx(there if token in counts else score, rel=1e-15)
            assert present[r, token].item() == pytest.approx(score - 0.7 * (count > 0), rel=1e-12)
            assert frequent[r, token].item() == pytest.approx(score - 0.7 * count, rel=1e-12)


def banned(processor: Any, so_far: History) -> list[set[int]]:
    return [set(row.isinf().nonzero().flatten().tolist()) for row in processor(so_far, rows())]


def test_a_run_is_not_completed_twice() -> None:
    """After 1; 5 3 5; 4 4 7 4: of pairs 5 3 is there, 4 4 and 4 7 are; of runs of three none ends so."""
    assert banned(NoRepeatNgram(2), history()) == [set(), {3}, {4, 7}]
    assert banned(NoRepeatNgram(3), history()) == [set(), set(), set()]
    assert banned(NoRepeatNgram(1), history()) == [{1}, {3, 5}, {4, 7}]


def test_lengths_hold_the_end_back_or_bring_it() -> None:
    everything = set(range(VOCAB))
    assert banned(MinLength(4, [EOS]), history()) == [{EOS}, {EOS}, set()]  # of 1, 3 and 4 tokens
    assert banned(MinNewTokens(1, [EOS, 9]), history()) == [{EOS, 9}] * 3
    assert banned(MinNewTokens(1, [EOS, 9]), history(added=1)) == [set()] * 3
    assert banned(ForcedBOS(6), history()) == [everything - {6}, set(), set()]
    assert banned(ForcedEOS([EOS]), history(added=2)) == [set()] * 3
    assert banned(ForcedEOS([EOS]), history(added=3)) == [everything - {EOS}] * 3
    assert banned(SuppressTokens([0, 8, VOCAB]), history()) == [{0, 8}] * 3
