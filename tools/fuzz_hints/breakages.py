"""Ways in which checkpoints arrive broken: each takes config, tensors and a random source, and says what it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor

Config = dict[str, Any]
Tensors = dict[str, Tensor]
Breakage = Callable[[Config, Tensors, Random], str]
ADDED = {  # what trainers leave, and what other models compute with
    "unsloth_version": "2024.9", "model_max_length": 512, "tokenizer_padding_side": "left", "trainer_run": "a7",
    "logit_scale": 0.5, "embedding_multiplier": 2.0, "rotary_base": 500, "qk_norm": True, "use_alibi": True,
    "attn_implementation": "eager", "final_softcap": 5.0, "parallel_residual": True, "my_flag": False, "version": "2",
}  # fmt: skip
TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "glm", "gpt2", "bert", "helium", "olmo", "lama", "t5")


def drop_tensor(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(tensors))
    del tensors[name]
    return f"without {name}"


def drop_head(config: Config, tensors: Tensors, rng: Random) -> str:
    gone = [name for name in tensors if re.match(r"lm_head|.*decoder\.weight$|pooler|classifier|score", name)]
    for name in gone:
        del tensors[name]
    return f"without {gone}"


def drop_kind(config: Config, tensors: Tensors, rng: Random) -> str:
    """The same tensor of all layers."""
    kind = _kind(rng.choice(sorted(tensors)))
    for name in [name for name in tensors if _kind(name) == kind]:
        del tensors[name]
    return f"without {kind}"


def drop_layer(config: Config, tensors: Tensors, rng: Random) -> str:
    numbers = {int(n) for name in tensors for n in re.findall(r"\.(\d+)\.", name)[:1]}
    last = max(numbers, default=0)
    for name in [name for name in tensors if re.findall(r"\.(\d+)\.", name)[:1] == [str(last)]]:
        del tensors[name]
    return f"without layer {last}"


def double_layer(config: Config, tensors: Tensors, rng: Random) -> str:
    numbers = {int(n) for name in tensors for n in re.findall(r"\.(\d+)\.", name)[:1]}
    last = max(numbers, default=0)
    for name in [name for name in tensors if re.findall(r"\.(\d+)\.", name)[:1] == [str(last)]]:
        tensors[name.replace(f".{last}.", f".{last + 1}.", 1)] = tensors[name].clone()
    del tensors[rng.choice([name for name in sorted(tensors) if f".{last + 1}." in name] or [min(tensors)])]
    return f"layer {last} twice, one tensor short"


def rename_tensor(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(tensors))
    tensors[(new := _misspelt(name, rng))] = tensors.pop(name)
    return f"{name} called {new}"


def add_tensor(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(tensors))
    new = rng.choice(["extra.weight", f"{name}.lora_A", f"{name}_scale", name + "_mask", "v_head.weight"])
    tensors[new] = torch.ones(3)
    return f"with {new}"


def add_head(config: Config, tensors: Tensors, rng: Random) -> str:
    """Rows beside the embedding, as an unused head leaves them."""
    width = config.get("hidden_size") or config.get("n_embd") or config.get("d_model") or 8
    tensors["score.weight"] = torch.ones(2, width)
    return "with score.weight"


def reshape(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(tensors))
    x = tensors[name]
    x = x if x.ndim else x[None]
    tensors[name] = rng.choice([x[:-1], torch.cat([x, x[:1]]), x.flatten(), x.mT if x.ndim > 1 else x[1:]]).contiguous()
    return f"{name} {list(x.shape)} as {list(tensors[name].shape)}"


def more_rows(config: Config, tensors: Tensors, rng: Random) -> str:
    """An embedding that a trainer has made longer than the config says."""
    for name in [
        n for n in tensors if re.search(r"embed_tokens|wte|word_embed|shared|lm_head|decoder\.(weight|bias)$", n)
    ]:
        tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    return "one more row of the embedding and the head"


def integers(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(tensors))
    tensors[name] = (100 * tensors[name]).to(torch.int8)
    return f"{name} in int8"


def pack(config: Config, tensors: Tensors, rng: Random) -> str:
    """Matrices as 8-bit floats with a scale each, in one of the ways of writing that down."""
    suffix = rng.choice(["_scale", "_scale_inv", ".scales", "_SCB", ""])
    for name in [n for n in sorted(tensors) if n.endswith("weight") and tensors[n].ndim == 2 and "embed" not in n]:
        scale = tensors[name].abs().amax() / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        if suffix:
            tensors[name + suffix] = scale.reshape(rng.choice([(), (1,)]))
    if method := rng.choice(["compressed-tensors", "fbgemm_fp8", "fp8", ""]):
        config["quantization_config"] = {"quant_method": method}
    return f"8-bit floats with {suffix or 'no scales'}, said to be {method or 'nothing'}"


def old_frequencies(config: Config, tensors: Tensors, rng: Random) -> str:
    """Buffers of an older file, and a config that has lost its base."""
    heads, layers = config.get("num_attention_heads"), config.get("num_hidden_layers")
    if not heads or not layers or not config.get("hidden_size"):
        return drop_key(config, tensors, rng)
    dim = config.get("head_dim") or config["hidden_size"] // heads
    theta = rng.choice([500.0, 10_000.0, 1e6])
    for i in range(layers):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = theta ** (-torch.arange(0, dim, 2).float() / dim)
    return f"frequencies of {theta:g}"


def drop_key(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(config))
    del config[name]
    return f"no {name}"


def misspell_key(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(config))
    config[(new := _misspelt(name, rng))] = config.pop(name)
    return f"{name} called {new}"


def add_key(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(ADDED))
    config[name] = ADDED[name]
    return f"with {name}"


def change_number(config: Config, tensors: Tensors, rng: Random) -> str:
    names = [n for n, v in config.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    name = rng.choice(sorted(names))
    before = config[name]
    config[name] = rng.choice([before * 2, before + 1, before - 1, type(before)(before / 2)])
    return f"{name} {before} as {config[name]}"


def turn_switch(config: Config, tensors: Tensors, rng: Random) -> str:
    names = sorted(n for n, v in config.items() if isinstance(v, bool))
    if not names:
        return drop_key(config, tensors, rng)
    name = rng.choice(names)
    config[name] = not config[name]
    return f"{name} as {config[name]}"


def turn_tie(config: Config, tensors: Tensors, rng: Random) -> str:
    config["tie_word_embeddings"] = not config.get("tie_word_embeddings", "lm_head.weight" not in tensors)
    return f"tie_word_embeddings as {config['tie_word_embeddings']}"


def change_word(config: Config, tensors: Tensors, rng: Random) -> str:
    names = sorted(n for n, v in config.items() if isinstance(v, str) and n != "model_type")
    if not names:
        return drop_key(config, tensors, rng)
    name = rng.choice(names)
    config[name] = rng.choice(["relu", "gelu", "silu", "yarn", config[name] + "x"])
    return f"{name} as {config[name]}"


def change_type(config: Config, tensors: Tensors, rng: Random) -> str:
    config["model_type"] = rng.choice([t for t in TYPES if t != config["model_type"]])
    return f"model_type {config['model_type']}"


def nothing(config: Config, tensors: Tensors, rng: Random) -> str:
    name = rng.choice(sorted(config))
    config[name] = None
    return f"{name} null"


BREAKAGES: tuple[Breakage, ...] = (
    drop_tensor, drop_head, drop_kind, drop_layer, double_layer, rename_tensor, add_tensor, add_head, reshape,
    more_rows, integers, pack, pack, old_frequencies, drop_key, misspell_key, misspell_key, misspell_key, add_key,
    add_key, change_number, change_number, turn_switch, turn_tie, turn_tie, change_word, change_type, change_type,
    nothing,
)  # fmt: skip


def broken(config: Mapping[str, Any], tensors: Mapping[str, Tensor], rng: Random) -> tuple[Config, Tensors, str]:
    """A copy with one thing broken: of two, one might be such that nobody can see it, and no hint would be to blame."""
    spoilt, stored = dict(config), dict(tensors)
    return spoilt, stored, rng.choice(BREAKAGES)(spoilt, stored, rng)


def _kind(name: str) -> str:
    return re.sub(r"\d+", "N", name)


def _misspelt(name: str, rng: Random) -> str:
    i = rng.randrange(len(name))
    return rng.choice(
        [
            name[:i] + name[i + 1 :] or "x",
            name[:i] + name[i] + name[i:],
            name[:i] + rng.choice("abcxyz") + name[i + 1 :],
            f"{name}_",
            f"my_{name}",
            name.upper(),
            name.replace("_", "-"),
            name.replace("_", "") + "2",
        ]
    )
