"""`zoo.embed`: texts and pictures as vectors, by folders of sentence-transformers, encoders, decoders and CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.embedding.pooling import pooled, projected
from zoo.embedding.reading import Opened, as_list, open_reader
from zoo.embedding.recipe import VectorRecipe, recipe_of
from zoo.errors import UsageError, clean
from zoo.presets.homes import located

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
        return unit @ unit.mT

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
    (cls, mean, max, last, mean_sqrt, weighted_mean), and the vectors have length 1. CLIP has vectors of its own, for
    texts and pictures. `prompt_name` is one of the folder's prompts, put before each text; None: its default.
    Raises UsageError for what a model does not read, CheckpointError for a folder that asks for what zoo does not do.
    """
    texts, images = as_list(texts), as_list(images)
    if not texts and not images:
        raise UsageError("there is nothing to embed", hint="give texts or images")
    options: dict[str, Any] = {
        "family": family, "allow": allow, "allow_pickle": allow_pickle, "dtype": dtype, "device": device,
    }  # fmt: skip
    place = located(source, allow_pickle=allow_pickle)._replace(source=str(source))
    home = place.path if place.path.is_dir() else place.path.parent
    is_named = (home / "modules.json").is_file()
    recipe = recipe_of(home, pooling) if is_named or pooling is not None else None
    at = place if recipe is None or recipe.home == home else place._replace(path=recipe.home)
    opened = open_reader(at, *overrides, is_headless=True, **options)
    if hasattr(opened.model, "logit_scale"):
        vectors, how = _by_towers(opened, texts, images, recipe, batch_size)
    else:
        if images:
            raise UsageError(f"{opened.ledger.family.name} gives no vectors of pictures", hint="CLIP does")
        recipe = recipe or recipe_of(home, pooling)
        opened = replace(opened, max_len=recipe.max_len)
        vectors, how = _by_recipe(opened, texts, recipe, prompt_name, batch_size, allow_pickle), str(recipe)
    names = [*texts, *(str(image) for image in images)]
    kinds = ["text"] * len(texts) + ["image"] * len(images)
    ledger = opened.ledger
    return Vectors(vectors, names, kinds, str(source), ledger.family.name, how, ledger.notes)


def _by_recipe(
    opened: Opened, texts: list[str], recipe: VectorRecipe, prompt_name: str | None, batch_size: int, allow_pickle: bool
) -> Tensor:
    """Vectors by the states of the texts' tokens."""
    prompt = recipe.prompt(prompt_name)
    words = [prompt + text for text in texts]
    rows = opened.rows([text.lower() for text in words] if recipe.is_lower else words)
    skipped = 0 if recipe.counts_prompt or not prompt else _length(opened, prompt)
    found = []
    for tokens, mask in opened.batches(rows, batch_size):
        output = opened.model(tokens, attention_mask=mask)
        states = getattr(output, "hidden", None)
        if states is None:
            raise UsageError(f"{opened.ledger.family.name} gives no states of tokens, of which vectors could be made")
        found.append(pooled(states, mask, recipe.poolings, num_skipped=skipped))
    x = torch.cat(found)
    for step in recipe.steps:
        x = F.normalize(x, dim=-1) if step is None else projected(x, step, allow_pickle=allow_pickle)
    return x


def _length(opened: Opened, prompt: str) -> int:
    """Tokens of a prompt, those before it among them and those behind it not."""
    found = opened.ledger.tokenizer.encode_with_offsets(prompt)
    return len(found.ids) - int(bool(found.special_tokens_mask and found.special_tokens_mask[-1]))


def _by_towers(
    opened: Opened, texts: list[str], images: list[Any], recipe: VectorRecipe | None, batch_size: int
) -> tuple[Tensor, str]:
    """Vectors of CLIP's own."""
    if recipe is not None:
        raise UsageError(f"{clean(opened.ledger.source)} has vectors of its own", hint="leave pooling out")
    found = [
        opened.model(tokens, attention_mask=mask).text
        for tokens, mask in opened.batches(opened.rows(texts), batch_size)
    ]
    for start in range(0, len(images), batch_size):
        found.append(opened.model(pixels=opened.pixels(images[start : start + batch_size])).image)
    return torch.cat(found), "its own projections, length 1"
