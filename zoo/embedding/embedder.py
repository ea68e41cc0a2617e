"""What makes vectors of texts: all that is known of it before its weights are there, and what it does with them.

Shapes: B texts, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.checkpoint.inspection import Ledger
from zoo.embedding.pooling import pooled, projected
from zoo.embedding.reading import Opened, ledger_of
from zoo.embedding.recipe import VectorRecipe, recipe_of
from zoo.errors import UsageError, WrongType, clean
from zoo.models.construction import on_meta
from zoo.models.trial import wanted
from zoo.presets.homes import located


@dataclass(frozen=True)
class Embedder:
    """A checkpoint whose texts become vectors, and how."""

    ledger: Ledger
    recipe: VectorRecipe | None  # None: the model's vectors are its own, as CLIP's
    allow_pickle: bool = False
    own: str = ""  # in words, how it makes its own
    reads: tuple[str, ...] = ("tokens",)  # of tokens and pixels

    @property
    def how(self) -> str:
        """In words, from states to vectors."""
        return self.own if self.recipe is None else str(self.recipe)

    @property
    def max_len(self) -> int | None:
        """Tokens that are read of a text; None: what the model was made for."""
        return None if self.recipe is None else self.recipe.max_len

    def rows(self, texts: Sequence[str], prompt_name: str | None = None) -> list[list[int]]:
        """Token ids of texts behind their prompt, cut to what is read of them."""
        if "tokens" not in self.reads:
            raise UsageError(f"{clean(self.ledger.source)} is a {self.ledger.family.name} that reads no texts")
        reading = Opened(None, self.ledger, self.max_len)
        if self.recipe is None:
            return reading.rows(texts)
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise WrongType("what is to be read", wrong[0], "a text")
        words = [self.recipe.prompt(prompt_name) + text for text in texts]
        return reading.rows([text.lower() for text in words] if self.recipe.is_lower else words)

    @torch.inference_mode()
    def vectors(
        self, model: Any, rows: Sequence[list[int]], *, batch_size: int = 32, prompt_name: str | None = None
    ) -> Tensor:
        """The vectors [B, D] of texts that `rows` gave. Raises UsageError for a model without states of tokens."""
        opened = Opened(model, self.ledger, self.max_len)
        if self.recipe is None:
            return torch.cat([model(t, attention_mask=m).text for t, m in opened.batches(rows, batch_size)])
        prompt = self.recipe.prompt(prompt_name)
        skipped = 0 if self.recipe.counts_prompt or not prompt else self._length(prompt)
        found = []
        for tokens, mask in opened.batches(rows, batch_size):
            states = getattr(model(tokens, attention_mask=mask), "hidden", None)
            if states is None:
                what = f"{self.ledger.family.name} gives no states of tokens, of which vectors could be made"
                raise UsageError(what)
            found.append(pooled(states, mask, self.recipe.poolings, num_skipped=skipped))
        x = torch.cat(found)
        for step in self.recipe.steps:
            x = F.normalize(x, dim=-1) if step is None else projected(x, step, allow_pickle=self.allow_pickle)
        return x

    def _length(self, prompt: str) -> int:
        """Tokens of a prompt, those before it among them and those behind it not."""
        found = self.ledger.tokenizer.encode_with_offsets(prompt)
        return len(found.ids) - int(bool(found.special_tokens_mask and found.special_tokens_mask[-1]))


def embedder_of(
    source: str | Path,
    *overrides: str,
    pooling: str | None = None,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
) -> Embedder:
    """What a checkpoint makes vectors by. Raises UsageError where nothing says how, CheckpointError as `recipe_of`."""
    place = located(source, allow_pickle=allow_pickle)._replace(source=str(source))
    home = place.path if place.path.is_dir() else place.path.parent
    recipe = recipe_of(home, pooling) if says_how(home) or pooling is not None else None
    at = place if recipe is None or recipe.home == home else place._replace(path=recipe.home)
    options: dict[str, Any] = {"family": family, "allow": allow, "allow_pickle": allow_pickle}
    ledger = ledger_of(at, *overrides, **options)
    model: Any = on_meta(ledger.config)
    own = getattr(model, "vectors_by", "")
    if own:
        if recipe is not None:
            raise UsageError(f"{clean(ledger.source)} has vectors of its own", hint="leave pooling out")
    elif "tokens" not in wanted(model):
        what = f"{clean(ledger.source)} is a {ledger.config.family_in_words}, which gives no vectors"
        raise UsageError(what, hint="of pictures CLIP, SigLIP and DINOv2 give them; zoo classify gives classes")
    elif recipe is None:
        recipe = recipe_of(home, pooling)
    return Embedder(ledger, recipe, allow_pickle, own, wanted(model) if own else ("tokens",))


def says_how(home: Path) -> bool:
    """Whether a folder is one of sentence-transformers."""
    return (home / "modules.json").is_file()
