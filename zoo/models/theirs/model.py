"""A model of transformers behind the methods that zoo's rooms ask for.

Shapes: B batch, T new tokens, S all tokens, D hidden, V vocab.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy.builder import Anatomy
from zoo.errors import CheckpointError, UsageError
from zoo.models.theirs.config import TransformersConfig
from zoo.models.theirs.hf import answering
from zoo.models.transformers_library import built, first_line, version
from zoo.nn.places import Places

PART = "theirs."  # what stands before the names of their weights in ours
SPOKEN = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class TheirOutput:
    """What a model that continues no text gives; parts that it does not have are None."""

    hidden: Tensor | None = None  # [B, T, D]; what stands at padding has no meaning
    pooled: Tensor | None = None  # [B, D]
    logits: Tensor | None = None


class ByTransformers(nn.Module):
    """Token ids to what a class of transformers makes of them: next-token logits, or states.

    Padded rows are read one by one without their padding: not every class leaves its states alone at padding.
    """

    theirs: Any

    def __init__(self, c: TransformersConfig) -> None:
        super().__init__()
        self.config = c
        with answering(c.architecture):
            self.theirs = built(c.architecture, c.raw)
        _hold_buffers(self.theirs)
        if c.architecture.endswith(SPOKEN):
            self.new_cache = partial(TextCache, model_len=c.max_seq_len)

    def forward(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: TextCache | None = None,
        last: bool = False,
    ) -> Any:
        """Logits [B, T, V] of a language model for tokens [B, T], or [B, 1, V] of each row's last; else its record."""
        if not hasattr(self, "new_cache"):
            return self._read(tokens, attention_mask)
        num_new = tokens.shape[1]
        read, mask = (tokens, attention_mask) if cache is None else cache.with_new(tokens, attention_mask)
        logits = self._read(read, mask, use_cache=False).logits
        assert logits is not None
        logits = logits[:, -num_new:]
        if not last:
            return logits
        new = None if mask is None else mask[:, -num_new:]
        return Places(len(tokens), num_new, tokens.device, attention_mask=new).last(logits)

    def _read(self, tokens: Tensor, mask: Tensor | None, **options: Any) -> TheirOutput:
        """What the class makes of tokens [B, S]; where there is padding, of each row without it."""
        if mask is None or bool(mask.all()):
            return self._whole(tokens, **options)
        rows = [self._whole(row[real][None], **options) for row, real in zip(tokens, mask, strict=True)]
        return TheirOutput(*(_joined([vars(row)[name] for row in rows], mask) for name in vars(rows[0])))

    def _whole(self, tokens: Tensor, **options: Any) -> TheirOutput:
        """Raises CheckpointError where the class finds, as it computes, that a null of config.json is no number."""
        try:
            return _record(self.theirs(tokens, **options))
        except TypeError as error:
            nulls = sorted(key for key, value in self.config.raw.items() if value is None)
            if "NoneType" not in str(error) or not nulls:
                raise
            what = f"{self.config.architecture} of transformers needs a number where one of these is null"
            raise CheckpointError("config.json", "", f"{what}: {', '.join(nulls)} ({first_line(error)})") from None

    def keep_wide(self) -> None:
        """Hold in float32 what the class never computes with in 16 bits, as transformers does while it loads."""
        always, in_half = (getattr(self.theirs, f"_keep_in_fp32_modules{end}", None) or () for end in ("_strict", ""))
        for name, parameter in self.theirs.named_parameters():
            is_half = parameter.dtype == torch.float16
            kept = always if parameter.dtype == torch.bfloat16 else (*always, *in_half) if is_half else ()
            if any(re.search(rf"(?:^|\.){part}(?:$|\.)", name) for part in kept):
                parameter.data = parameter.data.float()

    def reset_parameters(self) -> None:
        """Random weights, as the class draws them."""
        self.theirs.init_weights()


