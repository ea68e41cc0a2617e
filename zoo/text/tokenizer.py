"""A tokenizer as a checkpoint brings it: tokenizer.json, or the vocabulary inside a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer as Backend

from zoo.errors import UsageError, clean
from zoo.text.chat import ChatTemplate
from zoo.text.folder import read_folder
from zoo.text.gguf import read_gguf
from zoo.text.limits import Encoded, encode, guarded
from zoo.text.source import TokenizerSource
from zoo.text.streaming import TextStream


class Tokenizer:
    """Text to token ids and back, and conversations to prompts."""

    def __init__(self, source: TokenizerSource) -> None:
        self.backend: Backend = source.backend
        self.special_tokens = dict(source.special_tokens)  # bos_token, eos_token, ... -> how it is spelt
        self.chat_templates = dict(source.chat_templates)  # name -> jinja; the usual one is "default"
        self.file = source.file
        self._template_files, self._limits = dict(source.template_files), source.limits
        self.notes = list(source.notes)  # where the files disagree, and which one was followed; a line each
        self._compiled: dict[str, ChatTemplate] = {}
        added = self.backend.get_added_tokens_decoder()
        self._specials = frozenset(index for index, token in added.items() if token.special)
        self._byte_tokens = self._find_byte_tokens()

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """The tokenizer of a Hugging Face folder. Raises CheckpointError, with the file, where it cannot be read."""
        return cls(read_folder(Path(folder)))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], file: object = "GGUF metadata") -> Self:
        """The tokenizer that GGUF metadata describes. Raises CheckpointError, with the key, where it is unknown."""
        return cls(read_gguf(metadata, file))

    @property
    def vocab_size(self) -> int:
        """Tokens, added ones included. A model's vocabulary may be padded to more."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @property
    def bos_token_id(self) -> int | None:
        """Token that begins a text."""
        return self.token_to_id(self.special_tokens.get("bos_token", ""))

    @property
    def eos_token_id(self) -> int | None:
        """Token that ends a text; a model may have more of them, in its config."""
        return self.token_to_id(self.special_tokens.get("eos_token", ""))

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it."""
        return self.backend.token_to_id(token)

    def id_to_token(self, index: int) -> str | None:
        """How the vocabulary spells a token; None for an id that it does not have."""
        return self.backend.id_to_token(index) if index >= 0 else None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, with those that the model expects around a text unless told otherwise."""
        return encode(self.backend, text, add_special_tokens, limits=self._limits, file=self.file).ids

    def encode_with_offsets(self, text: str, add_special_tokens: bool = True) -> Encoded:
        """The same, with the characters that each token stands for."""
        limits = self._limits
        return encode(self.backend, text, add_special_tokens, limits=limits, file=self.file, with_offsets=True)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of `ids`. Ids beyond the vocabulary, which padded models have, say nothing."""
        if wrong := next((token for token in ids if not 0 <= token < 1 << 32), None):
            raise UsageError(f"{wrong} is not a token id")
        with guarded(self.file, "decoder", f"cannot decode {len(ids):,} tokens"):
            return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def decode_stream(self, context: Sequence[int] = (), skip_special_tokens: bool = True) -> TextStream:
        """A stream for tokens that follow `context`: push them one by one and get text that never changes."""
        return TextStream(
            lambda ids: self.decode(ids, skip_special_tokens),
            context,
            byte_tokens=self._byte_tokens,
            silent_tokens=self._specials if skip_special_tokens else (),
        )

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        template: str = "default",
    ) -> str:
        """The prompt for a conversation, as the checkpoint's chat template words it.

        `variables` go to the template beside the special tokens. Raises UsageError where there is no template or it
        refuses the messages, and CheckpointError where the template is broken.
        """
        if template not in self.chat_templates:
            known = ", ".join(map(clean, self.chat_templates)) or "none"
            raise UsageError(f"{self.file} has no chat template {template!r}; it has: {known}")
        if template not in self._compiled:
            self._compiled[template] = ChatTemplate(
                self.chat_templates[template], file=self._template_files.get(template, self.file)
            )
        return self._compiled[template].render(
            messages,
            add_generation_prompt=add_generation_prompt,
            tools=tools,
            variables={**self.special_tokens, **(variables or {})},
        )

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        template: str = "default",
    ) -> list[int]:
        """Token ids of `render_chat`; nothing is added around them, for the template spells its special tokens."""
        text = self.render_chat(
            messages, add_generation_prompt=add_generation_prompt, tools=tools, variables=variables, template=template
        )
        return self.encode(text, add_special_tokens=False)

    def _find_byte_tokens(self) -> frozenset[int]:
        """Tokens <0x00> to <0xFF>, where the decoder reads them as bytes."""
        decoder = self.backend.decoder
        if decoder is None or b"ByteFallback" not in bytes(decoder.__getstate__()):
            return frozenset()
        found = (self.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(index for index in found if index is not None)
