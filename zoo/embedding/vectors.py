"""`zoo.embed`: texts and pictures as vectors, by folders of sentence-transformers, encoders, decoders and CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.checkpoint.loading import realise
from zoo.embedding.embedder import embedder_of
from zoo.embedding.reading import Opened, as_list
from zoo.errors import UsageError
from zoo.nn import ImageOutput

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Vectors:
    """Vectors, and of what they are."""

    vectors: Tensor  # [N, D], texts first
    names: list[str]  # the texts, and what the pictures are called
    kinds: list[str]  # text | image
    source: str
    family: str
    how: str  # in words, from states to vectors
    notes: list[str]

    @property
    def cosine(self) -> Tensor:
        """How alike each two are: the cosine of the angle between them, [N, N]."""
        unit = F.normalize(self.vectors.double(), dim=-1)
        return (unit @ unit.mT).clamp(-1, 1)  # rounding would leave 1.0000000000000002, of which no angle is known

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "source": self.source,
            "family": self.family,
            "how": self.how,
            "dimension": self.vectors.shape[-1],
            "inputs": [{"kind": kind, "name": name} for kind, name in zip(self.kinds, self.names, strict=True)],
            "vectors": self.vectors.double().tolist(),
            "cosine": self.cosine.tolist(),
            "notes": self.notes,
        }


@torch.inference_mode()
def embed(
    source: str | Path,
    *overrides: str,
    texts: str | Sequence[str] = (),
    images: str | Path | Image | Sequence[str | Path | Image] = (),
    prompt_name: str | None = None,
    pooling: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 32,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Vectors:
    """The vectors of texts and pictures, of a checkpoint opened as strictly as `zoo.load` opens it.

    A folder of sentence-transformers says itself how (modules.json); of another encoder or decoder `pooling` says it
    (cls, mean, max, last, mean_sqrt, weighted_mean), and the vectors have length 1. CLIP and SigLIP have vectors of
    their own, for texts and pictures, DINOv2 for pictures. `prompt_name` is one of the folder's prompts, put before
    each text; None: its default.
    Raises UsageError for what a model does not read, CheckpointError for a folder that asks for what zoo does not do.
    """
    texts, images = as_list(texts), as_list(images)
    if not texts and not images:
        raise UsageError("there is nothing to embed", hint="give texts (-p) or images (--image)")
    embedder = embedder_of(source, *overrides, pooling=pooling, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger = embedder.ledger
    if images and (embedder.recipe is not None or "pixels" not in embedder.reads):
        raise UsageError(f"{ledger.family.name} gives no vectors of pictures", hint="CLIP, SigLIP and DINOv2 do")
    opened = Opened(realise(ledger, dtype=dtype, device=device), ledger)
    found = []
    if texts:
        rows = embedder.rows(texts, prompt_name)
        found.append(embedder.vectors(opened.model, rows, batch_size=batch_size, prompt_name=prompt_name))
    for start in range(0, len(images), batch_size):
        out = opened.model(**opened.pictures(images[start : start + batch_size]))
        vectors = out.pooled if isinstance(out, ImageOutput) else out.image
        if vectors is None:
            raise UsageError(f"{ledger.family.name} has no head here that makes one vector of a picture")
        found.append(vectors)
    names = [*texts, *(str(image) for image in images)]
    kinds = ["text"] * len(texts) + ["image"] * len(images)
    return Vectors(torch.cat(found), names, kinds, str(source), ledger.family.name, embedder.how, ledger.notes)
