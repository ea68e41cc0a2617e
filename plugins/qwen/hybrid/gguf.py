"""Qwen3-Next and the text of Qwen3.5 as llama.cpp stores them: norms with the 1 added, decays as what they become.

Heads of values that share a key stand one after the other here and in Qwen3-Next's files; in Qwen3.5's the first of
each key comes first, then the second of each. The blocks for several tokens at once, behind the layers, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, UsageError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    ignore,
    key,
    must_be,
    rename,
    reshape,
    rule,
    split_heads,
    write_keys,
)
from zoo.weights import split as split_rows
from zoo.weights.gguf.by_layer import layers_where
from zoo.weights.gguf.experts import EXPERTS, expert_keys
from zoo.weights.gguf.layout import WHERE, by_architecture, decoder_table, read_decoder, write_decoder
from zoo.weights.gguf.ops import log_of_negated, plus_one, tiled

from .config import EVERY, Qwen3NextConfig, Qwen35Config, Qwen35MoEConfig
from .mixer import DeltaConfig

NORMS = {"attn_norm": "attn_norm", "mlp_norm": "post_attention_norm"}
ON_HEADS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}
AHEAD = "multi-token prediction, which zoo does not read from llama.cpp's files"
QKV = tuple(f"mixer.{x}_proj.weight" for x in "qkv")
BOTH = ("mlp.experts.gate_proj", "mlp.experts.up_proj")


@dataclass(frozen=True)
class HybridFile:
    """The dialect of one family."""

    config: type[Qwen35Config]
    arch: str
    is_sectioned: bool = True  # three kinds of positions share the rotary channels; in a text all three are one
    is_tiled: bool = True  # heads of values by their number within those of a key, and then by key

    def matches(self) -> Any:
        return by_architecture(self.arch)

    def from_config(self, hf: ForeignConfig) -> Qwen35Config:
        if self.has_experts:
            hf.raw = {f"{self.arch}.feed_forward_length": 0, **hf.raw}  # of MLPs that no layer has
        values = read_decoder(hf, self.arch, self.config, *self.keys, has_partial=True, **self.sections(hf))
        if issubclass(self.config, Qwen3NextConfig) and (width := hf.raw[f"{self.arch}.feed_forward_length"]):
            values["dense_intermediate_size"] = width
        values["num_layers"] -= self.blocks_behind(hf, values["num_layers"])
        layers = self.attention_layers(hf, values["num_layers"])
        d = DeltaConfig(**hf.read(DeltaConfig, self.delta_keys), value_dim=hf.raw[f"{self.arch}.ssm.state_size"])
        hf.require(**{f"{self.arch}.ssm.inner_size": d.values})
        return self.config(**values, delta=d, attention_layers=layers)

    @property
    def has_experts(self) -> bool:
        return issubclass(self.config, Qwen35MoEConfig)

    @property
    def keys(self) -> tuple[Any, ...]:
        """The sizes of experts."""
        names = {
            "intermediate_size": "expert_feed_forward_length",
            "shared_intermediate_size": "expert_shared_feed_forward_length",
        }
        widths = (key(ours, f"{self.arch}.{theirs}") for ours, theirs in names.items())
        return (*expert_keys(self.arch), *widths) if self.has_experts else ()

    @property
    def delta_keys(self) -> tuple[Any, ...]:
        """The sizes of the delta nets, whose keys and values are equally wide."""
        names = {
            "num_key_heads": "group_count", "num_heads": "time_step_rank", "key_dim": "state_size",
            "conv_kernel": "conv_kernel",
        }  # fmt: skip
        return tuple(key(ours, f"{self.arch}.ssm.{theirs}") for ours, theirs in names.items())

    def sections(self, hf: ForeignConfig) -> dict[str, Any]:
        """Refuse sections that leave a pair of rotary channels without a position; else they are as they are."""
        name = f"{self.arch}.rope.dimension_sections"
        if not self.is_sectioned:
            return {}
        found = hf.as_type(list[int], hf[name], name)
        pairs = hf.as_type(int, hf[f"{self.arch}.rope.dimension_count"], f"{self.arch}.rope.dimension_count") // 2
        if len(found) not in (3, 4) or not all(i < 3 * found[i % 3] for i in range(min(pairs, 4096))):
            raise CheckpointError(hf.file, name, f"{found} does not reach over {pairs:,} pairs of channels")
        return {name: found}

    def blocks_behind(self, hf: ForeignConfig, count: int) -> int:
        """How many blocks behind the layers are for several tokens at once. Raises CheckpointError for other blocks."""
        name = f"{self.arch}.nextn_predict_layers"
        more = hf.as_type(int, hf.get(name, 0), name)
        hf.assumed.pop(name, None)
        if not 0 <= more < count:
            raise CheckpointError(hf.file, name, f"{more} of {count} blocks cannot stand behind the layers")
        for i in range(count - more, count):
            if f"blk.{i}.nextn.eh_proj.weight" not in hf.tensors:
                raise CheckpointError(hf.file, name, f"says that block {i} is for several tokens, but it is a layer")
        if any(tensor.startswith(f"blk.{count}.") for tensor in hf.tensors):
            raise CheckpointError(hf.file, f"{self.arch}.block_count", f"is {count}, but the file has more blocks")
        return more

    def attention_layers(self, hf: ForeignConfig, count: int) -> list[int]:
        """The layers that attend: those that a list does not call recurrent, or every so manieth."""
        name, step = f"{self.arch}.attention.recurrent_layers", f"{self.arch}.full_attention_interval"
        if name in hf:
            every = layers_where(hf, name, hf.raw[f"{self.arch}.block_count"])
            hf.ignore(step)
            return [i for i in range(count) if i not in every]
        interval = hf.as_type(int, hf.get(step, EVERY), step)
        if interval < 1:
            raise CheckpointError(hf.file, step, f"{interval} is below 1")
        return list(range(interval - 1, count, interval))

    def to_config(self, c: Qwen35Config) -> dict[str, Any]:
        d, where, pairs = c.delta, f"{WHERE} of {self.arch}", int(c.head_dim * c.rope.partial) // 2
        must_be(c, where, attention_bias=False, num_mtp_layers=0)
        if isinstance(c, Qwen3NextConfig):
            must_be(c, where, is_renormalised=True, dense_layers=[])
        if d.value_dim != d.key_dim:
            why = f"llama.cpp takes it to be model.delta.key_dim={d.key_dim}"
            raise UsageError(f"{where} cannot store model.delta.value_dim={d.value_dim}", why=why)
        out = write_decoder(c, self.arch, *self.keys, has_partial=True)
        if self.has_experts:
            del out[f"{self.arch}.feed_forward_length"]
        if isinstance(c, Qwen3NextConfig) and c.dense_intermediate_size:
            out[f"{self.arch}.feed_forward_length"] = c.dense_intermediate_size
        if self.is_sectioned:
            out[f"{self.arch}.rope.dimension_sections"] = [(pairs + 2) // 3, (pairs + 1) // 3, pairs // 3, 0]
        return out | {
            f"{self.arch}.full_attention_interval": self.interval(c),
            f"{self.arch}.ssm.inner_size": d.values,
            **write_keys(d, self.delta_keys),
        }

    def interval(self, c: Qwen35Config) -> int:
        """Of how many layers the last attends. Raises UsageError where they do not alternate evenly."""
        attending = [i for i in range(c.num_layers) if c.attends(i)]
        step = attending[0] + 1 if attending else c.num_layers + 1
        if attending != list(range(step - 1, c.num_layers, step)):
            what = f"{WHERE} of {self.arch} cannot store model.attention_layers={attending}"
            raise UsageError(what, why="it can store only that of so many layers the last attends")
        return step

    def mapping(self, c: Qwen35Config) -> Table:
        d = c.delta
        queries = rule(("attn.q_proj", "attn.gate_proj"), "attn_q", split_heads(c.num_heads, *[c.head_dim] * 2))
        norms = [rule(ours, theirs, plus_one) for ours, theirs in (NORMS | ON_HEADS).items()]
        behind = [ignore(f"blk.{c.num_layers + i}", AHEAD) for i in range(4)]
        fused = rule(BOTH, "ffn_gate_up_exps.weight", split_rows(*[c.intermediate_size] * 2, dim=1))
        gate = rule(
            "mlp.shared_gate.weight", "ffn_gate_inp_shexp.weight", reshape((1, c.hidden_size), (c.hidden_size,))
        )
        sparse = (*EXPERTS, fused, gate) if self.has_experts else ()
        table = decoder_table(
            c, queries, *self.mixers(d), *sparse, norms=norms, norm=rule("norm", "output_norm", plus_one)
        )
        return Table(table.rules, table.ignored, behind if self.is_tiled else ())

    def mixers(self, d: DeltaConfig) -> list[Entry]:
        """The delta nets' tensors."""
        channels = 2 * d.keys + d.values
        conv = reshape((channels, 1, d.conv_kernel), (channels, d.conv_kernel))
        rows = split_rows(d.keys, d.keys, d.values)
        alike = [rename("mixer.norm", "ssm_norm")]
        if self.is_tiled:
            by_key = tiled(d.num_key_heads, d.num_heads)
            return [
                *alike,
                rule(QKV, "attn_qkv.weight", rows >> by_key),
                rule("mixer.gate_proj", "attn_gate", by_key),
                rule("mixer.beta_proj", "ssm_beta", by_key),
                rule("mixer.decay_proj", "ssm_alpha", by_key),
                rule("mixer.A_log", "ssm_a", log_of_negated >> by_key),
                rule("mixer.dt_bias", "ssm_dt.bias", by_key),
                rule(
                    "mixer.conv.weight",
                    "ssm_conv1d.weight",
                    tiled(d.num_key_heads, d.num_heads, skip=2 * d.keys) >> conv,
                ),
                rule("mixer.o_proj", "ssm_out", tiled(d.num_key_heads, d.num_heads, dim=1)),
            ]
        shared = d.num_heads // d.num_key_heads
        together = split_heads(d.num_key_heads, d.key_dim, d.key_dim, *[shared * d.value_dim] * 2)
        return [
            *alike,
            rule(QKV, "attn_qkv.weight", rows),
            rule((*QKV, "mixer.gate_proj.weight"), "ssm_in.weight", together),  # as older files have it
            rename("mixer.gate_proj", "attn_gate"),
            rule(("mixer.beta_proj", "mixer.decay_proj"), "ssm_ba", split_heads(d.num_key_heads, shared, shared)),
            rule("mixer.A_log", "ssm_a", log_of_negated),
            rename("mixer.dt_bias", "ssm_dt.bias"),
            rule("mixer.conv.weight", "ssm_conv1d.weight", conv),
            rename("mixer.o_proj", "ssm_out"),
        ]


NEXT = HybridFile(Qwen3NextConfig, "qwen3next", is_sectioned=False, is_tiled=False)
DENSE, SPARSE = HybridFile(Qwen35Config, "qwen35"), HybridFile(Qwen35MoEConfig, "qwen35moe")
QWEN3_NEXT, QWEN3_5, QWEN3_5_MOE = (
    Dialect(from_config=d.from_config, to_config=d.to_config, mapping=d.mapping, matches=d.matches())
    for d in (NEXT, DENSE, SPARSE)
)
