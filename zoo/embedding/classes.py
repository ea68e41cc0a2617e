"""`zoo.classify`: the classes of texts, tokens and pictures, and CLIP's of labels that it was never trained for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.embedding.reading import Opened, as_list, open_reader
from zoo.errors import UsageError, clean
from zoo.weights.hf_labels import unnamed

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATE = "This is a photo of {}."  # as in transformers' pipeline


@dataclass(frozen=True)
class Classified:
    """One text or picture, or one token of a text, and what each class scores."""

    name: str
    kind: str  # text | image | token
    scores: dict[str, float]  # by class, the highest first
    tokens: list[Classified] = field(default_factory=list)  # of a classifier of tokens
    place: tuple[int, int] | None = None  # of a token: its characters

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "place": None if self.place is None else list(self.place),
            "scores": self.scores,
            "tokens": [token.to_dict() for token in self.tokens],
        }


@dataclass(frozen=True)
class Classes:
    """What was classified, and how scores came about."""

    inputs: list[Classified]
    source: str
    family: str
    how: str  # softmax | sigmoid | score
    labels: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "source": self.source, "family": self.family, "how": self.how, "labels": self.labels,
            "inputs": [one.to_dict() for one in self.inputs], "notes": self.notes,
        }  # fmt: skip


@torch.inference_mode()
def classify(
    source: str | Path,
    *overrides: str,
    texts: str | Sequence[str] = (),
    images: str | Path | Image | Sequence[str | Path | Image] = (),
    labels: Sequence[str] = (),
    template: str = TEMPLATE,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 32,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Classes:
    """The classes of texts or pictures, by a checkpoint with a head for them, opened as strictly as `zoo.load` does.

    Scores are probabilities: of one class among all, or, where problem_type says multi_label_classification, of each
    alone. A model of one class (a reward model) and a regression give their number as it is. CLIP classifies pictures
    by `labels` of yours, each put into the `template`.
    Raises UsageError for a model without a head for classes, and for what it does not read.
    """
    texts, images = as_list(texts), as_list(images)
    if not texts and not images:
        raise UsageError("there is nothing to classify", hint="give texts or images")
    opened = open_reader(
        source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle, dtype=dtype, device=device
    )
    if hasattr(opened.model, "logit_scale"):
        return _by_labels(opened, texts, images, as_list(labels), template)
    if labels:
        raise UsageError(f"{opened.ledger.family.name} has its own labels", hint="only CLIP takes labels of yours")
    head, names = _labels_of(opened)
    if head == "image_classification" or not head.startswith(("sequence", "token")):
        if texts or not images:
            raise UsageError(f"{opened.ledger.family.name} with model.head={head!r} classifies no texts")
        logits = opened.model(opened.pixels(images)).logits
        return _classes(opened, names, "softmax", [(str(i), "image") for i in images], logits)
    if images:
        raise UsageError(f"{opened.ledger.family.name} classifies no pictures")
    if head == "token_classification":
        return _by_token(opened, texts, names, batch_size)
    rows = opened.rows(texts)
    is_single = bool(getattr(opened.model, "is_of_one_row", False))
    found = [opened.model(t, attention_mask=m).logits for t, m in opened.batches(rows, 1 if is_single else batch_size)]
    return _classes(opened, names, _how(opened, len(names)), [(text, "text") for text in texts], torch.cat(found))


def _labels_of(opened: Opened) -> tuple[str, list[str]]:
    """What the head is for, and the names of its classes. Raises UsageError for a model without any."""
    config: Any = opened.ledger.config
    count = getattr(config, "num_labels", None)
    head = str(getattr(config, "head", "none"))
    if count is None:
        what = f"{clean(opened.ledger.source)} is a {opened.ledger.family.name} without a head for classes"
        raise UsageError(what, hint="zoo embed gives its vectors")
    return head, list(config.labels) or unnamed(count)


def _how(opened: Opened, count: int) -> str:
    """How logits become scores."""
    kind = opened.ledger.checkpoint.config.get("problem_type")
    if kind == "multi_label_classification":
        return "sigmoid"
    return "score" if count == 1 or kind == "regression" else "softmax"


def _scores(logits: Tensor, how: str) -> Tensor:
    wide = logits.double()
    return wide.softmax(-1) if how == "softmax" else wide.sigmoid() if how == "sigmoid" else wide


def _named(row: Tensor, labels: Sequence[str]) -> dict[str, float]:
    """The score of each class, the highest first."""
    order = row.argsort(descending=True, stable=True).tolist()
    return {labels[i]: row[i].item() for i in order}


def _classes(opened: Opened, labels: list[str], how: str, inputs: Sequence[tuple[str, str]], logits: Tensor) -> Classes:
    rows = _scores(logits, how)
    found = [Classified(name, kind, _named(row, labels)) for (name, kind), row in zip(inputs, rows, strict=True)]
    ledger = opened.ledger
    return Classes(found, ledger.source, ledger.family.name, how, labels, ledger.notes)


def _by_token(opened: Opened, texts: list[str], labels: list[str], batch_size: int) -> Classes:
    """The classes of each token, but of those that stand around a text."""
    rows, found = opened.rows(texts), []
    logits = [
        row[: int(real.sum())]
        for tokens, mask in opened.batches(rows, batch_size)
        for row, real in zip(opened.model(tokens, attention_mask=mask).logits, mask, strict=True)
    ]
    for text, ids, given in zip(texts, rows, logits, strict=True):
        read = opened.ledger.tokenizer.encode_with_offsets(text)
        is_whole = len(read.ids) == len(ids)  # else its end was cut off, and what stands behind moved up
        tokens = [
            Classified(text[begin:end], "token", _named(row, labels), place=(begin, end))
            for (begin, end), is_special, row in zip(
                read.offsets[: len(ids)], read.special_tokens_mask[: len(ids)], _scores(given, "softmax"), strict=True
            )
            if not is_special and (is_whole or end > begin)
        ]
        found.append(Classified(text, "text", {}, tokens))
    ledger = opened.ledger
    return Classes(found, ledger.source, ledger.family.name, "softmax", labels, ledger.notes)


def _by_labels(opened: Opened, texts: list[str], images: list[Any], labels: list[str], template: str) -> Classes:
    """CLIP: how well each picture and each label go together."""
    if texts or not images or len(labels) < 2:
        raise UsageError("CLIP classifies pictures by labels", hint="give images, and two labels or more")
    if "{}" not in template:
        raise UsageError(f"template={clean(repr(template))} has no place for the label", hint="write {} there")
    rows = opened.rows([template.replace("{}", label) for label in labels])
    tokens, mask = next(opened.batches(rows, len(rows)))
    logits = opened.model(tokens, pixels=opened.pixels(images), attention_mask=mask).logits
    return _classes(opened, labels, "softmax", [(str(image), "image") for image in images], logits)
