"""Reading generation_config.json: every key is used, known to change nothing, refused, or told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.anatomy.config import typed
from zoo.errors import CheckpointError, ConfigError, UsageError, clean
from zoo.generation.config import GenerationConfig

FILE = "generation_config.json"

# transformers' word -> ours; only those that we spell differently
RENAMED = {"stop_strings": "stop"}
SAMPLING = ("temperature", "top_k", "top_p", "min_p")
READ = (
    "max_new_tokens", "max_length", "min_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
    "no_repeat_ngram_size", "stop_strings", "eos_token_id", "num_beams", "length_penalty", "early_stopping",
)  # fmt: skip

# What transformers assumes where the file is silent and do_sample is true.
ASSUMED = {"temperature": 1.0, "top_k": 50}

# Keys that would change the text, and the values at which they do not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "min_length": (0,), "typical_p": (1.0,), "epsilon_cutoff": (0.0,), "eta_cutoff": (0.0,), "top_h": (),
    "encoder_repetition_penalty": (1.0,), "encoder_no_repeat_ngram_size": (0,), "bad_words_ids": ([],),
    "renormalize_logits": (False,), "forced_bos_token_id": (), "forced_eos_token_id": (),
    "remove_invalid_values": (False,), "exponential_decay_length_penalty": (), "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],), "sequence_bias": (), "token_healing": (False,), "guidance_scale": (1.0,),
    "watermarking_config": (), "num_return_sequences": (1,), "num_beam_groups": (1,), "diversity_penalty": (0.0,),
    "penalty_alpha": (0.0,), "dola_layers": (), "constraints": (), "force_words_ids": (), "max_time": (),
    "assistant_ensemble_weight": (),
}  # fmt: skip

# Keys that never change the text.
INERT = frozenset({
    "transformers_version", "_from_model_config", "_commit_hash", "use_cache", "cache_implementation", "cache_config",
    "max_cache_len", "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "bos_token_id", "pad_token_id", "do_sample", "low_memory", "compile_config", "disable_compile",
    "prefill_chunk_size", "use_mtp", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit",
    "assistant_lookbehind", "target_lookbehind", "speculation_type", "continuous_batching_config",
    "decoder_start_token_id",
})  # fmt: skip


def config_from_hf(raw: Mapping[str, Any], file: object = FILE) -> tuple[GenerationConfig, list[str]]:
    """The settings that a generation_config.json holds, and what was assumed or left unread, a line each.

    Raises CheckpointError for a value that cannot be, or one that asks for what zoo does not do.
    """
    given = {key: value for key, value in raw.items() if value is not None}
    for key, value in given.items():
        if key in NEUTRAL and value not in NEUTRAL[key]:
            hint = "remove the key from the file, or give settings of your own"
            raise CheckpointError(file, key, f"zoo does not support {key}={clean(value)}", hint=hint)
    values = {RENAMED.get(key, key): _as_ours(key, value) for key, value in given.items() if key in READ}
    notes = [f"{clean(key)}={clean(value)} is not read" for key, value in given.items() if not _is_known(key)]
    notes += _settle_sampling(values, given.get("do_sample", False), file)
    return _build({key: value for key, value in values.items() if value is not None}, file), notes


def _settle_sampling(values: dict[str, Any], do_sample: object, file: object) -> list[str]:
    if not isinstance(do_sample, bool):
        raise CheckpointError(file, "do_sample", f"{clean(do_sample)!r} is not true or false")
    if do_sample:
        missing = {key: value for key, value in ASSUMED.items() if key not in values}
        values.update(missing)
        return [f"{key} is not given: {value} is assumed, as transformers does" for key, value in missing.items()]
    dropped = [key for key in SAMPLING if values.pop(key, None) is not None]
    return [f"{key} is not used: do_sample is false" for key in dropped]


def _as_ours(key: str, value: Any) -> Any:
    if key in ("eos_token_id", "stop_strings") and not isinstance(value, list):
        return [value]
    return None if key in ("top_k", "no_repeat_ngram_size") and value == 0 else value


def _is_known(key: str) -> bool:
    return key in READ or key in INERT or key in NEUTRAL


def _build(values: dict[str, Any], file: object) -> GenerationConfig:
    early_stopping = values.pop("early_stopping", False)
    try:
        config = typed(GenerationConfig, values, "generation")
        return config.updated(early_stopping=early_stopping)
    except (ConfigError, UsageError) as error:
        raise CheckpointError(file, "", clean(error.what, 200)) from None
