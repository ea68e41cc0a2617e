"""`zoo.classify`: the classes of texts, pairs of them, tokens and pictures, and of both by labels of anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.embedding.classified import Classes, Classified, told_apart
from zoo.embedding.inference import SENTENCE, by_sentences, filled, is_of_inference
from zoo.embedding.pairs import activation_of, as_pairs, pair_logits, pair_rows
from zoo.embedding.reading import Opened, as_list, open_reader
from zoo.errors import UsageError, clean
from zoo.weights.hf_labels import unnamed

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATE = "This is a photo of {}."  # as in transformers' pipeline


@torch.inference_mode()
def classify(
    source: str | Path,
    *overrides: str,
    texts: str | Sequence[str] = (),
    pairs: tuple[str, str] | Sequence[tuple[str, str]] = (),
    images: str | Path | Image | Sequence[str | Path | Image] = (),
    labels: Sequence[str] = (),
    template: str | None = None,
    is_multi_label: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 32,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Classes:
    """The classes of texts, pairs of texts or pictures, by a checkpoint with a head for them, opened as by `zoo.load`.

    Scores are probabilities: of one class among all, or, where problem_type says multi_label_classification, of each
    alone. A model of one class (a reward model) and a regression give their number as it is, unless the files of a
    cross-encoder of sentence-transformers name an activation. `labels` are yours, each put into the `template`: CLIP
    and SigLIP classify pictures by them, among them, or, by SigLIP, each alone; a model of inference (a class of which
    is entailment) texts, among them, or with `is_multi_label` each alone.
    Raises UsageError for a model without a head for classes, and for what it does not read.
    """
    texts, images, labels, two = as_list(texts), as_list(images), as_list(labels), as_pairs(pairs)
    if not texts and not images and not two:
        raise UsageError("there is nothing to classify", hint="give texts (-p), pairs (--pair) or images (--image)")
    if len(set(labels)) < len(labels) or not all(label.strip() for label in labels):
        raise UsageError("labels are words that differ, and one is empty or stands there twice")
    opened = open_reader(
        source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle, dtype=dtype, device=device
    )
    if getattr(opened.model, "logit_scale", None) is not None:
        if two:
            raise UsageError(f"{opened.ledger.family.name} classifies no pairs of texts")
        return _by_labels(opened, texts, images, labels, TEMPLATE if template is None else template)
    head, names = _labels_of(opened)
    if labels:
        if images or two or not texts:
            raise UsageError("a model of inference classifies texts by labels", hint="give texts alone")
        return _by_inference(opened, texts, labels, (head, names), template, is_multi_label, batch_size)
    if template is not None or is_multi_label:
        raise UsageError("template and is_multi_label are for labels of yours", hint="give labels")
    if head == "image_classification" or not head.startswith(("sequence", "token")):
        if texts or two or not images:
            raise UsageError(f"{opened.ledger.family.name} with model.head={head!r} classifies no texts")
        logits = opened.model(**opened.pictures(images)).logits
        return _classes(opened, names, [Classified(str(i), "image", {}) for i in images], logits)
    if images:
        raise UsageError(f"{opened.ledger.family.name} classifies no pictures")
    if head == "token_classification":
        if two:
            raise UsageError(f"{opened.ledger.family.name} with model.head={head!r} classifies no pairs of texts")
        return _by_token(opened, texts, names, batch_size)
    return _of_texts(opened, texts, two, names, batch_size)


def _of_texts(
    opened: Opened, texts: list[str], pairs: list[tuple[str, str]], names: list[str], batch_size: int
) -> Classes:
    """The classes of texts, and of pairs of them."""
    size = 1 if getattr(opened.model, "is_of_one_row", False) else batch_size
    found = [opened.model(t, attention_mask=m).logits for t, m in opened.batches(opened.rows(texts), size)]
    found += [pair_logits(opened, pair_rows(opened, pairs), size)] if pairs else []
    inputs = [Classified(text, "text", {}) for text in texts]
    inputs += [Classified(f"{first} · {second}", "pair", {}, pair=(first, second)) for first, second in pairs]
    return _classes(opened, names, inputs, torch.cat(found))


def _labels_of(opened: Opened) -> tuple[str, list[str]]:
    """What the head is for, and the names of its classes. Raises UsageError for a model without any."""
    config: Any = opened.ledger.config
    count = getattr(config, "num_labels", None)
    head = str(getattr(config, "head", "none"))
    if count is None:
        what = f"{clean(opened.ledger.source)} is a {opened.ledger.family.name} without a head for classes"
        raise UsageError(what, hint="zoo embed gives its vectors")
    return head, told_apart(list(config.labels) or unnamed(count))


def _how(opened: Opened, count: int) -> str:
    """How logits become scores."""
    kind = opened.ledger.checkpoint.config.get("problem_type")
    if kind == "multi_label_classification":
        return "sigmoid"
    if count == 1 and (said := activation_of(opened)) is not None:
        return said
    return "score" if count == 1 or kind == "regression" else "softmax"


def _scores(logits: Tensor, how: str) -> Tensor:
    wide = logits.double()
    return wide.softmax(-1) if how == "softmax" else wide.sigmoid() if how == "sigmoid" else wide


def _named(row: Tensor, labels: Sequence[str]) -> dict[str, float]:
    """The score of each class, the highest first."""
    order = row.argsort(descending=True, stable=True).tolist()
    return {labels[i]: row[i].item() for i in order}


def _classes(opened: Opened, labels: list[str], inputs: Sequence[Classified], logits: Tensor) -> Classes:
    how = _how(opened, len(labels))
    return _told(opened, labels, how, inputs, _scores(logits, how))


def _told(opened: Opened, labels: list[str], how: str, inputs: Sequence[Classified], rows: Tensor) -> Classes:
    found = [replace(one, scores=_named(row, labels)) for one, row in zip(inputs, rows, strict=True)]
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


def _by_inference(
    opened: Opened, texts: list[str], labels: list[str], head: tuple[str, list[str]], template: str | None,
    is_alone: bool, batch_size: int,
) -> Classes:  # fmt: skip
    """How well each label, put into a sentence, follows from each text."""
    if head[0] != "sequence_classification" or not is_of_inference(head[1]):
        hint = "CLIP, SigLIP and classifiers with a class called entailment take labels of yours"
        raise UsageError(f"{opened.ledger.family.name} has its own labels", hint=hint)
    rows = by_sentences(
        opened, texts, labels, head[1], template=SENTENCE if template is None else template, is_alone=is_alone,
        batch_size=1 if getattr(opened.model, "is_of_one_row", False) else batch_size,
    )  # fmt: skip
    how = "sigmoid" if is_alone or len(labels) == 1 else "softmax"
    return _told(opened, labels, how, [Classified(text, "text", {}) for text in texts], rows)


def _by_labels(opened: Opened, texts: list[str], images: list[Any], labels: list[str], template: str) -> Classes:
    """How well each picture and each label go together: among the labels, or, by SigLIP, each label alone."""
    how = "softmax" if getattr(opened.model, "logit_bias", None) is None else "sigmoid"
    fewest, count = (2, "two labels or more") if how == "softmax" else (1, "labels")
    if texts or not images or len(labels) < fewest:
        what = f"{opened.ledger.family.name} classifies pictures by labels"
        raise UsageError(what, hint=f"give images, and {count}")
    rows = opened.rows([filled(template, label) for label in labels])
    tokens, mask = next(opened.batches(rows, len(rows)))
    logits = opened.model(tokens, attention_mask=mask, **opened.pictures(images)).logits
    return _told(opened, labels, how, [Classified(str(i), "image", {}) for i in images], _scores(logits, how))
