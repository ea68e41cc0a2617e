"""What both kinds of source come to, and the steps they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from zoo.errors import CheckpointError, clean
from zoo.text.limits import Limits


@dataclass(frozen=True)
class TokenizerSource:
    """A tokenizer as read: the `tokenizers` object, special tokens by role, chat templates by name, what to tell."""

    backend: Backend
    file: object
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    template_files: Mapping[str, object] = field(default_factory=dict)  # where each lies, if not in `file`


def frame(backend: Backend, bos: str | None, eos: str | None) -> None:
    """Let every encoded text begin with `bos` and end with `eos`, where they are given."""
    specials = []
    for name, token in (("BOS", bos), ("EOS", eos)):
        if token is not None:  # under a name of our own: the token itself may hold characters that mean something here
            specials.append({"id": name, "ids": [backend.token_to_id(token)], "tokens": [token]})
    single = ["BOS:0"] * (bos is not None) + ["$A:0"] + ["EOS:0"] * (eos is not None)
    backend.post_processor = TemplateProcessing(single=single, pair=[*single, "$B:1"], special_tokens=specials)


def check_known(backend: Backend, tokens: Mapping[str, str], file: object) -> None:
    """Raise CheckpointError for a special token that the vocabulary lacks: a new id would be beyond the model's."""
    for role, token in tokens.items():
        if backend.token_to_id(token) is None:
            raise CheckpointError(file, role, f"{clean(token)!r} is not in the vocabulary")
