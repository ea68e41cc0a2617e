"""What lies beside the weights: the tokenizer, and how texts are to be generated."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo.files.json_file import read_json

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger
    from zoo.generation import GenerationConfig
    from zoo.text import Tokenizer


class Accompanied:
    """What a ledger knows of the files beside the weights, read when it is first asked for."""

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises CheckpointError where there is none, or none that is read."""
        ledger: Any = self
        return read_tokenizer(ledger)

    def settings(self, *, ignore: bool = False) -> tuple[GenerationConfig, list[str]]:
        """How texts are to be generated, and what is to be told of it: see `read_settings`."""
        ledger: Any = self
        return read_settings(ledger, ignore=ignore)


def read_tokenizer(ledger: Ledger) -> Tokenizer:
    """The tokenizer of a folder or a GGUF file. Raises CheckpointError where there is none, or none that is read."""
    from zoo.text import Tokenizer

    checkpoint = ledger.checkpoint
    if checkpoint.dialect == "gguf":
        tokenizer = Tokenizer.from_gguf(checkpoint.metadata(), checkpoint.files[0])
    else:
        tokenizer = Tokenizer.from_folder(checkpoint.folder)
    parts = (getattr(ledger.config, part, None) for part in ("text", "trunk"))  # towers; a decoder under another head
    rows = next((n for c in (ledger.config, *parts) if (n := getattr(c, "vocab_size", None)) is not None), None)
    if isinstance(rows, int):
        tokenizer.num_rows = rows
        tokenizer.notes += _unlike(tokenizer.vocab_size, rows)
    return tokenizer


def _unlike(tokens: int, rows: int) -> list[str]:
    """What to say of a tokenizer and a model of different sizes; models are padded, by an eighth at most."""
    if tokens > rows:
        return [f"it has {tokens:,} tokens and the model {rows:,}: the last ids have no embedding"]
    if 8 * tokens < 7 * rows:
        return [f"it has {tokens:,} tokens and the model {rows:,}: is it the one that the weights were trained with?"]
    return []


def read_settings(ledger: Ledger, *, ignore: bool = False) -> tuple[GenerationConfig, list[str]]:
    """What generation_config.json sets, or config.json where there is no such file, and what is to be told of it.

    Raises CheckpointError for settings that zoo does not know, unless they are to `ignore`.
    """
    from zoo.generation import GenerationConfig, config_from_hf, settings_in  # torch

    checkpoint = ledger.checkpoint
    if checkpoint.dialect in ("meta", "gguf"):
        return GenerationConfig(), []
    file = checkpoint.folder / "generation_config.json"
    if not file.is_file():
        return config_from_hf(settings_in(checkpoint.config), checkpoint.config_file, ignore=ignore)
    raw = read_json(file)
    config, notes = config_from_hf(raw, file, ignore=ignore)
    if config.eos_token_id is None:  # transformers asks the file alone, where there is one
        config, ends = config.updated(eos_token_id=[]), getattr(ledger.config, "eos_token_id", None)
        if ends:
            told = (
                f"eos_token_id is not given: texts end by their length, as in transformers, not at config.json's {ends}"
            )
            notes = [*notes, told]
    return config, notes
