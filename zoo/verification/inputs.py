"""What both sides read: texts through the source's own tokenizer, or tokens drawn from a seed.

Shapes: B batch, T tokens, C channels, H pixels along a side.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo.config import ModelConfig
from zoo.errors import UsageError, ZooError
from zoo.inspection import Ledger

ROWS = 2
LENGTH = 61  # tokens of each text; a prime, so that no number of heads is taken for it
LONGEST = 1024  # a window up to half of this is read beyond
SAMPLE = Path(zoo.__file__).parent / "models" / "sample.txt"
STARTS = (0, 20_000)  # characters of the sample at which the texts begin


@dataclass(frozen=True)
class Inputs:
    """Tensors by the names of our models' parameters, and what they are, in words."""

    given: dict[str, Tensor]
    what: str

    def run(self, model: nn.Module) -> dict[str, Tensor]:
        """What a model of zoo makes of them, by name."""
        dtype = next(model.parameters()).dtype
        given = {name: x.to(dtype) if x.is_floating_point() else x for name, x in self.given.items()}
        return outputs(model(**given))

    def rows(self) -> list[Inputs]:
        """Each row by itself."""
        count = len(next(iter(self.given.values())))
        return [Inputs({name: x[i : i + 1] for name, x in self.given.items()}, self.what) for i in range(count)]


def inputs_for(model: nn.Module, ledger: Ledger | None = None, *, length: int | None = None) -> Inputs:
    """Texts, sources of texts or images for a model, by what its `forward` cannot do without.

    Texts have `length` tokens; None: as many as show a window that is not too far, and no more than the context.

    Raises UsageError for a model that wants something else.
    """
    config = model.config
    assert isinstance(config, ModelConfig)
    names = _wanted(model)
    if odd := [name for name in names if name not in ("tokens", "decoder_tokens", "pixels")]:
        raise UsageError(f"{config.family} wants {', '.join(odd)}, which zoo verify does not know how to make")
    given, said = {}, []
    if "tokens" in names:
        length = length or _length(config)
        texts = _texts(config, ledger, length)
        rows, kind = (_drawn(config, 2 * ROWS, length), "drawn") if texts is None else (texts, "bundled")
        given["tokens"] = rows[:ROWS]
        if "decoder_tokens" in names:
            given["decoder_tokens"] = rows.flip(0)[:ROWS, : max(rows.shape[1] // 2, 1)]
        said.append(f"{ROWS} {kind} texts, {given['tokens'].numel()} tokens")
        if (window := field(config, "sliding_window")) and window >= length:
            said.append(f"too short for the window of {window}")
    if "pixels" in names:
        given["pixels"] = _pixels(config)
        said.append(f"{ROWS} drawn images")
    elif "pixels" in inspect.signature(model.forward).parameters:
        said.append("no images: the tower is not compared")
    return Inputs(given, "; ".join(said))


def outputs(found: Any) -> dict[str, Tensor]:
    """The tensors in what a model returns: the logits, or the fields of a record."""
    if isinstance(found, Tensor):
        return {"logits": found}
    return {n: x for n, x in vars(found).items() if isinstance(x, Tensor) and x.is_floating_point()}


def field(config: object, name: str) -> Any:
    """A field of a config, or of a record in it that has one of that name; None where neither has."""
    records = [value for value in vars(config).values() if is_dataclass(value) and not isinstance(value, type)]
    return next(filter(None, (getattr(config, name, None), *(field(record, name) for record in records))), None)


def _wanted(model: nn.Module) -> tuple[str, ...]:
    """The parameters of `forward` without a default; of a model that insists on nothing, tokens and pixels."""
    parameters = inspect.signature(model.forward).parameters.values()
    needed = tuple(p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD)
    if needed:
        return needed
    towers = {"tokens": "text", "pixels": "vision"}
    named = (p.name for p in parameters if p.name in towers)
    return tuple(name for name in named if getattr(model.config, towers[name], True) is not None)


def _length(config: ModelConfig) -> int:
    """Tokens of a text: beyond a window that can be reached, within what the model was trained for."""
    window = field(config, "sliding_window")
    wanted = 2 * window + 3 if isinstance(window, int) and 2 * window + 3 <= LONGEST else 0
    limits = [n for name in ("max_seq_len", "trained_seq_len") if (n := field(config, name))]
    return min(max(LENGTH, wanted), *limits) if limits else max(LENGTH, wanted)


def _texts(config: ModelConfig, ledger: Ledger | None, length: int) -> Tensor | None:
    """Rows of the bundled text as the source's tokenizer cuts it; None where it has none that fits."""
    if ledger is None:
        return None
    from zoo.text import Tokenizer

    checkpoint, vocab = ledger.checkpoint, field(config, "vocab_size")
    try:
        if checkpoint.dialect == "gguf":
            tokenizer = Tokenizer.from_gguf(checkpoint.metadata(), checkpoint.files[0])
        else:
            tokenizer = Tokenizer.from_folder(checkpoint.folder)
    except ZooError:
        return None
    text = SAMPLE.read_text(encoding="utf-8")
    rows = [tokenizer.encode(text[at : at + 8 * length])[:length] for at in STARTS]
    if any(len(row) < length or max(row) >= vocab for row in rows):
        return None
    return torch.tensor(rows + rows[::-1])


def _drawn(config: ModelConfig, rows: int, length: int) -> Tensor:
    """Tokens that mean nothing in particular to the config."""
    special = set(_special(config))
    plain = torch.tensor([t for t in range(min(field(config, "vocab_size") or 2, 32_000)) if t not in special])
    drawn = torch.randint(len(plain), (rows, length), generator=torch.Generator().manual_seed(0))
    return plain[drawn]


def _special(config: object) -> Iterator[int]:
    for name, value in vars(config).items():
        if "token_id" in name:
            yield from value if isinstance(value, list) else [value]
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _special(value)


def _pixels(config: ModelConfig) -> Tensor:
    side, channels = field(config, "image_size") or 8, field(config, "num_channels") or 3
    return torch.randn(ROWS, channels, side, side, generator=torch.Generator().manual_seed(1))
