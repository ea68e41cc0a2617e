"""Tokens and runs of tokens that never come, or come more or less gladly.

Shapes: R rows, T tokens so far, V vocab, N runs of one length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.history import History


class SequenceBias:
    """A number added to the score of the token that would complete a run."""

    def __init__(self, biases: Sequence[tuple[Sequence[int], float]]) -> None:
        whole = {tuple(run): float(bias) for run, bias in biases}  # of runs given twice the last counts
        lengths = dict.fromkeys([1, *map(len, whole)])  # sums in this order round as transformers' do
        self.by_length = {n: [(r, b) for r, b in whole.items() if len(r) == n] for n in lengths}

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        """Scores [R, V] with the bias of each run that the row ends with, but for its last token."""
        bias = torch.zeros_like(scores)
        for length, runs in self.by_length.items():
            prefix = history.tokens[:, max(0, history.tokens.shape[1] - length + 1) :]
            if not runs or prefix.shape[1] < length - 1:
                continue
            check_tokens("sequence_bias or bad_words_ids", [t for run, _ in runs for t in run], scores.shape[1])
            wanted = torch.tensor(
                [run[:-1] for run, _ in runs], device=scores.device, dtype=torch.long
            )  # [N, length-1]
            numbers = torch.tensor([b for _, b in runs], device=scores.device)  # float32, as transformers keeps them
            is_there = (prefix[:, None] == wanted).all(-1)  # [R, N]
            last = torch.tensor([run[-1] for run, _ in runs], device=scores.device)
            bias.index_add_(1, last, torch.where(is_there, numbers, 0.0).to(bias.dtype))
        return scores + bias


class BadWords(SequenceBias):
    """Runs of tokens that are never completed; an end token alone is no such run."""

    def __init__(self, words: Sequence[Sequence[int]], eos: Sequence[int]) -> None:
        super().__init__([(word, -torch.inf) for word in words if list(word) not in [[token] for token in eos]])


class SuppressTokens:
    """Tokens that never come."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return without(scores, self.tokens)


class SuppressTokensAtBegin:
    """Tokens that do not come first, or not after the forced first one."""

    def __init__(self, tokens: Sequence[int], *, has_forced_bos: bool) -> None:
        self.tokens, self.has_forced_bos = list(tokens), has_forced_bos

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        begin = ((history.prompt_lengths <= 1) & self.has_forced_bos).long()  # [R]
        return torch.where(begin.eq(history.num_new)[:, None], without(scores, self.tokens), scores)


def without(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    """Scores [R, V] with those of `tokens` at minus infinity; tokens beyond the vocabulary cannot come anyway."""
    banned = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    banned[[token for token in tokens if token < scores.shape[1]]] = True
    return scores.masked_fill(banned, -torch.inf)


def check_tokens(name: str, tokens: Sequence[int], vocab_size: int) -> None:
    """Raise UsageError for a token beyond the vocabulary."""
    if (most := max(tokens)) >= vocab_size:
        raise UsageError(f"{name} has the token {most}, outside the model's vocabulary of {vocab_size}")
