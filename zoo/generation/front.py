"""The two functions that users call: `generate` for all at once, `stream` for one text piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.beams import beam_search
from zoo.generation.config import GenerationConfig
from zoo.generation.loop import decode
from zoo.generation.prompts import Batch, Prompts, batch_of
from zoo.generation.protocols import Draft, LanguageModel, TokenizerLike, device_of
from zoo.generation.result import Generation, Stream
from zoo.generation.sampling import Sampler
from zoo.generation.speculation import decode_drafted
from zoo.generation.stopping import GrowingRow

NEUTRAL = GenerationConfig()


def generate(
    model: LanguageModel,
    prompts: Prompts,
    *,
    config: GenerationConfig = NEUTRAL,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    seed: int | None = None,
    stop: Sequence[str] | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    tokenizer: TokenizerLike | None = None,
    attention_mask: Tensor | None = None,
    inputs: Mapping[str, Any] | None = None,
    draft: Draft | None = None,
    return_logits: bool = False,
) -> Generation:
    """Continue every prompt: texts, lists of token ids, or a tensor [B, T] of them with its attention_mask [B, T].

    An encoder-decoder reads the prompts as its source and writes a text of its own, from its
    `decoder_start_token_id` on, which then stands for each prompt in what is returned.
    `inputs` are further arguments of the model's first pass, as `zoo.illustrate` makes them of pictures.
    Settings given here go before those of `config`; with neither, decoding is greedy. Rows of unequal length give
    what each gives alone. The model is used in the mode it is in: call `model.eval()` if it has dropout.
    Raises UsageError for settings or prompts that cannot be, and ZooError where the logits are not numbers.
    """
    config = config.updated(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, seed=seed, stop=stop, eos_token_id=eos_token_id,
        num_beams=num_beams, length_penalty=length_penalty,
    )  # fmt: skip
    model, batch = _begun(model, _batch(model, prompts, tokenizer, attention_mask, inputs))
    rows = _rows(model, batch, config, tokenizer)
    if config.num_beams > 1:
        _refuse_with_beams(
            config, stop=bool(config.stop), draft=draft is not None, return_logits=return_logits, inputs=bool(inputs)
        )
        return _result(rows, tokenizer, scores=_search(model, batch, rows, config))
    steps = [step.clone() if return_logits else None for step in _steps(model, batch, rows, config, draft)]
    return _result(rows, tokenizer, logits=[step for step in steps if step is not None])


def stream(
    model: LanguageModel,
    prompt: str | Tensor | Sequence[int],
    *,
    tokenizer: TokenizerLike,
    config: GenerationConfig = NEUTRAL,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    seed: int | None = None,
    stop: Sequence[str] | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    draft: Draft | None = None,
) -> Stream:
    """The continuation of one prompt, in pieces of text that never change; arguments and errors as in `generate`."""
    config = config.updated(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, seed=seed, stop=stop, eos_token_id=eos_token_id,
    )  # fmt: skip
    batch = _batch(model, prompt, tokenizer, None, inputs)
    if len(batch.rows) != 1:
        raise UsageError(f"a stream continues one prompt, not {len(batch.rows)}", hint="use generate()")
    model, batch = _begun(model, batch)
    if config.num_beams > 1:
        raise UsageError(
            f"num_beams={config.num_beams}: beam search cannot stream, because its text is known only at the end"
        )
    rows = _rows(model, batch, config, tokenizer)
    return Stream(rows[0], _steps(model, batch, rows, config, draft))


def _batch(
    model: LanguageModel,
    prompts: Prompts,
    tokenizer: TokenizerLike | None,
    mask: Tensor | None,
    inputs: Mapping[str, Any] | None,
) -> Batch:
    if device_of(model).type == "meta":
        raise UsageError("the model is on meta and has no weights", hint="build or load it with device='cpu'")
    if not hasattr(model, "new_cache") and not hasattr(model, "conditioned"):
        family = getattr(getattr(model, "config", None), "family", type(model).__name__)
        raise UsageError(f"a {family} does not generate text", hint="decoders and encoder-decoders do")
    vocab_size = getattr(model.config, "vocab_size", None)
    device = device_of(model)
    batch = batch_of(prompts, tokenizer=tokenizer, attention_mask=mask, vocab_size=vocab_size, device=device)
    return replace(batch, inputs=inputs or {})


def _begun(model: Any, batch: Batch) -> tuple[LanguageModel, Batch]:
    """The model and batch as they are, or an encoder-decoder that has read the batch, and the beginnings of texts."""
    if not hasattr(model, "conditioned"):
        return model, batch
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        raise UsageError(f"a {model.config.family} has no decoder_start_token_id, the token that its texts start with")
    with torch.inference_mode():
        reader = model.conditioned(batch.tokens, batch.mask)
    return reader, batch_of([[start]] * len(batch.rows), device=batch.tokens.device)


def _rows(
    model: LanguageModel, batch: Batch, config: GenerationConfig, tokenizer: TokenizerLike | None
) -> list[GrowingRow]:
    if config.stop and tokenizer is None:
        raise UsageError("stop is text and needs a tokenizer", hint="give tokenizer=")
    eos = _eos(model, config)
    limit = config.num_new(batch.width)
    streams = [tokenizer.decode_stream(row) if tokenizer else None for row in batch.rows]
    return [
        GrowingRow(row, limit=limit, eos=eos, stop=config.stop, text=text)
        for row, text in zip(batch.rows, streams, strict=True)
    ]


def _steps(
    model: LanguageModel, batch: Batch, rows: list[GrowingRow], config: GenerationConfig, draft: Draft | None
) -> Iterator[Tensor]:
    if draft is None:
        return decode(model, batch, rows, Sampler(config, rows, sorted(_eos(model, config)), device_of(model)))
    if len(rows) > 1 or not config.is_plain:
        raise UsageError("a draft works only with one prompt and plain greedy decoding", hint="generate without draft=")
    return decode_drafted(model, batch, rows[0], draft)


def _search(model: LanguageModel, batch: Batch, rows: list[GrowingRow], config: GenerationConfig) -> list[float]:
    found = beam_search(model, batch, config, eos=_eos(model, config), limit=rows[0].limit)
    for row, hypothesis in zip(rows, found, strict=True):
        for token in hypothesis.tokens:
            row.push(token)
    return [hypothesis.score for hypothesis in found]


def _refuse_with_beams(config: GenerationConfig, **is_asked: bool) -> None:
    if wrong := [name for name, asked in is_asked.items() if asked]:
        raise UsageError(f"{wrong[0]} cannot be used with num_beams={config.num_beams}", hint="set num_beams=1")


def _result(
    rows: list[GrowingRow],
    tokenizer: TokenizerLike | None,
    *,
    scores: list[float] | None = None,
    logits: Sequence[Tensor] = (),
) -> Generation:
    joined = torch.cat(list(logits), 1) if logits else None  # [B, steps, V]
    return Generation(
        prompts=[row.prompt for row in rows],
        new_tokens=[row.tokens for row in rows],
        finish_reasons=[row.finish_reason or "length" for row in rows],
        texts=[row.take() for row in rows] if tokenizer else None,
        scores=scores,
        logits=None if joined is None else [joined[i, : len(row.tokens)] for i, row in enumerate(rows)],
    )


def _eos(model: LanguageModel, config: GenerationConfig) -> frozenset[int]:
    known = config.eos_token_id if config.eos_token_id is not None else getattr(model.config, "eos_token_id", None)
    return frozenset([known] if isinstance(known, int) else known or ())
