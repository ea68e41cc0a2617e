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

from zoo.errors import UsageError
from zoo.training.corpus import text_corpus
from zoo.training.losses import contrastive_loss
from zoo.training.objectives.batch import Facts, Microbatch, padded
from zoo.training.objectives.ground import Ground
from zoo.vision import Processing, pixels_of, read_image

MOST_SCALE = 100.0  # of the learned scale (arXiv:2103.00020, 2.5)


@dataclass(frozen=True)
class PicturesAndTexts:
    """CLIP's objective. A batch is whole: what is accumulated is a mean over batches, each with its own contrasts."""

    rows: Sequence[tuple[Path, list[int]]]
    how: Processing
    pad: int

    @property
    def fingerprint(self) -> str:
        return text_corpus(ids for _, ids in self.rows).fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        chosen = [self.rows[i] for i in rows]
        like = next(model.parameters())
        pixels = pixels_of([read_image(path) for path, _ in chosen], self.how).to(like.dtype)
        tokens = padded([ids for _, ids in chosen], self.pad)
        mask = padded([torch.ones(len(ids)) for _, ids in chosen], 0).bool()
        kwargs = {"attention_mask": mask}
        count = sum(len(ids) for _, ids in chosen)
        return Microbatch((tokens, pixels), torch.arange(len(chosen)), len(chosen), count, kwargs)

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        out = model(*batch.args, **batch.kwargs)
        scale = model.logit_scale.exp().clamp(max=MOST_SCALE)
        loss = contrastive_loss(out.image, out.text, scale)
        right = (out.image @ out.text.mT).argmax(-1) == batch.labels
        return loss * (batch.weight / total), {"accuracy": right.sum()}


def pictures_and_texts(ground: Ground) -> PicturesAndTexts:
    """Raises UsageError for a model that does not have both towers, and rows without `image` and `text`."""
    ground.check()
    config: Any = ground.config
    if getattr(ground.model, "logit_scale", None) is None:
        raise UsageError(f"objective=clip trains CLIP's two towers, and this {ground.config.family} does not have them")
    rows = []
    for record in ground.records():
        path = Path(ground.files[0]).parent / record.text("image")
        ids = ground.words.encode(record.text(ground.data.field))
        if ground.end is not None and ids[-1:] != [ground.end]:
            ids = [*ids, ground.end]
        if len(ids) > ground.length:
            ids = [*ids[: ground.length - 1], ids[-1]]  # as the released code cuts captions
        rows.append((path, ids))
    side = config.vision.image_size
    settings = {"image_processor_type": "CLIPImageProcessor", "size": side, "crop_size": side}
    return PicturesAndTexts(rows, Processing.of(settings), ground.pad)
