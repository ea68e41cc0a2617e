"""A model that continues no text, opened strictly, and texts as rows that it reads.

Shapes: B texts, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.loading import realise
from zoo.errors import UsageError, ZooError, clean
from zoo.files.json_file import read_json
from zoo.hub.place import Place
from zoo.models.trial import field
from zoo.vision import Processing, pixels_of, read_image
from zoo.vision.prompts import settings_of

HEADLESS = "headed"  # the family of decoders without their head


@dataclass(frozen=True)
class Opened:
    """A model, and how texts and pictures are read for it."""

    model: Any
    ledger: Ledger
    max_len: int | None = None  # tokens of a text, those around it among them

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, cut to what is read of them; what stands behind each is kept."""
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> list[int]:
        found = self.ledger.tokenizer.encode_with_offsets(text)
        limits = [n for n in (self.max_len, field(self.ledger.config, "max_seq_len")) if n]
        longest = min(limits, default=len(found.ids))
        if len(found.ids) <= longest:
            return found.ids
        self._check_side()
        behind = next((i for i, is_special in enumerate(reversed(found.special_tokens_mask)) if not is_special), 0)
        return found.ids[: longest - behind] + found.ids[len(found.ids) - behind :]

    def _check_side(self) -> None:
        """Refuse to cut at the end what is meant to be cut at the beginning."""
        file = self.ledger.checkpoint.folder / "tokenizer_config.json"
        if file.is_file() and read_json(file).get("truncation_side", "right") != "right":
            what = "a text is too long, and zoo cuts the end, but truncation_side is not right"
            raise UsageError(f"{clean(file)}: {what}", hint="cut it yourself")

    def batches(self, rows: Sequence[list[int]], size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens [B, T], padded on the right, and which of them are real."""
        device = next(self.model.parameters()).device
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            if empty := [i for i, row in enumerate(part) if not row]:
                raise UsageError(f"text {at + empty[0] + 1} has no tokens")
            width, pad = max(map(len, part)), self.ledger.config.pad_token_id or 0
            tokens = torch.tensor([row + [pad] * (width - len(row)) for row in part], device=device)
            mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in part], device=device)
            yield tokens, mask

    def pixels(self, images: Sequence[Any]) -> Tensor:
        """Pictures, of files or of Pillow, as the file beside the weights says."""
        settings = settings_of(self.ledger.checkpoint.folder)
        if settings is None:
            raise UsageError(
                f"{clean(self.ledger.source)} has no preprocessor_config.json, which says how pictures are read"
            )
        first = next(self.model.parameters())
        found = [read_image(image) if isinstance(image, str | Path) else image for image in images]
        return pixels_of(found, Processing.of(settings)).to(first)


def open_reader(
    source: str | Path | Place,
    *overrides: str,
    family: str | None,
    allow: Iterable[str],
    allow_pickle: bool,
    dtype: str | torch.dtype | None,
    device: str | torch.device,
    is_headless: bool = False,
) -> Opened:
    """A checkpoint with its weights; a decoder without its head over the vocabulary if that is asked for."""
    options: dict[str, Any] = {"allow": allow, "allow_pickle": allow_pickle}
    ledger = inspect(source, *overrides, family=family, **options)
    if is_headless and family is None and ledger.dialect == "hf" and _continues(ledger):
        try:
            ledger = _as_meant(inspect(source, *overrides, family=HEADLESS, **options))
        except ZooError as error:
            what = f"{ledger.family.name} gives no states without its head"
            raise UsageError(what, why=str(error).partition("\n")[0]) from None
    return Opened(realise(ledger, dtype=dtype, device=device), ledger)


def _continues(ledger: Ledger) -> bool:
    """Whether it is a decoder with a head over the vocabulary."""
    from zoo.models.construction import on_meta

    return hasattr(on_meta(ledger.config), "new_cache")


def _as_meant(ledger: Ledger) -> Ledger:
    """The ledger without what it says of the head and the family that nobody but zoo asked for."""
    ledger.concessions = [line for line in ledger.concessions if not line.startswith(f"read as family={HEADLESS}")]
    ledger.keys.told.pop("architectures", None)
    return ledger


def as_list(given: Any) -> list[Any]:
    """One of a thing, or several."""
    return [given] if isinstance(given, str | Path) or not isinstance(given, Iterable) else list(given)
