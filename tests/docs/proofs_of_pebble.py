"""Run where the tutorial's family is installed: right and with planted mistakes, against transformers' Phi, as JSON.

Pebble is made up, and computes what Phi does: Phi's files have q, k and v apart.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import transformers

from tests.verification.parallel import report
from tests.verification.seeded import right
from zoo.anatomy.config import RopeConfig
from zoo.registry import installed
from zoo.verification import Verification
from zoo.verification.front import judge
from zoo.verification.inputs import inputs_for
from zoo.verification.reference import side_of, zoo_side
from zoo.weights import Table, rename, under

PHI = Table(
    rename("embed", "model.embed_tokens"),
    under(
        "layers.{i}",
        "model.layers.{i}",
        rename("norm", "input_layernorm"),
        rename("attn.o_proj", "self_attn.dense"),
        rename("attn", "self_attn"),
        rename("mlp.up_proj", "mlp.fc1"),
        rename("mlp.down_proj", "mlp.fc2"),
    ),
    rename("norm", "model.final_layernorm"),
    rename("lm_head", "lm_head"),
)


def config() -> Any:
    return installed()["pebble"].config_class(
        vocab_size=61, hidden_size=64, intermediate_size=80, num_layers=3, num_heads=4, num_kv_heads=4, head_dim=16,
        max_seq_len=128, norm_eps=3e-5, rope=RopeConfig(theta=1000.0, partial=0.5),
    )  # fmt: skip


def phi(model: Any) -> Any:
    """The same weights in transformers, whose rotary frequencies stay as exact as float32."""
    c = model.config
    theirs = transformers.PhiForCausalLM(
        transformers.PhiConfig(
            vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
            num_hidden_layers=c.num_layers, num_attention_heads=c.num_heads, layer_norm_eps=c.norm_eps,
            max_position_embeddings=c.max_seq_len, hidden_act="gelu_new", pad_token_id=None, bos_token_id=1,
            eos_token_id=2, attn_implementation="eager",
            rope_parameters={"rope_type": "default", "rope_theta": c.rope.theta, "partial_rotary_factor": 0.5},
        )
    ).eval()  # fmt: skip
    steps, _ = PHI.plan({name: tuple(p.shape) for name, p in model.named_parameters()})
    weights = {step.theirs[0]: model.get_parameter(step.ours[0]) for step in steps}
    theirs.to(next(model.parameters()).dtype).load_state_dict(weights)
    return theirs


def main() -> None:
    torch.set_num_threads(1)

    def make(dtype: str) -> Any:
        return right(config()).to(getattr(torch, dtype))

    def hold(model: Any) -> Verification:
        whole = make(str(next(model.parameters()).dtype).removeprefix("torch."))
        inputs = inputs_for(model)
        return judge(model, zoo_side(model, inputs, "a Pebble"), side_of(phi(whole), model, PHI, inputs), inputs)

    json.dump(report(make, hold), sys.stdout)


if __name__ == "__main__":
    main()
