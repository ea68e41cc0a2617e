"""The two functions that users call: `generate` for all at once, `stream` for one text piece by piece."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, Unpack

from torch import Tensor

from zoo.errors import UsageError, ZooWarning
from zoo.generation.config import GenerationConfig, GenerationSettings
from zoo.generation.job import open_job
from zoo.generation.prompts import Prompts
from zoo.generation.protocols import Draft, LanguageModel, TokenizerLike
from zoo.generation.result import Generation, Stream


def generate(
    model: LanguageModel,
    prompts: Prompts,
    *,
    config: GenerationConfig | None = None,
    tokenizer: TokenizerLike | None = None,
    attention_mask: Tensor | None = None,
    inputs: Mapping[str, Any] | None = None,
    draft: Draft | LanguageModel | str | None = None,
    compile: bool | str = False,
    return_logits: bool = False,
    ignore_settings: bool = False,
    **settings: Unpack[GenerationSettings],
) -> Generation:
    """Continue every prompt: texts, lists of token ids, or a tensor [B, T] of them with its attention_mask [B, T].

    An encoder-decoder reads the prompts as its source and writes a text of its own, from its
    `decoder_start_token_id` on, which then stands for each prompt in what is returned.
    `inputs` are further arguments of the model's first pass, as `zoo.illustrate` makes them of pictures.
    `settings` are the fields of GenerationConfig. They go before those of `config`, which stands for what the
    checkpoint's generation_config.json says; with neither, decoding is greedy, and adds 128 tokens at most.
    `draft` guesses tokens that the model then judges, several in one pass: "ngram" (what followed the last tokens
    before), a smaller model of the same vocabulary, or an object with `propose`. The text is the greedy one, and drawn
    tokens have the distribution that they have without it; `Generation.draft` tells what was gained.
    `compile` compiles the step of one token, which takes a minute the first time and is kept for later processes; on a
    GPU it is then recorded as a CUDA graph. compile="graph" only records it, which takes no time.
    `ignore_settings` leaves out what that file asks for and zoo does not know. A model that was loaded brings its
    tokenizer. Rows of unequal length give what each gives alone. The model is used in the mode it is in: call
    `model.eval()` if it has dropout.
    Raises UsageError for settings or prompts that cannot be, and ZooError where the logits are not numbers.
    """
    job = open_job(
        model, prompts, _config(model, config, ignore_settings, settings), tokenizer=tokenizer, mask=attention_mask,
        inputs=inputs, draft=draft, compile=compile,
    )  # fmt: skip
    if job.config.num_beams > 1:
        job.refuse_with_beams(return_logits=return_logits)
        return job.result(scores=job.search())
    steps = [[part.clone() for part in step] if return_logits else [] for step in job.steps()]
    return job.result(logits=steps if return_logits else [])


def stream(
    model: LanguageModel,
    prompt: str | Tensor | Any,
    *,
    tokenizer: TokenizerLike | None = None,
    config: GenerationConfig | None = None,
    inputs: Mapping[str, Any] | None = None,
    draft: Draft | LanguageModel | str | None = None,
    compile: bool | str = False,
    ignore_settings: bool = False,
    **settings: Unpack[GenerationSettings],
) -> Stream:
    """The continuation of one prompt, in pieces of text that never change; arguments and errors as in `generate`."""
    config = _config(model, config, ignore_settings, settings)
    if config.num_beams > 1:
        raise UsageError(
            f"num_beams={config.num_beams}: beam search cannot stream, because its text is known only at the end"
        )
    job = open_job(
        model, prompt, config, tokenizer=tokenizer, inputs=inputs, draft=draft, compile=compile, needs_text=True
    )
    if len(job.rows) != 1:
        raise UsageError(f"a stream continues one prompt, not {len(job.rows)}", hint="use generate()")
    report = job.report if job.draft is not None else None
    return Stream(job.rows[0], job.steps(), job.form, draft=report, reader=job.model)


def _config(
    model: Any, config: GenerationConfig | None, ignore_settings: bool, settings: GenerationSettings
) -> GenerationConfig:
    """What the call says, before what its config says, or, where it has none, the file beside the model."""
    if config is None:
        config = GenerationConfig()
        if (ledger := getattr(model, "ledger", None)) is not None:
            config, notes = ledger.settings(ignore=ignore_settings)
            said = {name for name, value in settings.items() if value is not None}
            for note in (note for note in notes if re.split(r"\W", note)[0] not in said):
                warnings.warn(f"{ledger.source}: settings of generation: {note}", ZooWarning, stacklevel=3)
    return config.updated(**settings)
