"""Text to token ids and back, and conversations to prompts. Imports neither torch nor transformers."""

from __future__ import annotations

from zoo.text.chat.template import ChatTemplate
from zoo.text.opening import open_tokenizer
from zoo.text.streaming import TextStream
from zoo.text.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "TextStream", "Tokenizer", "open_tokenizer"]
