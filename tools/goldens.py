"""Write the goldens of all families: numbers of the reference implementations that `zoo verify --golden` reruns.

    python tools/goldens.py                     those that transformers computes, in float64
    python tools/goldens.py --originals FOLDER  those that the original code of models outside of transformers computed

FOLDER holds a folder per model with config.json, model.safetensors, inputs.safetensors and expected.safetensors.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.anatomy.config import RopeConfig
from zoo.checkpoint.inspection import inspect
from zoo.registry import installed
from zoo.verification.goldens.file import numbers, write_golden
from zoo.verification.goldens.rerun import folder_of, rerun_goldens
from zoo.verification.goldens.writer import golden_from_transformers, rows_of

STORED = 2e-6  # of expectations that were kept in float32
ROPE = RopeConfig(theta=1000.0, factor=4.0, original_max_seq_len=16)
FAST = RopeConfig(theta=50.0)
YARN, LINEAR = replace(ROPE, scaling="yarn"), replace(ROPE, scaling="linear", original_max_seq_len=None)
ONE_ROPE = {"local_rope": RopeConfig(theta=5000.0)}
# Every number that a scaling reads, none of them a default of ours or of transformers.
RAMP = replace(YARN, beta_fast=9.0, beta_slow=0.5, truncate=False, attention_factor=1.3)
BANDS = replace(ROPE, scaling="llama3", factor=8.0, low_freq_factor=1.5, high_freq_factor=3.0)
LONG = replace(ROPE, scaling="longrope", short_factor=[1.0, 1.1, 1.3, 1.6, 2.0], long_factor=[1.2, 1.5, 2.0, 3.0, 5.0])

GATED = {"is_gated": True, "activation": "gelu_tanh", "tie_embeddings": False, "scale_outputs": False}
TIED = {"tie_embeddings": True}
BIASED = {"attention_bias": True, "mlp_bias": True}

# Placeholders that have rows in the embedding, for theirs looks them up; squares and patches of odd sizes.
IDS = {"image_token_id": 57, "video_token_id": 58, "vision_start_token_id": 59, "vision_end_token_id": 60}
TINY: dict[str, Any] = {name: family.config_class.tiny() for name, family in installed().families.items()}
TOWERS = [
    replace(TINY[name].vision, merge_size=3, temporal_patch_size=3, num_channels=2, activation="gelu")
    for name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
]
ODD = {
    "gemma3_vl": {"vision": replace(TINY["gemma3_vl"].vision, num_channels=2, activation="relu"), "rope": LINEAR},
    "clip": {
        "text": replace(TINY["clip"].text, activation="relu"),
        "vision": replace(TINY["clip"].vision, num_channels=2, activation="gelu"),
    },
    "siglip": {
        "text": replace(TINY["siglip"].text, activation="relu"),
        "vision": replace(TINY["siglip"].vision, num_channels=2, activation="gelu"),
    },
}
GRID = [[1, 9, 6], [1, 3, 12]]  # two images of 6 and of 4 tokens
TEXT = [3, 59, *[57] * 6, 60, 7, 9, 59, *[57] * 4, 60, 4, 8, 5]
SHAPES = [[4, 2], [2, 6]]  # two images of patches, of 2 and of 3 tokens; of the last no patch is padding
SQUARES = [3, 62, *[61] * 2, 63, 7, 62, *[61] * 3, 63, 4, 8, 5]
TILES = [3, *[57] * 1, 7, 9, *[57] * 1, 4, 8, 5]  # two tiles of 1 token

# family -> label -> fields that differ from the tiny config; "" is the tiny config itself, and under "other" stand
# together what it leaves at the defaults
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "bert": {
        "": {}, "other": {"activation": "relu", "head": "masked_lm", "has_pooler": False},
        "sequence": {"head": "sequence_classification", "num_labels": 3},
        "tokens": {"head": "token_classification", "num_labels": 3, "has_pooler": False}, "none": {"head": "none"},
    },
    "roberta": {
        "": {}, "other": {"activation": "relu", "type_vocab_size": 3, "pad_token_id": 4},
        "sequence": {"head": "sequence_classification", "num_labels": 3},
        "tokens": {"head": "token_classification", "num_labels": 3}, "none": {"head": "none", "has_pooler": True},
    },
    "xlm_roberta": {
        "": {"is_pre_norm": True}, "other": {"activation": "relu", "type_vocab_size": 3, "pad_token_id": 4},
        "sequence": {"head": "sequence_classification", "num_labels": 3}, "none": {"head": "none", "has_pooler": True},
    },
    "mpnet": {
        "": {}, "other": {"activation": "relu"}, "none": {"head": "none", "has_pooler": True},
        "sequence": {"head": "sequence_classification", "num_labels": 3},
    },
    "electra": {
        "": {"tie_embeddings": False}, "other": {"activation": "relu", "head": "replaced_tokens"},
        "none": {"head": "none", "embed_size": 24}, "sequence": {"head": "sequence_classification", "num_labels": 3},
    },
    "albert": {
        "": {}, "other": {"activation": "relu", "head": "masked_lm", "has_pooler": False}, "none": {"head": "none"},
        "sequence": {"head": "sequence_classification", "num_labels": 3},
    },
    "distilbert": {
        "": {}, "other": {"activation": "relu", "tie_embeddings": False}, "none": {"head": "none"},
        "sequence": {"head": "sequence_classification", "num_labels": 3},
        "tokens": {"head": "token_classification", "num_labels": 3},
    },
    "deberta": {
        "": {}, "other": {"activation": "relu", "type_vocab_size": 3, "has_positions": True, "has_position_norm": False,
                          "has_shared_projections": False, "conv_groups": 2, "conv_activation": "gelu",
                          "is_legacy": False}, "none": {"head": "none"},
        "sequence": {"head": "sequence_classification", "num_labels": 3, "pooler_activation": "tanh", "has_c2p": False,
                     "position_buckets": None},
        "tokens": {"head": "token_classification", "num_labels": 3, "has_p2c": False, "conv_kernel_size": None},
    },
    "modernbert": {
        "": {}, "other": {"activation": "relu", "head_activation": "silu", "head_bias": True, "decoder_bias": False,
                          "norm_bias": True, "tie_embeddings": False, "global_every": 2, "sliding_window": 4, **BIASED},
        "sequence": {"head": "sequence_classification", "num_labels": 3, "pooling": "mean"}, "none": {"head": "none"},
        "tokens": {"head": "token_classification", "num_labels": 3},
    },
    "headed": {
        "": {}, "tokens": {"head": "token_classification", "has_bias": True},
        "none": {"head": "none", "num_labels": None, "trunk": replace(TINY["llama"], **TIED, **BIASED)},
    },
    "bloom": {"": {}, "other": {"norm_residual": True, "tie_embeddings": False, "num_heads": 4}},
    "llama": {
        "": {}, "tied": TIED, "llama3": {"rope": BANDS}, "yarn": {"rope": RAMP}, "linear": {"rope": LINEAR},
        "dynamic": {"rope": replace(LINEAR, scaling="dynamic"), "max_seq_len": 16}, "longrope": {"rope": LONG},
        "other": BIASED,
    },
    "gemma": {
        "": {"attn_softcap": None},  # transformers reads a cap of Gemma 3's scores and does not apply it
        "1": {"generation": 1, "query_pre_attn_scalar": 10.0, "attn_softcap": None, "final_softcap": None,
              "sliding_window": None, "local_per_global": 0, **ONE_ROPE},
        "2": {"generation": 2, **ONE_ROPE},
        "other": {"attn_softcap": None, "local_per_global": 2, "rope": LINEAR, "tie_embeddings": False},
    },
    "gemma3n": {
        "": {}, "other": {"rope": LINEAR, "tie_embeddings": False, "final_softcap": 7.0, "sharing_from": None,
                          "num_streams": 2, "mlp_widths": [40, 32, 40, 24, 40], "sparsity": None},
    },
    "gemma4": {
        "": {}, "other": {"tie_embeddings": False, "final_softcap": None, "sharing_from": None, "num_experts": None,
                          "has_equal_keys": False, "global_kv_heads": None, "layer_embed_dim": None,
                          "global_rotary": 0.5},
    },
    "gemma4_vl": {
        "": {},
        "images": {
            "tie_embeddings": False, "final_softcap": None, "sharing_from": None, "num_experts": None,
            "has_equal_keys": False, "global_kv_heads": None, "global_rotary": 0.5, "vocab_size": 66, "pad_token_id": 6,
            "vision": replace(TINY["gemma4_vl"].vision, is_clipped=False),
        },
        "clipped": {"vocab_size": 66, "sees_whole_images": False, "layer_embed_dim": None, "sharing_from": None},
    },
    "gemma3_vl": {"": {"attn_softcap": None}, "other": {"attn_softcap": None, **ODD["gemma3_vl"]}},
    "clip": {"": {}, "other": ODD["clip"]},
    "siglip": {
        "": {}, "other": ODD["siglip"],
        "classes": {"text": None, "vision": replace(TINY["siglip"].vision, has_pool=False),
                    "head": "image_classification", "num_labels": 5},
    },
    "dinov2": {
        "": {}, "plain": {"num_registers": None, "has_mask_token": False, "qkv_bias": False, "activation": "relu"},
        "none": {"head": "none", "num_labels": None, "is_gated": True, "num_channels": 2},
    },
    "siglip2": {
        "": {}, "other": {
            "text": replace(TINY["siglip2"].text, activation="relu"),
            "vision": replace(TINY["siglip2"].vision, num_channels=2, activation="gelu"),
        },
        "classes": {"text": None, "vision": replace(TINY["siglip2"].vision, has_pool=False),
                    "head": "image_classification", "num_labels": 5},
    },
    "gpt2": {
        "": {}, "other": {"activation": "relu", "tie_embeddings": False, "scale_scores_by_layer": True},
        "unscaled": {"scale_scores": False},
    },
    "gpt_oss": {"": {}, "other": {**TIED, "attention_bias": False, "rope": RAMP, "sliding_layers": None}},
    "llama4": {
        "": {},
        "other": {
            **TIED, "attention_bias": True, "rope": BANDS, "has_qk_norm": False, "experts_per_token": 1,
            "chunked_layers": None, "temperature_scale": None, "dense_layers": [],
        },
    },
    "llama4_vl": {
        "": {},
        "images": {
            **TIED, "image_token_id": 57, "attention_bias": True, "temperature_scale": None, "chunked_layers": None,
            "has_qk_norm": False,
            "vision": replace(TINY["llama4_vl"].vision, num_channels=2, merge_size=4),
        },
    },
    "mistral": {"": {}, "other": {**TIED, "rope": YARN, "sliding_window": None}},
    "mixtral": {"": {}, "other": {**TIED, "sliding_window": 5, "experts_per_token": 3}},
    "qwen2": {"": {}, "other": {**TIED, "rope": YARN}},
    "qwen3": {"": {}, "other": {**TIED, "attention_bias": True}},
    "qwen2_moe": {"": {}, "other": {**TIED, "attention_bias": False, "is_renormalised": True}},
    "qwen3_moe": {"": {}, "other": {**TIED, "attention_bias": True, "is_renormalised": False}},
    "qwen3_next": {
        "": {}, "other": {**TIED, "attention_bias": True, "is_renormalised": False, "dense_layers": [],
                          "attention_layers": [0], "rope": replace(YARN, partial=0.5)},
    },
    "qwen3_5": {"": {}, "other": {**TIED, "attention_bias": True, "attention_layers": [0, 1]}},
    "qwen3_5_moe": {"": {}, "other": {**TIED, "attention_bias": True, "attention_layers": [0, 2]}},
    "t5": {"": {}, "1.1": GATED, "umt5": {**GATED, "has_bias_per_layer": True, "flavour": "umt5"}},
    "transformer": {
        "": {}, "other": {"activation": "relu", "scale_embeddings": False, "source_vocab_size": 67,
                          "tie_embeddings": False},
    },
    "glm": {"": {}, "plain": {"is_sandwiched": False}, "other": {**TIED, "attention_bias": False, "rope": replace(
        YARN, partial=0.5)}},
    "glm4_moe": {
        "": {}, "other": {**TIED, "attention_bias": True, "is_renormalised": False, "num_dense_layers": 2},
    },
    "deepseek": {
        "": {}, "v2": {"hidden_size": 21, "scoring": "softmax", "is_renormalised": False},
        "other": {**TIED, "attention_bias": True, "q_lora_rank": None, "rope_interleaved": False, "rope": replace(
            RAMP, attention_factor=None, mscale=0.9, mscale_all_dim=0.7)},
        "v2-other": {"hidden_size": 21, "scoring": "softmax", "is_renormalised": False, "num_groups": 1,
                     "groups_per_token": 1, "attention_bias": True, "q_lora_rank": None},
    },
    "deepseek_v32": {
        "": {}, "v32": {
            **TIED, "index_rope_interleaved": False, "indexer_layers": None, "attention_bias": True,
            "rope": replace(RAMP, attention_factor=None, mscale=0.9, mscale_all_dim=0.7),
        },
    },
    "phi3": {"": {}, "longrope": {"sliding_window": None, "rope": replace(
        LONG, short_factor=[1.0, 1.3], long_factor=[1.2, 5.0], partial=1.0)}, "other": TIED},
    "olmo2": {"": {}, "2": {"sliding_window": None, "sliding_layers": None, "attention_bias": True, **TIED,
                            "rope": FAST, "local_rope": FAST}},
    "smollm3": {"": {}, "other": {"sliding_window": None, "sliding_layers": None, "nope_layers": [2], **TIED,
                                  "attention_bias": True, "mlp_bias": True}},
    "granite": {"": {}, "other": {**TIED, "attention_bias": True, "mlp_bias": True}},
    "granitemoe": {"": {}, "other": {**TIED, "attention_bias": True, "experts_per_token": 3}},
    "starcoder2": {"": {}, "other": {**TIED, "has_bias": False, "sliding_window": None}},
    "gpt_neox": {"": {}, "other": {**TIED, "is_parallel": False, "attention_bias": False, "activation": "gelu_fast",
                                   "rope": RopeConfig(theta=500.0, partial=0.5)}},
    "gptj": {"": {}, "other": {**TIED, "activation": "relu", "rope": RopeConfig(partial=1.0)}},
    "stablelm": {
        "": {}, "plain": {"has_qk_norm": False}, "other": {**TIED, "is_parallel": True, "attention_bias": True},
    },
    "cohere": {"": {}, "1": {"sliding_window": None, "sliding_layers": None, "has_qk_norm": True,
                             "attention_bias": True, "tie_embeddings": False, "head_dim": 10}},
    "falcon": {"": {}, "7b": {"num_kv_heads": 1, "has_mlp_norm": False}, "other": {
        "has_mlp_norm": False, "is_parallel": False, "has_bias": True, "num_kv_heads": 6, "tie_embeddings": False},
        "rw": {"has_mlp_norm": False, "is_parallel": False, "num_kv_heads": 6, "has_alibi": True}},
    "opt": {"": {}, "other": {"is_pre_norm": True, "embed_size": 24, "has_bias": False, "activation": "gelu",
                              "tie_embeddings": False}},
    "exaone4": {"": {}, "other": {"sliding_window": None, "sliding_layers": None, **TIED}},
    "ernie4_5": {"": {}, "other": {"tie_embeddings": False, "has_bias": True}},
    "helium": {"": {}, "other": {**TIED, "attention_bias": True, "mlp_bias": True}},
    "minicpm3": {"": {}, "other": {"tie_embeddings": False, "attention_bias": True, "q_lora_rank": None}},
    "internlm3": {"": {}, "other": {**TIED, "attention_bias": True, "has_bias": True}},
    "qwen2_vl": {"": {}, "images": {**IDS, **TIED, "vision": TOWERS[0]}},
    "qwen2_5_vl": {"": {}, "images": {**IDS, **TIED, "vision": replace(TOWERS[1], window_size=24)}},
    "qwen3_vl": {
        "": {},
        "images": {
            **IDS, **TIED, "attention_bias": True, "vision": replace(TOWERS[2], deep_layers=[1, 2], num_positions=16),
        },
    },
    "qwen3_vl_moe": {
        "": {}, "images": {**IDS, **TIED, "attention_bias": True, "vision": TOWERS[2], "dense_layers": [0]},
    },
    "vit": {
        "": {}, "other": {"activation": "relu", "qkv_bias": False, "num_channels": 2},
        "none": {"head": "none", "num_labels": None, "has_pooler": True},
    },
}  # fmt: skip

# Families that transformers has no class for, and whose own code was computed by hand in the tests.
BY_HAND = ("baichuan", "exaone", "internlm2", "minicpm")

# model -> (folder, family, name of the case, its expected logits)
ORIGINALS = (
    ("chatglm-6b-3l", "chatglm", "gmask_middle.input_ids", "gmask_middle.logits"),
    ("chatglm2-6b", "chatglm2", "plain.input_ids", "plain.logits"),
    ("qwen-7b-v1", "qwen", "long.input_ids", "len33.logits"),
    ("qwen-vl-chat", "qwen_vl", "text.input_ids", "text.logits"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path)
    folder = parser.parse_args().originals
    if folder is not None:
        for original in ORIGINALS:
            from_original(folder, *original)
    else:
        for name, family in sorted(installed().families.items()):
            if "hf" in family.formats and name not in {*BY_HAND, *(o[1] for o in ORIGINALS)}:
                for label, fields in VARIANTS.get(name, {"": {}}).items():
                    config = replace(TINY[name], **fields)
                    golden_from_transformers(config, label, images(config) if label in ("images", "clipped") else None)
    for result in rerun_goldens():
        print(result)


def images(config: Any) -> dict[str, Tensor]:
    """A text with two images, whose patches are numbers that follow from the name."""
    if config.family == "llama4_vl":
        v = config.vision
        pixels = numbers("pixels", (2, v.num_channels, v.image_size, v.image_size)).double()
        return {"tokens": torch.tensor([TILES]), "pixels": pixels}
    if config.family == "gemma4_vl":
        pixels = numbers("pixels", (2, 12, config.vision.patch_dim)).double()
        return {"tokens": torch.tensor([SQUARES]), "pixels": pixels, "shapes": torch.tensor(SHAPES)}
    pixels = numbers("pixels", (sum(h * w for _, h, w in GRID), config.vision.patch_dim)).double()
    return {"tokens": torch.tensor([TEXT]), "pixels": pixels, "grid": torch.tensor(GRID)}


def from_original(root: Path, folder: str, name: str, given: str, expected: str) -> None:
    """Weights and numbers as they were made beside the original code; what the case does not read is left out."""
    family, path = installed()[name], root / folder
    raw = json.loads((path / "config.json").read_text(encoding="utf-8"))
    logits = load_file(path / "expected.safetensors")[expected][:1].double()
    tokens = load_file(path / "inputs.safetensors")[given][:1, : logits.shape[1]]
    ledger = inspect(path)
    read = {ledger.account.actual[n] for step in ledger.account.steps for n in step.theirs}
    stored = load_file(path / "model.safetensors")
    kept = {n: stored[n].contiguous() for n in sorted(read) if ".visual." not in n}
    home = folder_of(family)
    home.mkdir(exist_ok=True)
    save_file(kept, home / f"{name}.safetensors")
    write_golden(
        home / f"{name}.json",
        family=name,
        reference=f"{raw['architectures'][0]}, the code released with its weights, float64, kept in float32",
        config=raw,
        weights=f"{name}.safetensors",
        inputs={"tokens": tokens.tolist()},
        expected={"logits": rows_of(logits)},
        layers={},
        limit=STORED,
    )


if __name__ == "__main__":
    main()
