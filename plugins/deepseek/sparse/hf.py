"""The config.json of DeepSeek-V3.2 and GLM-5: V3's, and what the indexer is and which layers have one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights import Dialect, ForeignConfig, key, write_keys, write_rope, write_tokens
from zoo.weights.ahead import read_loaded, write_loaded

from ..hf import GROUPS, INERT, KEYS
from ..hf_table import mapping, mapping_of
from .config import DeepSeekV32Config

CLASSES = {"deepseek_v32": "DeepseekV32ForCausalLM", "glm_moe_dsa": "GlmMoeDsaForCausalLM"}  # of each model_type
OWN_KEYS = (
    *(k for k in KEYS if k.ours not in ("moe_layer_freq", "rope_interleaved", "num_dense_layers", "num_experts")),
    key("num_experts", "n_routed_experts", also=("num_experts",)),
    *GROUPS,
    key("num_index_heads", "index_n_heads"),
    key("index_head_dim"),
    key("num_chosen", "index_topk"),
)
DEFAULTS = {  # of transformers, where a file leaves a key out
    "deepseek_v32": {"max_seq_len": 163840, "norm_eps": 1e-6}, "glm_moe_dsa": {"max_seq_len": 202752, "norm_eps": 1e-5},
}  # fmt: skip
TYPES, PATTERN, EVERY, OFFSET = "indexer_types", "index_topk_pattern", "index_topk_freq", "index_skip_topk_offset"
FIRST = 2  # of transformers, where a file has no offset
LETTERS = {"F": "full", "S": "shared"}
DENSE, LISTED = "first_k_dense_replace", "mlp_layer_types"
DENSE_USUALLY = 3  # where a file says nothing, as in transformers


def from_config(hf: ForeignConfig) -> DeepSeekV32Config:
    kind = "glm_moe_dsa" if (is_glm := hf.get("model_type") == "glm_moe_dsa") else "deepseek_v32"
    hf.of_class(CLASSES[kind], code=("deepseek",))
    defaults = DEFAULTS[kind]
    keys = (replace(k, default=defaults[k.ours]) if k.ours in defaults else k for k in OWN_KEYS)
    values = hf.read(DeepSeekV32Config, keys)
    hf.expect(hidden_act="silu")
    nope, rope = values["nope_head_dim"], values["rope_head_dim"]
    hf.require(mlp_bias=False, num_key_value_heads=values["num_heads"], qk_head_dim=nope + rope, moe_layer_freq=1)
    hf.require(scoring_func="sigmoid", topk_method="noaux_tc", rope_interleave=True, indexer_rope_interleave=is_glm)
    _check_types(hf, values["num_layers"])
    hf.ignore(*INERT, "index_share_for_mtp_iteration", "head_dim", "moe_router_dtype")
    return DeepSeekV32Config(
        **values, **read_loaded(hf), **hf.tokens(), rope=hf.rope(), num_dense_layers=_dense(hf, values["num_layers"]),
        index_rope_interleaved=is_glm, indexer_layers=_choosing(hf, values["num_layers"]) if is_glm else None,
    )  # fmt: skip


def _check_types(hf: ForeignConfig, count: int) -> None:
    """Refuse a layer without an indexer; what has one was called differently before transformers 5.20."""
    before = ["deepseek_sparse_attention"] * count
    hf.require(layer_types=before if hf.raw.get("layer_types") == before else ["indexed_attention"] * count)


def _dense(hf: ForeignConfig, count: int) -> int:
    """How many layers are dense, by their number or by a list of all, which have to agree."""
    number = DENSE_USUALLY if hf.get(DENSE) is None else hf.as_type(int, hf[DENSE], DENSE)
    if (listed := hf.get(LISTED)) is None:
        return number
    dense = listed.count("dense") if isinstance(listed, list) else 0
    if listed != ["dense"] * dense + ["sparse"] * (count - dense):
        raise CheckpointError(hf.file, LISTED, f"{listed!r} is not {count} words, 'dense' first and 'sparse' after")
    if hf.get(DENSE) is None:
        return dense
    _one(hf, {DENSE: min(number, count), LISTED: dense}, dense)
    return number


def _choosing(hf: ForeignConfig, count: int) -> list[int] | None:
    """The layers that have an indexer, by whatever says so; None: all."""
    ways: dict[str, list[int] | None] = {}
    if (types := hf.get(TYPES)) is not None:
        ways[TYPES] = _full(hf, TYPES, types, count)
    if (pattern := hf.get(PATTERN)) is not None:
        words = [LETTERS.get(c, c) for c in pattern] if isinstance(pattern, str) else pattern
        ways[PATTERN] = _full(hf, PATTERN, words, count)
    first = hf.get(OFFSET)
    first = FIRST if first is None else hf.as_type(int, first, OFFSET)
    if (every := hf.get(EVERY)) is not None:
        every = hf.as_type(int, every, EVERY)
        if every < 1:
            raise CheckpointError(hf.file, EVERY, f"{every} is less than 1")
        ways[EVERY] = _all([i for i in range(count) if max(i - first + 1, 0) % every == 0], count)
    return _one(hf, ways, None)


def _full(hf: ForeignConfig, name: str, words: Any, count: int) -> list[int] | None:
    if not isinstance(words, list) or not {*map(str, words)} <= {*LETTERS.values()}:
        raise CheckpointError(hf.file, name, f"{clean(repr(words), 60)} is not a list of 'full' and 'shared'")
    if len(words) != count:
        raise CheckpointError(hf.file, name, f"it has {len(words)} entries for {count} layers")
    return _all([i for i, word in enumerate(words) if word == "full"], count)


def _all(layers: list[int], count: int) -> list[int] | None:
    return None if len(layers) == count else layers


def _one(hf: ForeignConfig, ways: dict[str, Any], default: Any) -> Any:
    """What all that a file says in several ways comes to. Raises CheckpointError where they do not agree."""
    for name, value in ways.items():
        if value != (first := next(iter(ways.values()))):
            what = f"says {value}, and {next(iter(ways))} says {first}"
            raise CheckpointError(hf.file, name, what, hint="both are of the same layers: remove the one that is wrong")
    return next(iter(ways.values()), default)


def to_config(c: DeepSeekV32Config) -> dict[str, Any]:
    kind = "glm_moe_dsa" if c.index_rope_interleaved else "deepseek_v32"
    types = ["full" if c.chosen_by(i) == i else "shared" for i in range(c.num_layers)]
    return {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "hidden_act": "silu",
        **write_keys(c, OWN_KEYS),
        **write_tokens(c),
        DENSE: c.num_dense_layers,
        "num_key_value_heads": c.num_heads,
        "scoring_func": c.scoring,
        "topk_method": "noaux_tc",
        "rope_parameters": write_rope(c.rope),
        "num_nextn_predict_layers": c.num_mtp_layers,
        **({TYPES: types, "indexer_rope_interleave": True} if c.index_rope_interleaved else {}),
        **write_loaded(c.num_mtp_layers),
    }


DEEPSEEK_V32 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping_of)
