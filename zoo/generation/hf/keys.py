"""The keys of generation_config.json: those that zoo has under the same name or another, those that change no text."""

from __future__ import annotations

from zoo.generation.config import GenerationSettings

# transformers' word -> ours; only those that we spell differently
RENAMED = {"stop_strings": "stop"}
OURS_ALONE = (
    "seed",
    "stop",
    "regex",
    "json_schema",
    "prefill_chunk",
    "num_draft_tokens",
    "draft_ngram_size",
)  # of a call, not of a file
READ = frozenset(GenerationSettings.__annotations__) - {*OURS_ALONE} | {*RENAMED}

# What transformers assumes where the file is silent and do_sample is true.
ASSUMED = {"temperature": 1.0, "top_k": 50}

# Values at which a key asks for nothing, where that is not what our field holds then.
NOTHING: dict[str, tuple[object, ...]] = {
    "top_k": (0,), "no_repeat_ngram_size": (0,), "encoder_no_repeat_ngram_size": (0,), "top_p": (1,), "typical_p": (1,),
    "guidance_scale": (1,), "top_n_sigma": (0, -1),
}  # fmt: skip
UNHEATED = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0}

# Keys that would change the text, that zoo has not, and the values at which they do not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "token_healing": (False,), "watermarking_config": (), "penalty_alpha": (0.0,), "dola_layers": (),
    "constraints": (), "force_words_ids": (), "max_time": (), "assistant_ensemble_weight": (),
}  # fmt: skip

# Keys that never change the text.
INERT = frozenset({
    "transformers_version", "_from_model_config", "_commit_hash", "use_cache", "cache_implementation", "cache_config",
    "max_cache_len", "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "bos_token_id", "pad_token_id", "do_sample", "low_memory", "compile_config", "disable_compile",
    "prefill_chunk_size", "use_mtp", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit",
    "assistant_lookbehind", "target_lookbehind", "speculation_type", "continuous_batching_config",
    # bookkeeping of those who wrote the file, and words of a checkpoint's own code, which zoo does not run
    "_name_or_path", "architectures", "model_type", "torch_dtype", "dtype", "_attn_implementation",
    "attn_implementation", "trust_remote_code", "unk_token_id", "sep_token_id", "chat_format", "max_window_size",
    "user_token_id", "assistant_token_id",
})  # fmt: skip

# What the config classes of transformers assume where config.json is silent, by model_type.
OF_CLASSES = {"marian": {"forced_eos_token_id": 0}}
