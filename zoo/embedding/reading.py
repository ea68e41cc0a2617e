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
from zoo.vision import Processing, flexible_patches_of, pixels_of, read_image
from zoo.vision.prompts import settings_of

HEADLESS = "headed"  # the family of decoders without their head
PADDED_LEFT = ("Siglip2Tokenizer", "GemmaTokenizer", "GemmaTokenizerFast")


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
        self.check_side()
        behind = next((i for i, is_special in enumerate(reversed(found.special_tokens_mask)) if not is_special), 0)
        return found.ids[: longest - behind] + found.ids[len(found.ids) - behind :]

    def check_side(self) -> None:
        """Refuse to cut at the end what is meant to be cut at the beginning."""
        file = self.ledger.checkpoint.folder / "tokenizer_config.json"
        if file.is_file() and read_json(file).get("truncation_side", "right") != "right":
            what = "a text is too long, and zoo cuts the end, but truncation_side is not right"
            raise UsageError(f"{clean(file)}: {what}", hint="cut it yourself")

    def batches(self, rows: Sequence[list[int]], size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens [B, T], padded on the right, and which of them are real.

        A model that was trained to read its padding (SigLIP) gets all its rows of one length, and nothing hidden.
        """
        device, row_len = next(self.model.parameters()).device, getattr(self.model, "row_len", None)
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            if empty := [i for i, row in enumerate(part) if not row]:
                raise UsageError(f"text {at + empty[0] + 1} has no tokens")
            if row_len is not None:
                tokens = torch.tensor([filled(row, row_len, self.ledger) for row in part], device=device)
                yield tokens, torch.ones_like(tokens, dtype=torch.bool)
                continue
            width, pad = max(map(len, part)), self.ledger.config.pad_token_id or 0
            tokens = torch.tensor([row + [pad] * (width - len(row)) for row in part], device=device)
            mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in part], device=device)
            yield tokens, mask

    def pictures(self, images: Sequence[Any]) -> dict[str, Tensor]:
        """Pictures, of files or of Pillow, as the file beside the weights says: arguments of the model."""
        settings = settings_of(self.ledger.checkpoint.folder)
        if settings is None:
            raise UsageError(
                f"{clean(self.ledger.source)} has no preprocessor_config.json, which says how pictures are read"
            )
        first = next(self.model.parameters())
        found = [read_image(image) if isinstance(image, str | Path) else image for image in images]
        how = Processing.of(settings)
        if how.max_patches is None:
            return {"pixels": pixels_of(found, how).to(first)}
        patches, shapes = flexible_patches_of(found, how)
        return {"pixels": patches.to(first), "shapes": shapes.to(first.device)}


def filled(row: list[int], length: int, ledger: Ledger) -> list[int]:
    """A row of `length` tokens: padding that is read, by the tokenizer's own token and on the side that its files say.

    transformers' classes for SigLIP 2 pad on the left unless the files say otherwise; the released ones do.
    """
    pad = ledger.tokenizer.token_to_id(ledger.tokenizer.special_tokens.get("pad_token", ""))
    pad = ledger.config.pad_token_id or 0 if pad is None else pad
    padding = [pad] * (length - len(row))
    return padding + row if pads_left(ledger) else row + padding


def pads_left(ledger: Ledger) -> bool:
    """On which side a checkpoint's files say that texts are filled. Raises UsageError for neither."""
    settings = ledger.checkpoint.folder / "tokenizer_config.json"
    said = read_json(settings) if settings.is_file() else {}
    is_left = said.get("tokenizer_class") in PADDED_LEFT or ledger.family.name == "siglip2"
    side = said.get("padding_side") or ("left" if is_left else "right")
    if side not in ("left", "right"):
        raise UsageError(f"{clean(settings)}: padding_side={clean(repr(side))} is neither left nor right")
    return side == "left"


def open_reader(
    source: str | Path | Place,
    *overrides: str,
    family: str | None,
    allow: Iterable[str],
    allow_pickle: bool,
    dtype: str | torch.dtype | None,
    device: str | torch.device,
) -> Opened:
    """A checkpoint with its weights."""
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    return Opened(realise(ledger, dtype=dtype, device=device), ledger)


def ledger_of(
    source: str | Path | Place,
    *overrides: str,
    family: str | None,
    allow: Iterable[str],
    allow_pickle: bool,
) -> Ledger:
    """A checkpoint without its weights, a decoder without its head over the vocabulary."""
    options: dict[str, Any] = {"allow": allow, "allow_pickle": allow_pickle}
    ledger = inspect(source, *overrides, family=family, **options)
    if family is None and ledger.dialect == "hf" and _continues(ledger):
        try:
            return _as_meant(inspect(source, *overrides, family=HEADLESS, **options))
        except ZooError as error:
            what = f"{ledger.family.name} gives no states without its head"
            raise UsageError(what, why=str(error).partition("\n")[0]) from None
    if getattr(ledger.config, "head", None) == "none":  # a trunk is what vectors are made by, whatever head it lost
        ledger.keys.told.pop("architectures", None)
    return ledger


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
