"""The next token: of all text, and of answers to prompts alone.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from zoo.anatomy.config import NoAnatomy
from zoo.errors import UsageError
from zoo.nn import Decoder
from zoo.training.corpus import Corpus, Rows, encoded, pieces, token_corpus, windows
from zoo.training.corpus.reading import TOKEN_FILES
from zoo.training.losses import IGNORED, chunked_loss, token_loss
from zoo.training.objectives.batch import Facts, Microbatch, token_batch
from zoo.training.objectives.ground import Ground


@dataclass(frozen=True)
class NextToken:
    """Cross-entropy of the token that follows, over a corpus."""

    corpus: Corpus
    rows: Rows
    is_masked: bool  # whether documents are kept apart
    smoothing: float = 0.0
    z: float = 0.0
    chunk: int | None = None  # tokens whose logits exist at once
    drawn: Drawn | None = None  # where rows are drawn from anywhere

    @property
    def fingerprint(self) -> str:
        return self.corpus.fingerprint

    def batch(self, model: nn.Module, rows: Sequence[int], generator: Generator) -> Microbatch:
        if self.drawn is not None:
            return self.drawn.batch(self.corpus, len(rows), generator)
        tokens, labels, documents = zip(*(self._row(i) for i in rows), strict=True)
        return token_batch(tokens, labels, documents)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        if self.chunk is None:
            logits = model(*batch.args, **batch.kwargs)
            return token_loss(logits, batch.labels, smoothing=self.smoothing, z=self.z, total=total), {}
        states, head = model.states(*batch.args, **batch.kwargs), model.decode
        labels, chunk = batch.labels, self.chunk
        return chunked_loss(states, head, labels, chunk=chunk, smoothing=self.smoothing, z=self.z, total=total), {}

    def _row(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, labels and document numbers [T] of row i."""
        parts = self.rows[i]
        found = [self._part(a, b) for a, b in parts]
        tokens, labels = (torch.cat(both) for both in zip(*found, strict=True))
        numbers = [torch.full((b - a,), n) for n, (a, b) in enumerate(parts, 1)]
        return tokens, labels, torch.cat(numbers)

    def _part(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        ids = torch.from_numpy(np.asarray(self.corpus.ids[a : b + 1], dtype=np.int64))
        tokens, labels = ids[:-1], ids[1:].clone()
        if self.is_masked and _is_start(self.corpus, b):
            labels[-1] = IGNORED  # it is another document's
        if self.corpus.is_predicted is not None:
            labels[~torch.from_numpy(np.asarray(self.corpus.is_predicted[a + 1 : b + 1]))] = IGNORED
        return tokens, labels


@dataclass(frozen=True)
class Drawn:
    """Windows of `length` tokens from anywhere, half of them behind a token that others begin after."""

    length: int
    behind: Tensor | None  # places after which such a row begins; None: there are none
    begin: int | None  # what those rows begin with, in place of the token before

    def batch(self, corpus: Corpus, count: int, generator: Generator) -> Microbatch:
        last = len(corpus.ids) - self.length - 1
        half = count // 2 if self.behind is not None and len(self.behind) else 0
        starts = torch.randint(last + 1, (count - half,), generator=generator)
        if half:
            assert self.behind is not None
            chosen = torch.randint(len(self.behind), (half,), generator=generator)
            starts = torch.cat((self.behind[chosen], starts))
        rows = [torch.from_numpy(np.asarray(corpus.ids[a : a + self.length + 1], np.int64)) for a in starts.tolist()]
        if self.begin is not None:
            for row in rows[:half]:
                row[0] = self.begin
        return token_batch([row[:-1] for row in rows], [row[1:] for row in rows])


def drawn(ground: Ground, corpus: Corpus) -> Drawn:
    """Raises UsageError for documents that are to be kept apart, and fewer tokens than a row has."""
    if ground.data.packing != "plain":
        raise UsageError("data.order=random cuts rows out of all text", hint="type data.packing=plain")
    last = len(corpus.ids) - ground.length - 1
    if last < 0:
        raise UsageError(f"the data have {len(corpus.ids)} tokens, a row of data.length={ground.length} needs one more")
    if ground.data.row_starts is None:
        return Drawn(ground.length, None, None)
    marks = [ground.words.encode(ground.data.row_starts, add_special_tokens=False)[-1]]
    begin = ground.words.bos_token_id
    marks += [] if begin is None else [begin]
    behind = torch.from_numpy(np.flatnonzero(np.isin(corpus.ids[: last + 1], marks)))
    return Drawn(ground.length, behind, begin)


def causal(ground: Ground) -> NextToken:
    """The next token of texts, or of a token file. Raises UsageError for a model that is no decoder."""
    check_decoder(ground)
    if any(name.endswith(TOKEN_FILES) for name in ground.files):
        size = getattr(ground.config, "vocab_size", 1 << 31)
        corpus = token_corpus(ground.files, ground.data, end=ground.end, vocab_size=size)
    else:
        texts = ((record.place, record.text(ground.data.field)) for record in ground.records())
        corpus = encoded(texts, ground.words.encode, ground.end)
    packing = ground.data.packing
    if packing == "none":
        rows = pieces(corpus, ground.length)
    else:
        rows = windows(corpus, ground.length, is_masked=packing == "masked")
    found = next_token(ground, corpus, rows)
    return replace(found, drawn=drawn(ground, corpus)) if ground.data.order == "random" else found


def check_decoder(ground: Ground) -> None:
    """Raise UsageError for a model that is no decoder, before a text is read."""
    if not isinstance(ground.model, Decoder):
        what = f"objective={ground.settings['name']} trains decoders, and {ground.config.family_in_words} is none"
        raise UsageError(what, hint="objective=mlm is for encoders, objective=span for encoder-decoders")


def next_token(ground: Ground, corpus: Corpus, rows: Rows) -> NextToken:
    """The objective over these rows, with its settings."""
    options = numbers_of(ground)
    check_decoder(ground)
    is_masked = ground.data.packing == "masked"
    if is_masked and any(len(rows[i]) > 1 for i in range(len(rows))):
        check_documents(ground.model, ground.config.family)
    return NextToken(corpus, rows, is_masked, **options)


def numbers_of(ground: Ground) -> dict[str, Any]:
    """The settings of the loss. Raises UsageError for one that the objective does not have, and for wrong numbers."""
    ground.check("smoothing", "z", "chunk")
    return {
        "smoothing": ground.number("smoothing", least=0, below=1), "z": ground.number("z", least=0),
        "chunk": ground.number("chunk", int | None, least=1),
    }  # fmt: skip


@torch.no_grad()
def check_documents(model: nn.Module, family: str) -> None:
    """Raise UsageError for a model that does not keep documents of one row apart.

    One with a state carries it on, however faint it has become; of others a short row tells.
    """
    hint = "type data.packing=none: a row for each document"
    if has_state(model):
        raise UsageError(f"{family} carries a state through a row, from one of its documents to the next", hint=hint)
    device = next(model.parameters()).device
    first, second = torch.tensor([[3, 4, 5]], device=device), torch.tensor([[6, 3]], device=device)
    numbers = torch.tensor([[1, 1, 1, 2, 2]], device=device)
    try:
        together = model(torch.cat((first, second), 1), attention_mask=numbers)
        apart = torch.cat((model(first), model(second)), 1)
    except (RuntimeError, UsageError) as error:
        told = str(error).partition("\n")[0][:120]
        raise UsageError(f"{family} cannot read several documents in a row", why=told, hint=hint) from None
    limit = min(1000 * torch.finfo(apart.dtype).eps, 0.05) * float(apart.abs().max())  # rounding, in another order
    if not bool(((together - apart).abs() <= limit).all()):
        raise UsageError(f"{family} does not keep several documents in a row apart", hint=hint)


def has_state(model: Any) -> bool:
    """Whether layers of it are recurrent, as its anatomy says."""
    try:
        return bool(model.config.anatomy().states)
    except NoAnatomy:
        return False


def _is_start(corpus: Corpus, at: int) -> bool:
    i = int(np.searchsorted(corpus.starts, at))
    return i < len(corpus.starts) and int(corpus.starts[i]) == at
