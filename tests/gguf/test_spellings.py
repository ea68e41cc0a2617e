"""Other ways in which llama.cpp's converters spelled the same model, older and newer ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.errors import UsageError, ZooWarning

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.gguf.models import ROWS, built, in_folder  # noqa: E402  (they need gguf)
from tests.gguf.test_refusals import rewritten  # noqa: E402

TOKENS = torch.randint(ROWS - 8, (2, 20), generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def check(file: Path, model: nn.Module) -> Any:
    """A file gives the logits of the model that it was made from."""
    found = zoo.load(file)
    assert (found(TOKENS) - model(TOKENS)).abs().max() < 1e-4  # decays and norms come back but for the last digit
    return found


def test_older_files_of_qwen3_next_have_one_matrix_per_delta_net(tmp_path: Path) -> None:
    """For each key head its query, its key, then values and gates of the heads that share it."""
    model = built("qwen3_next")
    tensors: dict[str, Tensor | None] = {}
    for i, layer in enumerate(model.layers):
        if not hasattr(layer, "mixer"):
            continue
        m, d = layer.mixer, model.config.delta
        parts = [getattr(m, f"{x}_proj").weight.detach() for x in ("q", "k", "v", "gate")]
        by_key = [p.unflatten(0, (d.num_key_heads, -1)) for p in parts]
        tensors[f"blk.{i}.ssm_in.weight"] = torch.cat(by_key, 1).flatten(0, 1)
        tensors |= dict.fromkeys((f"blk.{i}.attn_qkv.weight", f"blk.{i}.attn_gate.weight"))
    check(rewritten(tmp_path, "qwen3_next", {}, tensors), model)


@pytest.mark.parametrize(("case", "name"), [("qwen3_5_moe", "mlp"), ("gemma4", "moe")])
def test_gates_and_ups_of_experts_may_be_one_tensor_or_two(tmp_path: Path, case: str, name: str) -> None:
    model = built(case)
    tensors: dict[str, Tensor | None] = {}
    for i, layer in enumerate(model.layers):
        experts = getattr(layer, name).experts
        both = experts.gate_proj.detach(), experts.up_proj.detach()
        apart = {f"blk.{i}.ffn_gate_exps.weight": both[0], f"blk.{i}.ffn_up_exps.weight": both[1]}
        whole = {f"blk.{i}.ffn_gate_up_exps.weight": torch.cat(both, 1)}
        tensors |= apart | dict.fromkeys(whole) if case == "gemma4" else whole | dict.fromkeys(apart)
    check(rewritten(tmp_path, case, {}, tensors), model)


def test_blocks_for_several_tokens_at_once_are_left_out(tmp_path: Path) -> None:
    model = built("qwen3_5")
    block = {f"blk.4.{name}": torch.ones(64) for name in ("nextn.eh_proj.weight", "attn_norm.weight")}
    keys = {"qwen35.block_count": 5, "qwen35.nextn_predict_layers": 1}
    found = check(rewritten(tmp_path, "qwen3_5", keys, block), model)
    assert found.config.num_layers == 4
    assert {"blk.4.nextn.eh_proj.weight", "blk.4.attn_norm.weight"} <= set(found.ledger.account.ignored)


def test_layers_that_attend_may_be_listed(tmp_path: Path) -> None:
    keys = {"qwen35.attention.recurrent_layers": [True, False, True, False], "qwen35.full_attention_interval": None}
    check(rewritten(tmp_path, "qwen3_5 evenly", keys), built("qwen3_5 evenly"))


@pytest.mark.parametrize(("case", "arch"), [("qwen3", "qwen3vl"), ("qwen3_moe", "qwen3vlmoe"), ("qwen2", "qwen2vl")])
def test_the_text_of_a_model_that_sees_is_read(tmp_path: Path, case: str, arch: str) -> None:
    model = built(case)
    file = zoo.save(model, tmp_path / "plain.gguf", format="gguf")
    keys: dict[str, Any] = {}
    for name, value in zoo.inspect(file).checkpoint.config.items():
        head, _, rest = name.partition(".")
        if head in ("qwen2", "qwen3", "qwen3moe"):
            keys |= {name: None, f"{arch}.{rest}": value}
    keys |= {"general.architecture": arch, f"{arch}.rope.dimension_sections": [2, 3, 3, 0]}
    keys |= {f"{arch}.n_deepstack_layers": 2} if arch != "qwen2vl" else {}
    file = rewritten(tmp_path, case, keys)
    with pytest.warns(ZooWarning, match="computes the same without pictures"):
        check(file, model)


def test_the_bounds_of_a_released_yarn_are_not_whole_channels(tmp_path: Path) -> None:
    """gpt-oss was released with truncate=false, which no key of a file says."""
    keys = {f"gpt-oss.rope.scaling.{n}": v for n, v in (("type", "yarn"), ("factor", 4.0))}
    found = zoo.inspect(rewritten(tmp_path, "gpt_oss", keys | {"gpt-oss.rope.scaling.original_context_length": 16}))
    assert (found.config.rope.scaling, found.config.rope.truncate) == ("yarn", False)
    assert found.family.dialect("gguf").to_config(found.config)["gpt-oss.rope.scaling.factor"] == 4.0


def test_a_gemma_3n_may_say_what_llama_cpp_has_in_its_code(tmp_path: Path) -> None:
    """As its converter writes it: a width and a bound of gates for each layer."""
    keys = {
        "gemma3n.feed_forward_length": [96] * 11, "gemma3n.final_logit_softcapping": 30.0,
        "gemma3n.activation_sparsity_scale": [1.6448533535003662] * 10 + [float("-inf")],
    }  # fmt: skip
    check(rewritten(tmp_path, "gemma3n", keys), built("gemma3n"))


def test_a_gemma_4_without_a_cap_in_its_file_has_llama_cpps(tmp_path: Path) -> None:
    found = zoo.inspect(rewritten(tmp_path, "gemma4", {"gemma4.final_logit_softcapping": None}))
    assert found.config.final_softcap == 30.0
    assert "gemma4.final_logit_softcapping" in found.assumed


@pytest.mark.parametrize(
    ("case", "key", "value"),
    [
        ("gpt_oss", "gpt-oss", 2),
        ("olmo3", "olmo2", 4),
        ("exaone4 32b", "exaone4", 4),
        ("gemma3", "gemma3", 6),
        ("llama4", "llama4", 4),
    ],
)
def test_what_llama_cpp_takes_anyway_may_be_said(tmp_path: Path, case: str, key: str, value: int) -> None:
    check(rewritten(tmp_path, case, {f"{key}.attention.sliding_window_pattern": value}), built(case))


@pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")
def test_mxfp4_is_for_experts_and_loses_nothing_of_what_was_in_it(tmp_path: Path) -> None:
    file = zoo.save(built("gpt_oss", torch.bfloat16), tmp_path / "m.gguf", format="gguf", type="mxfp4")
    tensors = {t.name: t for t in gguf.GGUFReader(file).tensors}
    assert {t.tensor_type.name for n, t in tensors.items() if n.endswith("_exps.weight")} == {"MXFP4"}
    assert {t.tensor_type.name for n, t in tensors.items() if "attn_q.weight" in n} == {"BF16"}
    before = zoo.load(file)
    after = zoo.load(zoo.save(before, tmp_path / "n.gguf", format="gguf", type="mxfp4")).state_dict()
    assert all(torch.equal(x, after[name]) for name, x in before.state_dict().items())
    _, folder = in_folder("llama", tmp_path / "hf")
    with pytest.raises(UsageError, match="has no experts"):
        zoo.convert(folder, tmp_path / "o.gguf", format="gguf", type="mxfp4")
