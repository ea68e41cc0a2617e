"""GLM's blank filling (arXiv:2103.10360, 2.1): spans are cut out, and written again one after the other, each whole.

Shapes: T tokens of one text, S of what the model reads.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from zoo.errors import UsageError
from zoo.training.losses.tokens import IGNORED


class Blanks(NamedTuple):
    """One text with blanks, and the spans behind it."""

    tokens: Tensor  # [S] the text with a mask for each span, then sop and the span, for each of them
    positions: Tensor  # [2, S] the place in the text, that of the mask for a span's tokens; and the place in the span
    labels: Tensor  # [S] a span's next token and eop at its end, IGNORED in the text
    prefix: int  # tokens of the text with blanks, which see each other in both directions


def fill_blanks(
    tokens: Tensor,
    *,
    mask_id: int,
    sop: int,
    eop: int,
    share: float = 0.15,
    mean_span: float = 3.0,
    generator: Generator | None = None,
) -> Blanks:
    """Blanks of tokens [T]: spans of Poisson lengths until `share` of the tokens is cut out, in random order.

    Spans do not touch, so that each has a mask of its own. Positions are ChatGLM-6B's two rows: where in the text, and
    from 1 where in the span (0 in the text). Raises UsageError for fewer than three tokens.
    """
    spans = _spans(len(tokens), share, mean_span, generator)
    text, places, at = [], {}, 0
    for start, end in sorted(spans):
        text += tokens[at:start].tolist()
        places[start, end] = len(text)
        text.append(mask_id)
        at = end
    text += tokens[at:].tolist()
    read, first, second, labels = [*text], [*range(len(text))], [0] * len(text), [IGNORED] * len(text)
    for start, end in spans:
        span = tokens[start:end].tolist()
        read += [sop, *span]
        labels += [*span, eop]
        first += [places[start, end]] * (len(span) + 1)
        second += range(1, len(span) + 2)
    return Blanks(torch.tensor(read), torch.tensor([first, second]), torch.tensor(labels), len(text))


def _spans(length: int, share: float, mean: float, generator: Generator | None) -> list[tuple[int, int]]:
    """Spans that do not touch, in random order."""
    if length < 3:
        raise UsageError(f"{length} tokens are too few to cut a span out of them")
    free = torch.ones(length, dtype=torch.bool)
    found: list[tuple[int, int]] = []
    left = max(round(length * share), 1)
    while left > 0:
        size = min(max(int(torch.poisson(torch.tensor(mean), generator=generator)), 1), left, length - 1)
        starts = free.unfold(0, size, 1).all(1).nonzero()[:, 0]
        if not len(starts):
            if size == 1:
                break  # every place beside a span is taken
            left = min(left, size - 1)  # no room for so long a one
            continue
        start = int(starts[torch.randint(len(starts), (), generator=generator)])
        free[max(start - 1, 0) : start + size + 1] = False
        found.append((start, start + size))
        left -= size
    return [found[i] for i in torch.randperm(len(found), generator=generator)]
