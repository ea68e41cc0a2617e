"""What lies beside the weights: the tokenizer, and how texts are to be generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.checkpoint.inspection import Ledger
from zoo.files.json_file import read_json
from zoo.text import Tokenizer

if TYPE_CHECKING:
    from zoo.generation import GenerationConfig


def read_tokenizer(ledger: Ledger) -> Tokenizer:
    """The tokenizer of a folder or a GGUF file. Raises CheckpointError where there is none, or none that is read."""
    checkpoint = ledger.checkpoint
    if checkpoint.dialect == "gguf":
        tokenizer = Tokenizer.from_gguf(checkpoint.metadata(), checkpoint.files[0])
    else:
        tokenizer = Tokenizer.from_folder(checkpoint.folder)
    rows = getattr(ledger.config, "vocab_size", None)
    if isinstance(rows, int):
        tokenizer.notes += _unlike(tokenizer.vocab_size, rows)
    return tokenizer


def _unlike(tokens: int, rows: int) -> list[str]:
    """What to say of a tokenizer and a model of different sizes; models are padded, by an eighth at most."""
    if tokens > rows:
        return [f"it has {tokens:,} tokens and the model {rows:,}: the last ids have no embedding"]
    if 8 * tokens < 7 * rows:
        return [f"it has {tokens:,} tokens and the model {rows:,}: is it the one that the weights were trained with?"]
    return []


def read_settings(ledger: Ledger) -> tuple[GenerationConfig, list[str]]:
    """What generation_config.json sets, where there is one, and what of it was assumed or left unread."""
    from zoo.generation import GenerationConfig, config_from_hf  # torch

    file = ledger.checkpoint.folder / "generation_config.json"
    if ledger.checkpoint.dialect in ("meta", "gguf") or not file.is_file():
        return GenerationConfig(), []
    return config_from_hf(read_json(file), file)
