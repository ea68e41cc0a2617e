"""Pictures and their texts: each is told from the others of its batch.

Shapes: N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from zoo.embedding.reading import pads_left
from zoo.errors import UsageError
from zoo.training.corpus import standing_at, text_corpus
from zoo.training.losses import contrastive_loss, sigmoid_loss
from zoo.training.objectives.batch import Facts, Microbatch, padded
from zoo.training.objectives.ground import Ground
from zoo.vision import Processing, flexible_patches_of, pixels_of, read_image
from zoo.vision.prompts import settings_of

MOST_SCALE = 100.0  # of the learned scale (arXiv:2103.00020, 2.5)


@dataclass(frozen=True)
class PicturesAndTexts:
    """CLIP's objective, or SigLIP's for a model with a bias.

    A batch is whole: what is accumulated is a mean over batches, each with its own contrasts.
    """

    rows: Sequence[tuple[Path, list[int]]]
    how: Processing
    pad: int
    is_left: bool = False  # where a model that reads its padding has it

    @property
    def fingerprint(self) -> str:
        return text_corpus(ids for _, ids in self.rows).fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        chosen = [self.rows[i] for i in rows]
        like = next(model.parameters())
        images, shapes = [read_image(path) for path, _ in chosen], {}
        if self.how.max_patches is None:
            pixels = pixels_of(images, self.how).to(like.dtype)
        else:
            patches, shapes["shapes"] = flexible_patches_of(images, self.how)
            pixels = patches.to(like.dtype)
        tokens = padded([ids for _, ids in chosen], self.pad)
        kwargs = {"attention_mask": padded([torch.ones(len(ids)) for _, ids in chosen], 0).bool()}
        if (row_len := getattr(model, "row_len", None)) is not None:  # its padding is read
            fills, kwargs = [[self.pad] * (row_len - len(ids)) for _, ids in chosen], {}
            filled = [f + ids if self.is_left else ids + f for f, (_, ids) in zip(fills, chosen, strict=True)]
            tokens = torch.tensor(filled)
        count = sum(len(ids) for _, ids in chosen)
        return Microbatch((tokens, pixels), torch.arange(len(chosen)), len(chosen), count, kwargs | shapes)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        out = model(*batch.args, **batch.kwargs)
        scale = model.logit_scale.exp().clamp(max=MOST_SCALE)
        if (bias := getattr(model, "logit_bias", None)) is None:
            loss = contrastive_loss(out.image, out.text, scale)
        else:
            loss = sigmoid_loss(out.image, out.text, scale, bias)
        right = (out.image @ out.text.mT).argmax(-1) == batch.labels
        return loss * (batch.weight / total), {"accuracy": right.sum()}


def pictures_and_texts(ground: Ground) -> PicturesAndTexts:
    """Raises UsageError for a model that does not have both towers, and rows without `image` and `text`."""
    ground.check()
    config: Any = ground.config
    if getattr(ground.model, "logit_scale", None) is None:
        raise UsageError(f"objective=clip trains two towers, and this {ground.config.family} does not have them")
    rows, length = [], min(ground.length, config.text.max_seq_len)
    for record in ground.records():
        path = record.picture(record.text("image", row='{"image": "a.png", "text": "…"}'))
        with standing_at(record.place):
            ids = ground.words.encode(record.text(ground.data.field))
        if ground.end is not None and ids[-1:] != [ground.end]:
            ids = [*ids, ground.end]
        if len(ids) > length:
            ids = [*ids[: length - 1], ids[-1]]  # as the released code cuts captions
        rows.append((path, ids))
    ledger = getattr(ground.model, "ledger", None)
    how = _processing(ground.model, config.vision.image_size)
    return PicturesAndTexts(rows, how, ground.pad, ledger is not None and pads_left(ledger))


def _processing(model: Any, side: int) -> Processing:
    """As the file beside the weights says, with which the model is used; else as CLIP or SigLIP was released."""
    ledger = getattr(model, "ledger", None)
    if ledger is not None and (found := settings_of(ledger.checkpoint.folder)) is not None:
        return Processing.of(found)
    settings: dict[str, Any] = {"image_processor_type": "CLIPImageProcessor", "size": side, "crop_size": side}
    if getattr(model, "logit_bias", None) is not None:
        settings = {"image_processor_type": "SiglipImageProcessor", "size": {"height": side, "width": side}}
    return Processing.of(settings)
