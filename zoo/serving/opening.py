"""From the name of a checkpoint to what a shelf holds of it: headers, tokenizer and settings, but no weights yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.loading import realise
from zoo.embedding.embedder import Embedder, embedder_of, says_how
from zoo.embedding.recipe import check_pooling
from zoo.generation.config import PLAIN
from zoo.models.construction import on_meta
from zoo.presets.homes import located
from zoo.serving.roster import DEFAULT_CONTEXT, Volume
from zoo.units import ITEM_BYTES

SHARE = 0.7  # of a machine's memory that weights may take


def open_volume(
    source: str,
    *overrides: str,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    settings: Mapping[str, Any] | None = None,
    ignore_settings: bool = False,
    context: int | None = None,
    tell: Callable[[str], None] = lambda note: None,
    dtype: str | None = None,
    device: str = "cpu",
    quantize: str | None = None,
    keep_packed: bool = False,
    pooling: str | None = None,
) -> Volume:
    """A model that can be loaded when it is asked for.

    `pooling` says how states become a vector where nothing else does. A folder of sentence-transformers, and a model
    that writes no text, is there for its vectors alone. Raises ZooError for a checkpoint that cannot be loaded.
    """
    check_pooling(pooling)
    known: dict[str, Any] = {"family": family, "allow": allow, "allow_pickle": allow_pickle}
    held: dict[str, Any] = {"dtype": dtype, "device": device, "quantize": quantize, "keep_packed": keep_packed}
    place = located(source, allow_pickle=allow_pickle).path
    is_named = says_how(place if place.is_dir() else place.parent)
    ledger = None if is_named else inspect(source, *overrides, **known)
    if ledger is None or not _writes(ledger):
        embedder = embedder_of(source, *overrides, pooling=None if is_named else pooling, **known)
        for note in embedder.ledger.tokenizer.notes:
            tell(f"note: {source}: {note}")
        return _for_vectors(source, embedder, context, held)
    ledger.check()
    config, notes = ledger.settings(ignore=ignore_settings)
    for note in [*ledger.tokenizer.notes, *notes]:
        tell(f"note: {source}: {note}")

    def load() -> Any:
        return realise(ledger, **held).eval()

    made_for = getattr(ledger.config, "max_seq_len", None) or DEFAULT_CONTEXT
    return Volume(
        name_of(source), ledger.tokenizer, config.replaced(**settings or {}), min(made_for, context or made_for),
        _nbytes(ledger, dtype), load,
        folder=ledger.checkpoint.folder, sees=bool(ledger.family.pictures), pooling=pooling or "mean",
    )  # fmt: skip


def _for_vectors(source: str, embedder: Embedder, context: int | None, held: Mapping[str, Any]) -> Volume:
    """A model that is asked for vectors alone."""
    ledger = embedder.ledger
    ledger.check()
    made_for = embedder.max_len or getattr(ledger.config, "max_seq_len", None) or DEFAULT_CONTEXT
    return Volume(
        name_of(source), ledger.tokenizer, PLAIN, min(made_for, context or made_for), _nbytes(ledger, held["dtype"]),
        lambda: realise(ledger, **held).eval(), folder=ledger.checkpoint.folder, embedder=embedder,
    )  # fmt: skip


def _writes(ledger: Ledger) -> bool:
    """Whether it writes text: a decoder or an encoder-decoder."""
    model = on_meta(ledger.config)
    return hasattr(model, "new_cache") or hasattr(model, "conditioned")


def name_of(source: str) -> str:
    """What clients call a model: the last part of where it lies, without a file's ending."""
    return source.rstrip("/").rpartition("/")[2].removesuffix(".gguf") or source


def machine_bytes(device: str) -> int | None:
    """What weights may take of a device's memory; None where nobody says."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0] * SHARE)
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * SHARE)
    except (ValueError, OSError, AttributeError):
        return None


def _nbytes(ledger: Ledger, dtype: str | None) -> int:
    """Bytes of weights once they are loaded, about."""
    return ledger.nbytes if dtype is None else ledger.num_parameters * int(ITEM_BYTES.get(str(dtype), 4))