class TextCache:
    """The text read so far, of which each pass reads all again: right for any class, and slow for a long text."""

    can_rewind, can_rewind_rows = True, False

    def __init__(self, batch_size: int, max_len: int, *, model_len: int | None = None) -> None:
        self.batch_size, self.max_len = batch_size, max_len
        self.length, self.model_len = 0, model_len
        self._tokens: Tensor | None = None  # [B, S]
        self._mask: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens."""
        return 0 if self._tokens is None else self._tokens.nbytes

    def with_new(self, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The whole text [B, S] and which of its tokens are real. Raises UsageError where it does not fit."""
        if len(tokens) != self.batch_size or self.length + tokens.shape[1] > self.max_len:
            held = f"{self.batch_size} rows of {self.max_len} tokens, {self.length} of them read"
            raise UsageError(f"the cache is for {held}; {list(tokens.shape)} do not fit")
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        if self._tokens is not None and self._mask is not None:
            tokens, mask = torch.cat((self._tokens, tokens), 1), torch.cat((self._mask, mask), 1)
        self._tokens, self._mask, self.length = tokens, mask, tokens.shape[1]
        return tokens, mask

    def reorder(self, index: Tensor) -> None:
        """Keep row index[b] as row b."""
        self.batch_size = len(index)
        if self._tokens is not None and self._mask is not None:
            self._tokens, self._mask = self._tokens[index], self._mask[index]

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` columns."""
        if self._tokens is not None and self._mask is not None:
            self._tokens, self._mask, self.length = self._tokens[:, :length], self._mask[:, :length], length

    def look_ahead(self, num_tokens: int) -> None:
        """Nothing is ever overwritten."""


def described(c: TransformersConfig) -> Anatomy:
    """The weights by name, shape and what they are for, as far as the class tells."""
    return _described(c.architecture, json.dumps(c.raw, sort_keys=True))


@lru_cache(maxsize=4)
def _described(architecture: str, raw: str) -> Anatomy:
    from zoo.models.construction import on_meta, shared_parameters

    c = TransformersConfig(architecture=architecture, raw=json.loads(raw))
    model: Any = on_meta(c)
    ends = [model.theirs.get_input_embeddings, model.theirs.get_output_embeddings]
    held = [next(iter(part.parameters()), None) if (part := _asked(end)) is not None else None for end in ends]
    a = Anatomy(is_whole=False, max_seq_len=c.max_seq_len, traits={"by": f"transformers {version()}, {c.architecture}"})
    for names, parameter in shared_parameters(model):
        role = "embedding" if parameter is held[0] else "head" if parameter is held[1] else "other"
        a.weight(names[0], tuple(parameter.shape), role, is_matmul=role != "embedding" and parameter.ndim == 2)
    return a


def _asked(end: Any) -> Any:
    """An embedding or head, of a class that has one."""
    try:
        return end()
    except (NotImplementedError, AttributeError):
        return None


def _joined(parts: list[Tensor | None], mask: Tensor) -> Tensor | None:
    """What rows gave by themselves: one vector each, or one a token, which goes where that stands."""
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    if found[0].ndim < 3:
        return torch.cat(found)
    out = found[0].new_zeros(*mask.shape, found[0].shape[-1])
    for row, part, real in zip(out, found, mask, strict=True):
        row[real] = part[0]
    return out


def _record(found: Any) -> TheirOutput:
    logits = getattr(found, "logits", None)
    return TheirOutput(getattr(found, "last_hidden_state", None), getattr(found, "pooler_output", None), logits)


def _hold_buffers(theirs: nn.Module) -> None:
    """Let what files hold and no training changes be held as weights are, to be accounted for as they are."""
    for module in theirs.modules():
        for name, buffer in [*module._buffers.items()]:
            if buffer is not None and buffer.is_floating_point() and name not in module._non_persistent_buffers_set:
                del module._buffers[name]
                module.register_parameter(name, nn.Parameter(buffer, requires_grad=False))
