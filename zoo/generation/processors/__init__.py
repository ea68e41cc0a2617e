"""What changes the scores of the next token before one is chosen: one class each, and the order they are applied in."""

from __future__ import annotations

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
from zoo.generation.processors.order import Processor, applied, processors_of, warpers_of
from zoo.generation.processors.repeats import (
    EncoderNoRepeatNgram,
    EncoderRepetitionPenalty,
    FrequencyPenalty,
    GroupDiversity,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
)
from zoo.generation.processors.values import RemoveInvalid, Renormalise

__all__ = [
    "BadWords", "EncoderNoRepeatNgram", "EncoderRepetitionPenalty", "EpsilonCutoff", "EtaCutoff", "ExponentialDecay",
    "ForcedBOS", "ForcedEOS", "FrequencyPenalty", "GroupDiversity", "MinLength", "MinNewTokens", "MinP",
    "NoRepeatNgram", "PresencePenalty", "Processor", "RemoveInvalid", "Renormalise", "RepetitionPenalty",
    "SequenceBias", "SuppressTokens", "SuppressTokensAtBegin", "Temperature", "TopH", "TopK", "TopNSigma", "TopP",
    "TypicalP", "applied", "processors_of", "warpers_of",
]  # fmt: skip
