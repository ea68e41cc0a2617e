"""A source opened to be measured: its ledger, its tokenizer, and its model when its turn comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checkpoint.adapted import fit_of
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.errors import UsageError
from zoo.text import Tokenizer

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

    from zoo.generation import GenerationConfig


@dataclass
class OpenedSource:
    """One source; nothing but headers and the tokenizer is read until `load`."""

    source: str
    ledger: Ledger
    tokenizer: Tokenizer
    overrides: tuple[str, ...] = ()
    options: dict[str, Any] = field(
        default_factory=dict
    )  # family, allow, allow_pickle, adapter, as zoo.load takes them
    answers: bool = False  # whether it need not predict a text alone: an encoder-decoder will do
    ignore_settings: bool = False  # whether settings of generation that zoo does not know are left out
    quantize: str | None = None  # to what the matrices of the layers are rounded, unless `load` is told otherwise

    @property
    def name(self) -> str:
        """What the source is called in tables."""
        return self.source

    @property
    def vocab_size(self) -> int:
        """Rows of the model's output."""
        return int(getattr(self.ledger.config, "vocab_size", 0))

    @property
    def max_seq_len(self) -> int | None:
        """Tokens of context that the model was made for."""
        return getattr(self.ledger.config, "max_seq_len", None)

    @property
    def vocabulary(self) -> str:
        """A checksum of the tokenizer as it is, not of how its file is written."""
        told = json.dumps(json.loads(self.tokenizer.backend.to_str()), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def settings(self) -> GenerationConfig:
        """What the checkpoint says of generation."""
        return self.ledger.settings(ignore=self.ignore_settings)[0]

    def load(
        self,
        *,
        dtype: str | torch.dtype | None = None,
        device: str = "cpu",
        quantize: str | None = None,
        keep_packed: bool = False,
        mesh: DeviceMesh | None = None,
    ) -> Any:
        """The model. Raises UsageError for one that does not predict the next token of a text, or answers none."""
        from zoo.checkpoint.loading import load

        model = load(
            self.source, *self.overrides, dtype=dtype, device=device, quantize=quantize or self.quantize,
            keep_packed=keep_packed, mesh=mesh, **self.options,
        )  # fmt: skip
        return check_speaker(model, self.source) if self.answers else check_decoder(model, self.source)


def open_source(
    source: str | Path,
    *overrides: str,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    answers: bool = False,
    ignore_settings: bool = False,
    quantize: str | None = None,
    adapter: str | Path | None = None,
) -> OpenedSource:
    """Read the headers and the tokenizer of a source. Raises ZooError for what is wrong with either."""
    options: dict[str, Any] = {"family": family, "allow": tuple(allow), "allow_pickle": allow_pickle}
    ledger = inspect(source, *overrides, **options)
    ledger.check()
    check_kind(ledger, str(source), answers=answers)
    if adapter is not None:
        fit_of(ledger, adapter, allow=options["allow"], allow_pickle=allow_pickle).check()
        options["adapter"] = adapter
    return OpenedSource(str(source), ledger, ledger.tokenizer, overrides, options, answers, ignore_settings, quantize)


def check_kind(ledger: Ledger, source: str, *, answers: bool = False) -> None:
    """Raise UsageError for a family that is known to predict no next token, before anything is loaded."""
    from zoo.models.construction import on_meta

    (check_speaker if answers else check_decoder)(on_meta(ledger.config), source)


def check_speaker(model: Any, source: str) -> Any:
    """The model, if it continues texts or answers them."""
    return model if hasattr(model, "conditioned") else check_decoder(model, source)


def check_decoder(model: Any, source: str) -> Any:
    """The model, if it is one that predicts the next token of a text alone."""
    family = model.config.family
    if hasattr(model, "conditioned"):
        why = "it predicts one text from another, so it cannot continue or score a text alone"
        raise UsageError(f"{source} is a {family}, an encoder-decoder", why=why)
    if not hasattr(model, "new_cache"):
        why = "it sees the tokens on both sides of each token, or no text at all"
        if hasattr(model, "trunk"):
            why = f"it is a decoder without a head over the vocabulary: {model.config.head}"
        raise UsageError(f"{source} is a {family}, which does not predict the next token", why=why)
    return model


def main_dtype(model: Any) -> str:
    """The dtype of most of a model's weights."""
    sizes: dict[str, int] = {}
    for p in model.parameters():
        name = str(p.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + p.numel()
    return max(sizes, key=sizes.__getitem__)
