"""What both kinds of source come to, and the steps they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from zoo.errors import CheckpointError, clean
from zoo.text.bounds.limits import Limits
from zoo.text.chat.formats import ChatFormat
from zoo.text.tokens.small_letters import PlainWords
from zoo.text.tokens.spelling import Spelling


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
    kind: str = ""  # the form of the vocabulary, in words
    hidden: Collection[str] = ()  # special tokens that no text is read as
    spelling: Spelling | PlainWords | None = None  # of a text before the backend reads it
    chat_format: ChatFormat | None = None  # how its family words conversations, where no template does
    joins: bool = False  # whether the files, or the rules of their class, say how two texts become one row


def frame(backend: Backend, bos: str | None, eos: str | None) -> None:
    """Let every encoded text begin with `bos` and end with `eos`, where they are given."""
    surround(backend, [bos] if bos is not None else [], [eos] if eos is not None else [])


def surround(
    backend: Backend, before: Sequence[str], after: Sequence[str], between: Sequence[str] = (), second_type: int = 1
) -> None:
    """Let every encoded text stand between these tokens.

    Of two that are joined the second, of `second_type`, follows what is behind the first and `between` them.
    """
    specials, ends = [], []
    for side, tokens in (("BEFORE", before), ("AFTER", after), ("BETWEEN", between)):
        names = [f"{side}{i}" for i in range(len(tokens))]  # our own: a token may hold what means something here
        ends.append(names)
        specials += [
            {"id": name, "ids": [backend.token_to_id(token)], "tokens": [token]}
            for name, token in zip(names, tokens, strict=True)
        ]
    single = [f"{name}:0" for name in (*ends[0], "$A", *ends[1])]
    pair = [*single, *(f"{name}:0" for name in ends[2]), *(f"{name}:{second_type}" for name in ("$B", *ends[1]))]
    backend.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=specials)


def check_known(backend: Backend, tokens: Mapping[str, str], file: object) -> None:
    """Raise CheckpointError for a special token that the vocabulary lacks: a new id would be beyond the model's."""
    for role, token in tokens.items():
        if backend.token_to_id(token) is None:
            raise CheckpointError(file, role, f"{clean(token)!r} is not in the vocabulary")
