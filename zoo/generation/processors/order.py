"""Which processors a config asks for, in the order that transformers applies them in; ours stand where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from zoo.generation.config import GenerationConfig
from zoo.generation.history import History
from zoo.generation.processors.bans import BadWords, SequenceBias, SuppressTokens, SuppressTokensAtBegin
from zoo.generation.processors.cutoffs import (
    EpsilonCutoff,
    EtaCutoff,
    MinP,
    Temperature,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
)
from zoo.generation.processors.lengths import ExponentialDecay, ForcedBOS, ForcedEOS, MinLength, MinNewTokens
from zoo.generation.processors.repeats import (
    EncoderNoRepeatNgram,
    EncoderRepetitionPenalty,
    FrequencyPenalty,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
)
from zoo.generation.processors.values import RemoveInvalid, Renormalise


class Processor(Protocol):
    """Scores [R, V] in, scores [R, V] out; what came in is left as it is."""

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        """The scores with one thing changed."""
        ...


def processors_of(
    c: GenerationConfig,
    *,
    eos: Sequence[int],
    sources: Sequence[Sequence[int]],
    diversity: Processor | None = None,
    form: Processor | None = None,
) -> list[Processor]:
    """What changes scores whichever way a token is then chosen; `form` holds texts to one, `diversity` beams apart."""
    found: list[Processor | None] = [
        SequenceBias(c.sequence_bias) if c.sequence_bias else None,
        diversity,
        EncoderRepetitionPenalty(c.encoder_repetition_penalty, sources) if c.encoder_repetition_penalty != 1 else None,
        RepetitionPenalty(c.repetition_penalty) if c.repetition_penalty != 1 else None,
        FrequencyPenalty(c.frequency_penalty) if c.frequency_penalty else None,  # ours, where OpenAI's API has them
        PresencePenalty(c.presence_penalty) if c.presence_penalty else None,
        NoRepeatNgram(c.no_repeat_ngram_size) if c.no_repeat_ngram_size else None,
        EncoderNoRepeatNgram(c.encoder_no_repeat_ngram_size, sources) if c.encoder_no_repeat_ngram_size else None,
        BadWords(c.bad_words_ids, eos) if c.bad_words_ids else None,
        MinLength(c.min_length, eos) if c.min_length and eos and not c.min_new_tokens else None,
        MinNewTokens(c.min_new_tokens, eos) if c.min_new_tokens and eos else None,
        form,
        ForcedBOS(c.forced_bos_token_id) if c.forced_bos_token_id is not None else None,
        ForcedEOS(c.forced_eos_token_id) if c.forced_eos_token_id else None,
        RemoveInvalid() if c.remove_invalid_values else None,
        _decay(c, eos),
        SuppressTokens(c.suppress_tokens) if c.suppress_tokens else None,
        _at_begin(c),
    ]
    return [processor for processor in found if processor is not None]


def warpers_of(c: GenerationConfig, *, keep: int = 1) -> list[Processor]:
    """What heats scores and cuts off the tail before one is drawn, and normalises them in the end."""
    found: list[Processor | None] = []
    if not c.is_greedy:
        found = [
            Temperature(c.temperature) if c.temperature != 1 else None,
            TopH(c.top_h) if c.top_h is not None else None,
            TopK(c.top_k, keep) if c.top_k is not None else None,
            TopP(c.top_p, keep) if c.top_p is not None and c.top_p < 1 else None,
            MinP(c.min_p, keep) if c.min_p is not None else None,
            TypicalP(c.typical_p, keep) if c.typical_p is not None and c.typical_p < 1 else None,
            EpsilonCutoff(c.epsilon_cutoff, keep) if c.epsilon_cutoff else None,
            EtaCutoff(c.eta_cutoff, keep) if c.eta_cutoff else None,
            TopNSigma(c.top_n_sigma) if c.top_n_sigma is not None else None,  # ours
        ]
    found.append(Renormalise() if c.renormalize_logits else None)
    return [processor for processor in found if processor is not None]


def applied(processors: Sequence[Processor], history: History, scores: Tensor) -> Tensor:
    """Scores [R, V] after one processor after the other."""
    for processor in processors:
        scores = processor(history, scores)
    return scores


def _decay(c: GenerationConfig, eos: Sequence[int]) -> ExponentialDecay | None:
    if c.exponential_decay_length_penalty is None or not eos:
        return None
    start, factor = c.exponential_decay_length_penalty
    return ExponentialDecay(int(start), factor, eos)


def _at_begin(c: GenerationConfig) -> SuppressTokensAtBegin | None:
    has_forced_bos = c.forced_bos_token_id is not None
    return (
        SuppressTokensAtBegin(c.begin_suppress_tokens, has_forced_bos=has_forced_bos)
        if c.begin_suppress_tokens
        else None
    )
