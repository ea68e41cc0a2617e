"""A Gemma 3n inside an E4B: its weights are those that Google's MatFormer Lab takes, and the others are told."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo.checkpoint.inspection import inspect
from zoo.cli import main
from zoo.errors import ConfigError, UsageError
from zoo.models.construction import default_dtype
from zoo.presets.composition import compose
from zoo.registry import installed
from zoo.verification.exact import Float64
from zoo.verification.proving import prove_ledger

WIDE, HALF = 64, 32
SIZES: dict[str, tuple[list[int], list[int]]] = {  # as the dataset has them: layers skipped, width of each that is left
    "e2b": ([20, 21, 22, 23, 24], [HALF] * 30),
    "e1.96b": ([20, 21, 22, 23, 24], [HALF] * 4 + [WIDE] + [HALF] * 25),
    "e2.54b": ([], [HALF] * 4 + [WIDE] + [HALF] * 15 + [WIDE] * 5 + [HALF] * 10),
}
TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8, 1, 6, 50, 44]])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def e4b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 small layers in float64, random, with the keys that released files hold and no layer reads, and a tower."""
    small = [
        "dtype=float64", "vocab_size=61", "hidden_size=8", f"intermediate_size={WIDE}", "num_heads=2", "num_kv_heads=1",
        "head_dim=4", "max_seq_len=64", "sliding_window=5", "num_streams=2", "laurel_rank=3", "layer_embed_dim=3",
        "layer_vocab_size=53",
    ]  # fmt: skip
    torch.manual_seed(0)
    model: Any = zoo.build("gemma3n-e4b", *(f"model.{word}" for word in small), device="cpu", dtype="float64")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    folder = zoo.save(model, tmp_path_factory.mktemp("e4b") / "model")
    tensors = load_file(folder / "model.safetensors")
    unread = {f"{name}_proj": (4, 8) for name in "kv"} | {"k_norm": (4,)}
    for i in range(20, 35):
        tensors |= {
            f"model.layers.{i}.self_attn.{name}.weight": torch.randn(*shape, dtype=torch.float64)
            for name, shape in unread.items()
        }
    tensors = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in tensors.items()}
    tensors["model.vision_tower.x"] = torch.ones(2, dtype=torch.float64)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "zoo.json").unlink()
    return folder


def by_hand(tensors: Mapping[str, Tensor], skipped: Sequence[int], widths: Sequence[int]) -> dict[str, Tensor]:
    """What the MatFormer Lab makes of the text's tensors, under the names of the text alone."""
    kept = [i for i in range(35) if i not in skipped]
    found = {}
    for name, x in tensors.items():
        name = name.replace("language_model.", "")
        if layer := re.search(r"\.layers\.(\d+)\.", name):
            if int(layer[1]) in skipped:
                continue
            at = kept.index(int(layer[1]))
            name = name.replace(layer[0], f".layers.{at}.")
            if name.endswith(("gate_proj.weight", "up_proj.weight")) and ".mlp." in name:
                x = x[: widths[at]]
            elif name.endswith("mlp.down_proj.weight"):
                x = x[:, : widths[at]]
        elif "per_layer_model_projection" in name:
            x = x.reshape(35, -1, x.shape[1])[kept].flatten(0, 1)
        elif "embed_tokens_per_layer" in name:
            x = x.reshape(len(x), 35, -1)[:, kept].flatten(1)
        if "tower" not in name:
            found[name] = x.contiguous()
    return found


def config_by_hand(raw: dict[str, Any], skipped: Sequence[int], widths: list[int]) -> dict[str, Any]:
    kept = [i for i in range(35) if i not in skipped]
    return raw | {
        "num_hidden_layers": len(kept), "intermediate_size": widths,
        "num_kv_shared_layers": raw["num_kv_shared_layers"] - sum(i >= 20 for i in skipped),
        "activation_sparsity_pattern": [0.95] * 10 + [0.0] * (len(kept) - 10),
        "layer_types": [raw["layer_types"][i] for i in kept],
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_a_slice_is_what_is_cut_by_hand(e4b: Path, tmp_path: Path, name: str) -> None:
    """The same numbers, bit for bit, as the folder that was cut has, and as zoo's own folder of the slice."""
    skipped, widths = SIZES[name]
    raw = json.loads((e4b / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config_by_hand(raw, skipped, widths)))
    save_file(by_hand(load_file(e4b / "model.safetensors"), skipped, widths), tmp_path / "model.safetensors")
    wanted, found = zoo.load(tmp_path), zoo.load(e4b, f"model.slice={name}")
    assert found.config == wanted.config
    expected = wanted.state_dict()
    assert all(torch.equal(tensor, expected.pop(key)) for key, tensor in found.state_dict().items())
    assert not expected
    zoo.convert(e4b, tmp_path / "zoo", f"model.slice={name}")
    again = zoo.load(tmp_path / "zoo")
    assert again.config.nested is None
    assert all(torch.equal(x, y) for x, y in zip(again.parameters(), wanted.parameters(), strict=True))


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", SIZES)
def test_a_slice_computes_what_transformers_does(e4b: Path, tmp_path: Path, name: str) -> None:
    """With and without a cache, in float64; and transformers reads the folder that is written."""
    from transformers import Gemma3nForCausalLM
    from transformers.models.gemma3n import Gemma3nTextConfig

    skipped, widths = SIZES[name]
    raw = json.loads((e4b / "config.json").read_text())
    tensors = by_hand(load_file(e4b / "model.safetensors"), skipped, widths)
    with default_dtype(torch.float64), Float64():
        theirs: Any = Gemma3nForCausalLM(Gemma3nTextConfig(**config_by_hand(raw, skipped, widths))).eval()
        left = theirs.load_state_dict(tensors, strict=False)
        theirs.tie_weights()
        wanted = theirs(TOKENS).logits
    assert left.missing_keys == ["lm_head.weight"]
    assert all(re.search(r"\.self_attn\.(k|v)_", key) for key in left.unexpected_keys)  # of layers that read none
    ours = zoo.load(e4b, f"model.slice={name}")
    cache = ours.new_cache(1, TOKENS.shape[1])
    cached = torch.cat([ours(token, cache=cache) for token in TOKENS.split(1, 1)], 1)
    for found in (ours(TOKENS), cached):
        assert (found - wanted).abs().max() < 1e-9  # the order of sums, over 30 layers; logits reach 30
    zoo.convert(e4b, tmp_path / "hf", f"model.slice={name}", format="hf")
    with default_dtype(torch.float64), Float64():
        again: Any = Gemma3nForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float64).eval()
        assert torch.equal(again(TOKENS).logits, wanted)


