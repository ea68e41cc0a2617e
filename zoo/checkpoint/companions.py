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
        return Tokenizer.from_gguf(checkpoint.metadata(), checkpoint.files[0])
    return Tokenizer.from_folder(checkpoint.folder)


def read_settings(ledger: Ledger) -> tuple[GenerationConfig, list[str]]:
    """What generation_config.json sets, where there is one, and what of it was assumed or left unread."""
    from zoo.generation import GenerationConfig, config_from_hf  # torch

    file = ledger.checkpoint.folder / "generation_config.json"
    if ledger.checkpoint.dialect in ("meta", "gguf") or not file.is_file():
        return GenerationConfig(), []
    return config_from_hf(read_json(file), file)
