"""Checkpoints that are not what they say: each ends in one message that names the file and the tensor or key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.some import one_in, some
from zoo.errors import CheckpointError

Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint in Hugging Face layout."""
    from zoo.registry import installed

    model = zoo.build(installed()["llama"].config_class.tiny(), device="cpu")
    return zoo.save(model, tmp_path / "checkpoint")


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | values
    file.write_text(json.dumps({k: v for k, v in config.items() if v != "REMOVE"}))


def shard(folder: Path, weight_map: dict[str, str]) -> None:
    """Two shards, and an index with these entries changed."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    index = {name: file for file, part in parts.items() for name in part} | weight_map
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


BAD = {
    "a missing tensor": (lambda f: edit_tensors(f, lambda t: t.pop(Q)), [Q, "missing"]),
    "an extra tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({"model.extra": torch.ones(3)})),
        ["model.extra", "unexpected", "[3]"],
    ),
    "a mis-shaped tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: torch.ones(5, 7)})),
        [Q, "[5, 7]", "[60, 24]", "model.safetensors"],
    ),
    "an integer tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: torch.ones(60, 24, dtype=torch.int32)})),
        [Q, "int32"],
    ),
    "an unknown config key": (lambda f: edit_config(f, rotary_magic=3), ["config.json", "rotary_magic"]),
    "a wrong type in the config": (lambda f: edit_config(f, hidden_size="24"), ["config.json", "hidden_size"]),
    "a missing config key": (lambda f: edit_config(f, hidden_size="REMOVE"), ["config.json", "hidden_size"]),
    "an unsupported activation": (lambda f: edit_config(f, hidden_act="gelu"), ["config.json", "hidden_act", "gelu"]),
    "sizes that contradict each other": (
        lambda f: edit_config(f, num_attention_heads=5),
        ["config.json", "num_kv_heads"],
    ),
    "an unknown family": (lambda f: edit_config(f, model_type="lama"), ["config.json", "model_type", "lama"]),
    "a quantisation nobody reads": (
        lambda f: edit_config(f, quantization_config={"quant_method": "gptq"}),
        ["config.json", "quantization_config"],
    ),
    "an absurd number of layers": (lambda f: edit_config(f, num_hidden_layers=10**7), ["config.json", "layers"]),
    "an index that leaves the folder": (lambda f: shard(f, {Q: "../other.safetensors"}), ["index.json", Q]),
    "an index that names an absent shard": (lambda f: shard(f, {Q: "model-00003-of-00002.safetensors"}), ["00003"]),
    "a tensor not where the index says": (
        lambda f: shard(f, {"model.norm.weight": "model-00001-of-00002.safetensors"}),
        ["model.norm.weight"],
    ),
    "a truncated file": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1000]),
        ["model.safetensors"],
    ),
    "a file that is no safetensors": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all."),
        ["model.safetensors"],
    ),
    "a config that is not JSON": (lambda f: (f / "config.json").write_text("{"), ["config.json"]),
    "a config with a key twice": (
        lambda f: (f / "config.json").write_text('{"model_type": "llama", "model_type": "gpt2"}'),
        ["config.json", "model_type"],
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["checkpoint"]),
    "a pickle without consent": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        ["pytorch_model.bin", "--allow-pickle"],
    ),
}


@pytest.mark.parametrize("what", one_in(3, BAD))
def test_bad_checkpoint_is_refused_by_name(what: str, folder: Path) -> None:
    spoil, words = BAD[what]
    spoil(folder)
    for use in (lambda: zoo.inspect(folder).check(), lambda: zoo.load(folder)):
        with pytest.raises(CheckpointError) as error:
            use()
        assert error.value.exit_code == 1
        for word in words:
            assert word in str(error.value), (word, str(error.value))


@pytest.mark.parametrize(
    "what", some(["a missing tensor", "an unknown config key", "a truncated file"], "an unknown config key")
)
def test_refusing_needs_no_torch_and_writes_nothing(what: str, folder: Path, tmp_path: Path) -> None:
    BAD[what][0](folder)
    code = (
        "import sys, zoo, zoo.errors\n"
        "try: zoo.convert(sys.argv[1], sys.argv[2])\n"
        "except zoo.ZooError as error: print(type(error).__name__, 'torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "CheckpointError False"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_a_tied_copy_that_differs_is_refused(folder: Path) -> None:
    edit_config(folder, tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight: it differs from model\.embed_tokens\.weight"):
        zoo.load(folder)


def test_a_nan_is_refused(folder: Path) -> None:
    edit_tensors(folder, lambda t: t[Q].__setitem__((3, 4), float("nan")))
    with pytest.raises(
        CheckpointError,
        match=r"self_attn\.q_proj\.weight \(our layers\.1\.attn\.q_proj\.weight\): it contains NaN",
    ):
        zoo.load(folder)


@pytest.mark.parametrize(
    "stored", [torch.float32, torch.bfloat16], ids=str
)  # bfloat16 is no wider, but reaches further
def test_a_value_that_overflows_the_asked_dtype_is_refused(folder: Path, stored: torch.dtype) -> None:
    edit_tensors(folder, lambda t: t[Q].__setitem__((3, 4), 1e5))
    edit_tensors(folder, lambda t: t.update({Q: t[Q].to(stored)}))
    zoo.load(folder)
    with pytest.raises(CheckpointError, match="overflows float16"):
        zoo.load(folder, dtype="float16")


def test_allowed_tensors_and_keys_pass_and_are_told(folder: Path) -> None:
    edit_config(folder, rotary_magic=3)
    edit_tensors(folder, lambda t: t.update({"model.extra": torch.ones(3)}))
    edit_tensors(folder, lambda t: t.pop(Q))
    ledger = zoo.load(folder, allow=["rotary_*", "model.extra", Q]).ledger
    assert ledger.keys.allowed == ["rotary_magic"]
    assert ledger.account.ignored == {"model.extra": "allowed by 'model.extra'"}
    assert ledger.random == ["layers.1.attn.q_proj.weight"]


def test_a_mislabelled_checkpoint_names_the_families_whose_names_it_has_and_offers_none(folder: Path) -> None:
    edit_config(folder, model_type="mixtral", num_local_experts=4, num_experts_per_tok=2, mlp_bias="REMOVE")
    with pytest.raises(CheckpointError) as error:
        zoo.inspect(folder).check()
    told = r"its tensor names are those of .*\bllama, mistral\b.*; that does not prove that it computes in the same way"
    assert re.search(told, str(error.value))
    assert "family=" not in str(error.value)