@pytest.mark.slow
def test_what_is_left_out_is_told_and_accounted_for(e4b: Path) -> None:
    ledger = inspect(e4b, "model.slice=e2b")
    ledger.check()
    account = ledger.account
    gone = [name for name, why in account.ignored.items() if why == "left out by model.slice=e2b"]
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in gone} == {20, 21, 22, 23, 24}
    assert len(account.loaded) + len(account.ignored) + len(account.tied) == len(ledger.checkpoint.tensors)
    told = CliRunner().invoke(main, ["inspect", str(e4b), "model.slice=e2b"]).output
    assert "model.slice=e2b takes 30 of 35 layers (without 20 to 24) and 32 of 64 channels of their MLPs" in told
    assert "left out by model.slice=e2b" in told


@pytest.mark.slow
def test_a_slice_is_proven_and_its_ledger_can_be_pickled(e4b: Path) -> None:
    ledger = inspect(e4b, "model.slice=e2b")
    whole = inspect(e4b).num_parameters
    (row,) = prove_ledger(ledger)
    assert row.holds, row
    assert row.proof.elements == ledger.num_parameters
    assert row.proof.left_out == whole - ledger.num_parameters
    told = CliRunner().invoke(main, ["convert", "--prove", str(e4b), "model.slice=e2b"]).output
    assert f"{row.proof.left_out:,} of their numbers are left out" in told
    again = pickle.loads(pickle.dumps(ledger))
    assert again.account.steps
    assert list(map(str, again.account.steps)) == list(map(str, ledger.account.steps))


def test_a_slice_of_the_preset_is_the_smaller_preset() -> None:
    """4,456,156,768 is what the MatFormer Lab prints; transformers counts the keys of 10 layers that read none."""
    part, small = compose("gemma3n-e4b", "model.slice=e2b"), compose("gemma3n-e2b")
    assert part.to_dict() | {"hub": ""} == small.to_dict() | {"hub": ""}
    count = sum(torch.Size(shape).numel() for shape in part.anatomy().shapes().values())
    assert count == 4_456_156_768 - 10 * (2 * 2048 * 512 + 256)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["gemma3n-e2b", "model.slice=e2b"],
            r"cut out of a Gemma 3n E4B: num_layers=35, .*\n.*num_layers=30, .*=8192\n",
        ),
        (["gemma3n-e4b", "model.slice=e2d"], r"model\.slice='e2d' is not a slice of Gemma 3n\ndid you mean: e2b\?"),
        (
            ["gemma3n-e4b", "model.slice=e2b", "model.intermediate_size=8192"],
            r"this model has .*intermediate_size=8192",
        ),
        (["gemma3n-e4b", "model.slice=e2b", "model.global_layers=[3,4]"], r"this model has .*global_layers=\[3, 4\]"),
        (["gemma3n-e4b", "model.slice=e2b", "model.sharing_from=15"], r"this model has .*sharing_from=15"),
    ],
)
def test_what_is_no_e4b_has_no_slices(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(*words)


@pytest.mark.slow
def test_a_slice_is_not_cut_again(e4b: Path, tmp_path: Path) -> None:
    zoo.convert(e4b, tmp_path / "e2b", "model.slice=e2b", format="hf")
    with pytest.raises(ConfigError, match="if it is a slice already"):
        zoo.load(tmp_path / "e2b", "model.slice=e2b")
    tiny = zoo.save(zoo.build(installed()["gemma3n"].config_class.tiny(), device="cpu"), tmp_path / "tiny")
    with pytest.raises(ConfigError, match=r"this model has num_layers=5, sharing_from=3, intermediate_size=40"):
        zoo.load(tiny, "model.slice=e2b")


@pytest.mark.slow
def test_what_cannot_go_with_a_slice_is_refused(e4b: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gemma3n cannot store model\.num_streams=2"):
        zoo.convert(e4b, tmp_path / "x", "model.slice=e2b", format="gguf")
    with pytest.raises(UsageError, match="whose layers it changes is not known"):
        zoo.load(e4b, "model.slice=e2b", adapter=tmp_path)
    with pytest.raises(UsageError, match=r"model\.slice=e2b out of a larger model"):
        zoo.verify(e4b, "model.slice=e2b")
