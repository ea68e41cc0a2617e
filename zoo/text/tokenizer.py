"""A tokenizer as a checkpoint brings it: tokenizer.json, an older file, or the vocabulary inside a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, UsageError, clean
from zoo.text.bounds.limits import Encoded, encode, guarded, within_rows
from zoo.text.chat.formats import ChatFormat, Token, text_of
from zoo.text.chat.template import ChatTemplate
from zoo.text.reading.folder import read_folder
from zoo.text.reading.gguf import read_gguf
from zoo.text.reading.source import TokenizerSource
from zoo.text.streaming import TextStream
from zoo.text.tokens.parts import added_bytes
from zoo.text.tokens.veil import unveiled, veiled


class Tokenizer:
    """Text to token ids and back, and conversations to prompts."""

    def __init__(self, source: TokenizerSource) -> None:
        self.backend: Backend = source.backend
        self.special_tokens = dict(source.special_tokens)  # bos_token, eos_token, ... -> how it is spelt
        self.chat_templates = dict(source.chat_templates)  # name -> jinja; the usual one is "default"
        self.file, self.kind = source.file, source.kind  # the kind of vocabulary, in words
        self._template_files, self._limits = dict(source.template_files), source.limits
        self.notes = list(source.notes)  # where the files disagree, and which one was followed; a line each
        self.num_rows: int | None = None  # of the model's embedding, where it is known: a token beyond them is refused
        self.chat_format = source.chat_format  # how the family words conversations, where no template does
        self.joins = source.joins  # whether it is known how two texts become one row
        self._compiled: dict[str, ChatTemplate] = {}
        self._plain: Backend | None = None  # the same, blind to special tokens in a text
        added = self.backend.get_added_tokens_decoder()
        hidden = (self.backend.token_to_id(veiled(token)) for token in source.hidden)
        self._hidden = frozenset(index for index in hidden if index is not None)  # which the backend does not skip
        self._specials = self._hidden | {index for index, token in added.items() if token.special}
        self._spelling = source.spelling
        self._byte_tokens = self._find_byte_tokens()
        self._lengths: tuple[dict[int, int], dict[int, int]] = {}, {}  # of tokens by themselves, for streams

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
    def is_respelt(self) -> bool:
        """Whether texts are spelt anew before the backend reads them, or special tokens hidden from it."""
        return bool(self._spelling or self._hidden)

    @property
    def has_chat(self) -> bool:
        """Whether conversations can be worded: by a template of the checkpoint's, or by the family's format."""
        return bool(self.chat_templates) or self.chat_format is not None

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
        found = self.backend.token_to_id(token)
        return self.backend.token_to_id(veiled(token)) if found is None and self._hidden else found

    def id_to_token(self, index: int) -> str | None:
        """How the vocabulary spells a token; None for an id that it does not have."""
        token = self.backend.id_to_token(index) if index >= 0 else None
        return unveiled(token) if token and self._hidden else token

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, with those that the model expects around a text unless told otherwise."""
        text = self._spelling.written(text)[0] if self._spelling and isinstance(text, str) else text
        return self._held(encode(self.backend, text, add_special_tokens, limits=self._limits, file=self.file)).ids

    def encode_with_offsets(self, text: str, add_special_tokens: bool = True) -> Encoded:
        """The same, with the characters that each token stands for."""
        written, places = self._spelling.written(text) if self._spelling and isinstance(text, str) else (text, None)
        options: dict[str, Any] = {"limits": self._limits, "file": self.file, "with_offsets": True}
        found = self._held(encode(self.backend, written, add_special_tokens, **options))
        if places is None:
            return found
        offsets = [(places[begin], places[end]) for begin, end in found.offsets]
        return Encoded(found.ids, offsets, found.special_tokens_mask)

    def _held(self, found: Encoded) -> Encoded:
        return found if self.num_rows is None else within_rows(found, self.num_rows, self.id_to_token)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of `ids`. Ids beyond the vocabulary, which padded models have, say nothing."""
        if wrong := next((token for token in ids if not 0 <= token < 1 << 32), None):
            raise UsageError(f"{wrong} is not a token id")
        told = [token for token in ids if token not in self._hidden] if skip_special_tokens else list(ids)
        with guarded(self.file, "decoder", f"cannot decode {len(ids):,} tokens"):
            text = self.backend.decode(told, skip_special_tokens=skip_special_tokens)
        text = unveiled(text) if self._hidden else text
        return self._spelling.read(text) if self._spelling else text

    def bytes_of(self, token: int, skip_special_tokens: bool = True) -> bytes:
        """What a token adds to a text, not at its beginning: as bytes, since it may be a part of a character."""
        spelt = self.id_to_token(token) or ""
        if token in self._byte_tokens:
            return bytes.fromhex(spelt[3:5])
        once = self.decode([token], skip_special_tokens)
        return once.encode() if token in self._specials else added_bytes(once, self.decode([token] * 2), spelt)

    def decode_stream(self, context: Sequence[int] = (), skip_special_tokens: bool = True) -> TextStream:
        """A stream for tokens that follow `context`: push them one by one and get text that never changes."""
        return TextStream(
            lambda ids: self.decode(ids, skip_special_tokens),
            context,
            byte_tokens=self._byte_tokens,
            silent_tokens=self._specials if skip_special_tokens else (),
            lengths=self._lengths[skip_special_tokens],
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
        if format := self._format(template, tools):
            return "".join(format.parts(messages))
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
        """Token ids of `render_chat`; nothing is added around them, for the template spells its special tokens.

        By a family's format, what stands in a message is never read as a special token.
        """
        if format := self._format(template, tools):
            return [index for part in format.parts(messages) for index in self._encode_part(part, format)]
        text = self.render_chat(
            messages, add_generation_prompt=add_generation_prompt, tools=tools, variables=variables, template=template
        )
        return self.encode(text, add_special_tokens=False)

    def encode_answer(self, message: Mapping[str, Any]) -> list[int] | None:
        """Token ids of what the assistant writes behind `encode_chat`, and of its end, by a family's format.

        What stands in the message is never read as a special token. None where a template words conversations.
        """
        if (format := self._format("default", None)) is None:
            return None
        parts = [*format.answer(text_of(message)), *map(Token, format.ends[:1])]
        return [index for part in parts for index in self._encode_part(part, format)]

    def _format(self, template: str, tools: Any) -> ChatFormat | None:
        """The family's format, where it is what words a conversation."""
        return None if template != "default" or self.chat_templates or tools else self.chat_format

    def _encode_part(self, part: str, format: ChatFormat) -> list[int]:
        """Ids of a part of a conversation: a special token, or a text in which none is looked for."""
        if isinstance(part, Token):
            if (index := self.token_to_id(part)) is None:
                raise CheckpointError(self.file, "", f"has no {clean(part)!r}, which {format.name} needs")
            return [index]
        if self._plain is None:
            self._plain = Backend.from_str(self.backend.to_str())
            self._plain.encode_special_tokens = True
        text = self._spelling.written(part)[0] if self._spelling else part
        return encode(self._plain, text, False, limits=self._limits, file=self.file).ids

    def _find_byte_tokens(self) -> frozenset[int]:
        """Tokens <0x00> to <0xFF>, where the decoder reads them as bytes."""
        decoder = self.backend.decoder
        if decoder is None or b"ByteFallback" not in bytes(decoder.__getstate__()):
            return frozenset()
        found = (self.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(index for index in found if index is not None)
