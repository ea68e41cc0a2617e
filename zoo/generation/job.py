"""One call of `generate` or `stream`: the model as it reads, the rows in the making, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError, clean
from zoo.generation.compilation import compiled
from zoo.generation.config import GenerationConfig
from zoo.generation.decoding.beams import beam_search
from zoo.generation.decoding.caching import InSmallCaches
from zoo.generation.decoding.guidance import Guidance
from zoo.generation.decoding.loop import decode
from zoo.generation.decoding.sampling import Sampler, generators
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.decoding.threads import InOneThread, small_size
from zoo.generation.form import Form, form_of
from zoo.generation.prompts import Batch, Prompts, batch_of, has_text
from zoo.generation.protocols import Draft, LanguageModel, TokenizerLike, device_of
from zoo.generation.result import Generation
from zoo.generation.speculation.choice import draft_of
from zoo.generation.speculation.guess import MOST
from zoo.generation.speculation.judge import Judge
from zoo.generation.speculation.loop import decode_drafted
from zoo.generation.speculation.report import DraftReport


@dataclass(frozen=True)
class GenerationJob:
    """What is needed to make the rows of one call."""

    model: LanguageModel  # of an encoder-decoder its decoder, which has read the sources
    batch: Batch
    sources: list[list[int]]  # what an encoder read; the prompts of a decoder
    rows: list[GrowingRow]  # several of a prompt in a row where several were asked for
    config: GenerationConfig
    eos: frozenset[int]
    tokenizer: TokenizerLike | None
    form: Form | None
    draft: Draft | None = None
    report: DraftReport = field(default_factory=DraftReport)

    def steps(self, *, number: int = 0) -> Iterator[Iterable[Tensor]]:
        """Push tokens into the rows until they are finished; gives of each pass the raw logits [n, V] of each row.

        `number` is the first row's among those of a call, by which it draws.
        """
        is_checked = not self.config.remove_invalid_values
        if self.draft is not None:
            return decode_drafted(
                self.model, self.batch, self._judges(), self.draft, num_tokens=self._num_draft_tokens,
                report=self.report, is_checked=is_checked,
            )  # fmt: skip
        sampler = Sampler(
            self.config, self.rows, sorted(self.eos), device_of(self.model), sources=self.sources,
            first=self._guidance(), form=self.form, number=number,
        )  # fmt: skip
        return decode(self.model, self.batch, self.rows, sampler, is_checked=is_checked)

    @property
    def _num_draft_tokens(self) -> int | None:
        """What the draft says of itself goes before the settings; a stranger's says as much as it may."""
        own = getattr(self.draft, "num_tokens", MOST)
        return self.config.num_draft_tokens if own is None else own

    def _guidance(self) -> list[Guidance]:
        scale = self.config.guidance_scale
        return [] if scale in (None, 1) else [Guidance(self.model, scale)]

    def _judges(self) -> list[Judge]:
        """One for each row."""
        drawing = [None] * len(self.rows) if self.config.is_greedy else generators(self.config.seed, len(self.rows))
        each = len(self.rows) // len(self.sources)
        return [
            Judge(
                self.config, row, generator, eos=sorted(self.eos), source=self.sources[number // each],
                device=self.batch.tokens.device, first=self._guidance(), form=copy(self.form),
                unguessed=getattr(self.model, "markers", frozenset()),
            )
            for number, (row, generator) in enumerate(zip(self.rows, drawing, strict=True))
        ]  # fmt: skip

    def search(self) -> list[float]:
        """Fill the rows by beam search; gives their scores."""
        count = self.config.num_return_sequences
        limits = [row.limit for row in self.rows[::count]]
        found = beam_search(
            self.model,
            self.batch,
            self.config,
            eos=self.eos,
            limits=limits,
            sources=self.sources,
            form=self.form,
            tokenizer=self.tokenizer,
        )
        hypotheses = [hypothesis for of_prompt in found for hypothesis in of_prompt]
        for row, hypothesis in zip(self.rows, hypotheses, strict=True):
            for token in hypothesis.tokens:
                row.push(token)
        return [hypothesis.score for hypothesis in hypotheses]

    def refuse_with_beams(self, **is_asked: bool) -> None:
        """Raise UsageError for what does not go with a beam search."""
        scale = self.config.guidance_scale
        is_asked = {**is_asked, "draft": self.draft is not None, "guidance_scale": scale not in (None, 1)}
        if wrong := [name for name, asked in is_asked.items() if asked]:
            raise UsageError(
                f"{wrong[0]} cannot be used with num_beams={self.config.num_beams}", hint="set num_beams=1"
            )

    def result(self, *, scores: list[float] | None = None, logits: Sequence[Iterable[Tensor]] = ()) -> Generation:
        """What the rows became. Raises ZooError for a text that is not of the form that was asked for."""
        texts = [row.take() for row in self.rows] if self.tokenizer else None
        for row, text in zip(self.rows, texts or [], strict=False):
            if self.form:
                self.form.check(row.tokens, text)
        by_row = zip(*logits, strict=True) if logits else ()
        return Generation(
            prompts=[row.prompt for row in self.rows],
            new_tokens=[row.tokens for row in self.rows],
            finish_reasons=[row.finish_reason or "length" for row in self.rows],
            texts=texts,
            scores=scores,
            logits=[torch.cat(steps)[: len(row.tokens)] for row, steps in zip(self.rows, by_row, strict=False)] or None,
            draft=self.report if self.draft is not None else None,
            compile_seconds=getattr(self.model, "seconds", None),
        )


def open_job(
    model: LanguageModel,
    prompts: Prompts,
    config: GenerationConfig,
    *,
    tokenizer: TokenizerLike | None = None,
    mask: Tensor | None = None,
    inputs: Mapping[str, Any] | None = None,
    draft: Draft | LanguageModel | str | None = None,
    compile: bool | str = False,
    needs_text: bool = False,
) -> GenerationJob:
    """Read what a caller hands over. Raises UsageError for what cannot be."""
    _check_model(model)
    if tokenizer is None and (needs_text or config.stop or config.is_constrained or has_text(prompts)):
        tokenizer = _tokenizer_of(model)
    if config.stop and tokenizer is None:
        raise UsageError("stop is text and needs a tokenizer", hint="give tokenizer=")
    vocab_size, device = getattr(model.config, "vocab_size", None), device_of(model)
    batch = batch_of(prompts, tokenizer=tokenizer, attention_mask=mask, vocab_size=vocab_size, device=device)
    batch = replace(batch, inputs=inputs or {}, chunk=config.prefill_chunk)
    reader, begun = _begun(model, batch, config)
    if compile and config.cache is not None:
        why = "a compiled step takes caches of plain tensors only"
        raise UsageError(f"compile=True and cache={config.cache} do not go together", why=why, hint="leave one out")
    reader = reader if config.cache is None else InSmallCaches(reader)
    if compile and draft is not None:
        raise UsageError("compile=True and a draft do not go together: what is compiled is a step of one token")
    if compile:
        reader = compiled(reader, model, compile)
    elif size := small_size(model):
        reader = InOneThread(reader, size)
    eos = _eos(model, config)
    most = getattr(model.config, "max_seq_len", None)
    count = config.num_return_sequences
    rows = [
        GrowingRow(
            prompt, limit=config.num_new(len(prompt), most), eos=eos, stop=config.stop,
            text=tokenizer.decode_stream(prompt) if tokenizer else None,
        )
        for prompt in begun.rows for _ in range(count)
    ]  # fmt: skip
    form = form_of(config, tokenizer, eos, vocab_size)
    guessing = draft_of(draft, model, batch, config)
    return GenerationJob(reader, begun, batch.rows, rows, config, eos, tokenizer, form, guessing)


def _check_model(model: Any) -> None:
    if isinstance(model, str):
        raise UsageError(f"{clean(model)!r} is a name, not a model", hint=f"zoo.load({clean(model)!r}) loads it")
    if device_of(model).type == "meta":
        raise UsageError("the model is on meta and has no weights", hint="build or load it with device='cpu'")
    if not hasattr(model, "new_cache") and not hasattr(model, "conditioned"):
        name = getattr(getattr(model, "config", None), "family_in_words", type(model).__name__)
        raise UsageError(f"a {name} does not generate text", hint="decoders and encoder-decoders do")


def _tokenizer_of(model: Any) -> TokenizerLike | None:
    """The tokenizer that a model brings which was loaded."""
    ledger = getattr(model, "ledger", None)
    return None if ledger is None else ledger.tokenizer


def _begun(model: Any, batch: Batch, config: GenerationConfig) -> tuple[LanguageModel, Batch]:
    """The model and batch as they are, or an encoder-decoder that has read the batch, and the beginnings of texts."""
    if not hasattr(model, "conditioned"):
        return model, batch
    if config.guidance_scale not in (None, 1):
        raise UsageError(f"guidance_scale={config.guidance_scale} works only with decoders")
    own = getattr(model.config, "decoder_start_token_id", None)
    start = own if config.decoder_start_token_id is None else config.decoder_start_token_id
    if start is None:
        raise UsageError(
            f"{model.config.family_in_words} has no decoder_start_token_id, the token that its texts start with"
        )
    with torch.inference_mode():
        reader = model.conditioned(batch.tokens, batch.mask)
    return reader, batch_of([[start]] * len(batch.rows), device=batch.tokens.device)


def _eos(model: LanguageModel, config: GenerationConfig) -> frozenset[int]:
    known = config.eos_token_id if config.eos_token_id is not None else getattr(model.config, "eos_token_id", None)
    return frozenset([known] if isinstance(known, int) else known or ())
