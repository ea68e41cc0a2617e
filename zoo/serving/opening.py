"""From the name of a checkpoint to what a shelf holds of it: headers, tokenizer and settings, but no weights yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.loading import realise
from zoo.errors import UsageError
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
) -> Volume:
    """A model that can be loaded when it is asked for.

    Raises ZooError for a checkpoint that cannot be loaded, or that writes no text.
    """
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger.check()
    config, notes = ledger.settings(ignore=ignore_settings)
    for note in [*ledger.tokenizer.notes, *notes]:
        tell(f"note: {source}: {note}")

    def load() -> Any:
        model = realise(ledger, dtype=dtype, device=device, quantize=quantize, keep_packed=keep_packed)
        return _writing(model, source, ledger)

    made_for = getattr(ledger.config, "max_seq_len", None) or DEFAULT_CONTEXT
    return Volume(
        name_of(source), ledger.tokenizer, config.replaced(**settings or {}), min(made_for, context or made_for),
        _nbytes(ledger, dtype), load,
        folder=ledger.checkpoint.folder, sees=bool(ledger.family.pictures),
    )  # fmt: skip


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


def _writing(model: Any, source: str, ledger: Ledger) -> Any:
    if not (hasattr(model, "new_cache") or hasattr(model, "conditioned")):
        raise UsageError(f"{source} is a {ledger.family.name}, which does not generate text")
    return model.eval()


def _nbytes(ledger: Ledger, dtype: str | None) -> int:
    """Bytes of weights once they are loaded, about."""
    return ledger.nbytes if dtype is None else ledger.num_parameters * int(ITEM_BYTES.get(str(dtype), 4))
