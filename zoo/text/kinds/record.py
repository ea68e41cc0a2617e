"""What a reader of one kind of files comes to: a tree as in tokenizer.json, and what such a file cannot say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.regular import read_bounded
from zoo.text.files import TOKENIZER_BYTES, read_json
from zoo.text.tokens.small_letters import PlainWords
from zoo.text.tokens.special import roles_in
from zoo.text.tokens.spelling import Spelling


@dataclass(frozen=True)
class Found:
    """The vocabulary of a folder without tokenizer.json."""

    file: Path  # what messages name
    kind: str  # in words
    tree: Mapping[str, Any]  # the sections of a tokenizer.json
    roles: Mapping[str, str] = field(default_factory=dict)  # special tokens that the files need not name
    before: tuple[str, ...] = ()  # roles or tokens that stand before every text,
    after: tuple[str, ...] = ()  # and after it
    between: tuple[str, ...] | None = None  # and between two that are joined, behind the first's; None: not known
    second_type: int = 0  # token type of the second of two
    added: Mapping[int, str] = field(default_factory=dict)  # special tokens beyond the vocabulary
    hidden: tuple[str, ...] = ()  # tokens that no text is read as, whatever it says
    obeys: bool = False  # whether add_bos_token and add_eos_token of tokenizer_config.json decide
    notes: list[str] = field(default_factory=list)
    chat: str = ""  # the name in zoo.text.chat.formats of how its family words conversations
    spelling: Spelling | PlainWords | None = None  # of what a text is written with before it is read
    wrap: Callable[[Any], Any] | None = None  # what stands around the library's object, where ids are not its own


@dataclass(frozen=True)
class Folder:
    """A folder's own words about its tokenizer."""

    path: Path
    config: Mapping[str, Any]  # tokenizer_config.json
    model: Mapping[str, Any]  # config.json

    @classmethod
    def of(cls, path: Path) -> Folder:
        return cls(path, read_json(path / "tokenizer_config.json"), read_json(path / "config.json"))

    @property
    def tokenizer_class(self) -> str:
        """The class that the files name, in its plain form; empty where none does."""
        for words in (self.config, self.model):
            if isinstance(name := words.get("tokenizer_class"), str):
                plain = name.removesuffix("Fast")
                return "" if plain in ("PreTrainedTokenizer", "TokenizersBackend", "SentencePieceBackend") else plain
        return ""

    @property
    def model_type(self) -> str:
        """What config.json calls the model; empty where there is none."""
        return str(self.model.get("model_type", ""))

    @property
    def special(self) -> dict[str, str]:
        """Special tokens by role, as special_tokens_map.json and tokenizer_config.json name them."""
        map_file = self.path / "special_tokens_map.json"
        return roles_in(read_json(map_file), map_file) | roles_in(self.config, self.path / "tokenizer_config.json")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).exists()

    def flag(self, name: str, default: bool) -> bool:
        """A switch of tokenizer_config.json."""
        value = self.config.get(name)
        if value is not None and not isinstance(value, bool):
            what = f"{clean(repr(value))} is not true or false"
            raise CheckpointError(self.path / "tokenizer_config.json", name, what)
        return default if value is None else value

    def hold_to(self, file: str, classes: Collection[str], types: Collection[str]) -> None:
        """Raise CheckpointError where a class is named, or else a type of model, that is none of these."""
        named = self.tokenizer_class
        if (named and named not in classes) or (not named and self.model_type and self.model_type not in types):
            raise self.refuse(file, ", ".join(classes))

    def refuse(self, file: str, known: str) -> CheckpointError:
        """What to say of a class that zoo cannot rebuild."""
        name = self.tokenizer_class or self.model_type
        what = f"is for {clean(name)}, whose rules zoo does not know" if name else "does not say whose rules it follows"
        hint = "save it with the library that it comes from as tokenizer.json"
        if not name:
            hint = "name its tokenizer_class in tokenizer_config.json"
        return CheckpointError(self.path / file, "", what, why=f"those it knows for this file: {known}", hint=hint)


def read_bytes(path: Path) -> bytes:
    """The bytes of a vocabulary file. Raises CheckpointError for a file that is none, or is too large."""
    return read_bounded(path, TOKENIZER_BYTES)
