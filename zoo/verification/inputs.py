"""What both sides read: texts through the source's own tokenizer, or tokens drawn from a seed.

Shapes: B batch, T tokens, C channels, H pixels along a side.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import zoo
from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.inspection import Ledger
from zoo.errors import UsageError, ZooError
from zoo.models.trial import drawn_pixels, drawn_tokens, field, outputs, wanted

ROWS = 2
LENGTH = 61  # tokens of each text; a prime, so that no number of heads is taken for it
LONGEST = 1024  # a window up to half of this is read beyond
SAMPLE = Path(zoo.__file__).parent / "box" / "sample.txt"
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

    @property
    def has_rows(self) -> bool:
        """Whether each row can go by itself: patches of all images are one run, whatever text they are of."""
        return not self.given.keys() & {"grid", "shapes"}

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
    names = wanted(model)
    if odd := [name for name in names if name not in ("tokens", "decoder_tokens", "pixels")]:
        raise UsageError(f"{config.family} needs {', '.join(odd)}, and zoo verify cannot make such inputs")
    given, said = {}, []
    if "tokens" in names:
        length = length or _length(config)
        texts = _texts(config, ledger, length)
        rows, kind = (drawn_tokens(config, 2 * ROWS, length), "drawn") if texts is None else (texts, "bundled")
        is_choosing = getattr(config, "head", None) == "multiple_choice"  # reads several texts a question
        count = 1 if getattr(model, "is_of_one_row", False) else ROWS
        given["tokens"] = rows.unflatten(0, (ROWS, 2)) if is_choosing else rows[:count]
        if "decoder_tokens" in names:
            given["decoder_tokens"] = rows.flip(0)[:ROWS, : max(rows.shape[1] // 2, 1)]
        said.append(f"{count} {kind} texts, {given['tokens'].numel()} tokens")
        for name, words in (("sliding_window", "the window"), ("chunk_size", "the chunks")):
            if (size := field(config, name)) and size >= length:
                said.append(f"too short for {words} of {size}")
    if "pixels" in names:
        given["pixels"] = drawn_pixels(config, ROWS, seed=1)
        said.append(f"{ROWS} drawn images")
    elif "pixels" in inspect.signature(model.forward).parameters:
        said.append("no images: the vision tower is not compared")
    return Inputs(given, "; ".join(said))


def _length(config: ModelConfig) -> int:
    """Tokens of a text: beyond a window or chunk that can be reached, within what the model was trained for."""
    window = field(config, "sliding_window") or field(config, "chunk_size")
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
