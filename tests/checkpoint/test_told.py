"""What is assumed, odd or contradictory in a checkpoint is told or refused by every door, and nothing else is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import zoo
from tests.checkpoint.conftest import Change
from tests.kinds import ENCODERS, TOWERS
from tests.some import some
from zoo.cli import main
from zoo.errors import CheckpointError, ZooWarning
from zoo.registry import DISTRIBUTION, installed

OURS = [n for n, f in installed().families.items() if installed().origin[n].distribution == DISTRIBUTION]
STORED = [n for n in OURS if "hf" in installed()[n].formats]
DECODERS = [n for n in STORED if n not in {*ENCODERS, *TOWERS, "headed"}]


def told(source: Path, **options: Any) -> list[str]:
    """The warnings of one load."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        zoo.load(source, **options)
    return [str(w.message) for w in caught if issubclass(w.category, ZooWarning)]


# ---- assumed


@pytest.mark.parametrize(
    ("key", "value", "assumed"),
    [
        ("rms_norm_eps", 1e-6, {"rms_norm_eps": 1e-6}),
        ("hidden_act", "silu", {"hidden_act": "silu"}),
        ("rope_parameters", None, {"rope_theta": 10_000.0, "rope_parameters": {"rope_type": "default"}}),
        ("max_position_embeddings", 2048, {"max_position_embeddings": 2048}),
    ],
)
@pytest.mark.parametrize("is_null", [False, True], ids=["absent", "null"])
def test_an_assumption_is_told_once_a_load(
    change: Change, key: str, value: Any, assumed: dict[str, Any], is_null: bool
) -> None:
    folder = change("llama", key, **({key: None} if is_null else {}))
    (note,) = told(folder)
    assert str(folder) in note
    assert all(f"{name}={value!r}" in note for name, value in assumed.items())
    ledger = zoo.inspect(folder)
    assert ledger.assumed == assumed
    assert ledger.to_dict()["keys"]["assumed"] == assumed


def test_all_assumptions_of_a_load_are_one_sentence(change: Change) -> None:
    folder = change("llama", "rms_norm_eps", "hidden_act", "rope_parameters")
    (note,) = told(folder)
    assert all(f"{key}=" in note for key in ("rms_norm_eps", "hidden_act", "rope_theta"))
    with pytest.warns(ZooWarning):
        model = zoo.load(folder)
    assert model.ledger.assumed.keys() == {"rms_norm_eps", "hidden_act", "rope_theta", "rope_parameters"}


@pytest.mark.parametrize("key", ["attention_bias", "mlp_bias", "tie_word_embeddings"])
def test_what_the_tensors_tell_as_well_is_no_assumption(change: Change, key: str) -> None:
    assert told(change("llama", key)) == []


@pytest.mark.parametrize("name", some(STORED, "llama", "gpt2"))
def test_nothing_is_told_of_what_zoo_wrote(stored: Callable[[str], Path], name: str) -> None:
    assert told(stored(name)) == []


def test_the_type_of_the_weights_is_the_files_and_never_assumed(change: Change) -> None:
    folder = change("llama", "dtype")
    tensors = {name: t.to(torch.bfloat16) for name, t in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    assert told(folder) == []
    ledger = zoo.inspect(folder)
    assert ledger.assumed == {}
    assert ledger.config.dtype == "bfloat16"


def test_an_assumption_within_a_group_names_the_group(change: Change) -> None:
    raw = json.loads((change("gemma3_vl") / "config.json").read_text())
    del raw["text_config"]["rms_norm_eps"], raw["text_config"]["dtype"], raw["vision_config"]["layer_norm_eps"]
    ledger = zoo.inspect(change("gemma3_vl", text_config=raw["text_config"], vision_config=raw["vision_config"]))
    assert ledger.assumed == {"text_config.rms_norm_eps": 1e-6, "vision_config.layer_norm_eps": 1e-6}


COMMANDS = {
    "inspect": (), "convert": ("OUT", "--dry-run"), "compare": ("tiny",), "verify": ("--against", "SOURCE"),
    "bench": ("prompt=3", "new=2", "repeats=1"),
}  # fmt: skip


@pytest.mark.parametrize("command", some(COMMANDS, "inspect", "convert", "compare"))
def test_every_command_that_opens_a_checkpoint_tells(
    change: Change, command: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if command == "bench":  # which starts a process
        request.getfixturevalue("quick_jobs")
    folder = change("llama", "rms_norm_eps")
    places = {"OUT": str(tmp_path / "out"), "SOURCE": str(folder)}
    words = [command, str(folder), *(places.get(word, word) for word in COMMANDS[command])]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "rms_norm_eps=1e-06" in (done.stdout if command == "inspect" else done.stderr)
    assert command == "inspect" or done.stderr.count("note: ") == 1


@pytest.mark.parametrize("command", some(["generate", "eval", "chat"], "generate"))
def test_every_command_that_makes_or_scores_text_tells(command: str, tmp_path: Path) -> None:
    zoo.convert("tiny", tmp_path / "m", format="hf")
    raw = json.loads((tmp_path / "m" / "config.json").read_text())
    del raw["rms_norm_eps"]
    (tmp_path / "m" / "config.json").write_text(json.dumps(raw))
    (tmp_path / "text.txt").write_text("One day she was very happy. " * 4)
    words = {
        "generate": ["-p", "One day", "--tokens", "2"], "chat": ["--tokens", "2"],
        "eval": ["--text", str(tmp_path / "text.txt")],
    }[command]  # fmt: skip
    done = CliRunner().invoke(main, [command, str(tmp_path / "m"), *words], input="One day\n")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("Assumed: rms_norm_eps=1e-06") == 1


# ---- odd, and told


def test_special_tokens_outside_the_vocabulary_are_told(change: Change) -> None:
    (note,) = told(change("llama", bos_token_id=61, eos_token_id=[2, 999], pad_token_id=-1))
    assert "bos_token_id=61 of 61, eos_token_id=999 of 61, pad_token_id=-1 of 61" in note


@pytest.mark.parametrize(("said", "is_told"), [(0, False), (1, True), (None, False)])
def test_a_wrong_total_size_is_told(change: Change, said: int | None, is_told: bool) -> None:
    folder = change()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    index |= {} if said is None else {"metadata": {"total_size": total + said}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    expected = [f"model.safetensors.index.json says total_size {total + 1}, its tensors take {total} bytes"] * is_told
    assert zoo.inspect(folder).notes == expected


def test_a_prefix_that_zoo_puts_nowhere_is_told(change: Change) -> None:
    assert "prefix='Say: '" in told(change("llama", prefix="Say: "))[0]
    assert told(change("llama", prefix="")) == []


# ---- other classes, other code


@pytest.mark.parametrize("name", some(DECODERS, "llama", "gemma", "t5"))
def test_another_class_is_refused_by_every_decoder(change: Change, name: str) -> None:
    own = json.loads((change(name) / "config.json").read_text())["architectures"][0]
    for kind in (own.removesuffix("ForCausalLM") + "ForQuestionAnswering", "SomeEncoderModel"):
        with pytest.raises(CheckpointError, match=rf"architectures: '{kind}' is not supported, only '{own}'"):
            zoo.inspect(change(name, architectures=[kind]))
        with pytest.raises(CheckpointError, match="architectures"):
            zoo.inspect(change(name, architectures=[own, kind]))
    for absent in ({"architectures": None}, {}):
        zoo.inspect(change(name, "architectures", **absent)).check()
    assert zoo.inspect(change(name)).notes == []


def test_a_bare_model_is_told(change: Change) -> None:
    (note,) = zoo.inspect(change("llama", architectures=["LlamaModel"])).notes
    assert "architectures='LlamaModel' has no head" in note
    assert "family=llama" in note


@pytest.mark.parametrize("name", some(STORED, "llama", "bert", "chatglm2"))
def test_remote_code_is_refused_but_for_what_the_family_was_released_with(change: Change, name: str) -> None:
    for value in ("modeling_own.OwnForCausalLM", "someone/code--modeling_own.Own", ["a", 3], None):
        with pytest.raises(CheckpointError, match="auto_map: AutoModelForCausalLM is code from the checkpoint"):
            zoo.inspect(change(name, auto_map={"AutoModelForCausalLM": value}))
    with pytest.raises(CheckpointError, match="auto_map: 'x' is not a table of classes"):
        zoo.inspect(change(name, auto_map="x"))
    zoo.inspect(change(name, auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})).check()
    assert zoo.inspect(change(name, auto_map={"AutoConfig": "own.Own"}), allow=["auto_map"]).keys.allowed == [
        "auto_map"
    ]


@pytest.mark.parametrize(
    ("name", "module"),
    [("chatglm", "chatglm"), ("chatglm2", "chatglm"), ("qwen", "qwen"), ("qwen_vl", "qwen"), ("deepseek", "deepseek")],
)
def test_released_remote_code_is_what_the_family_is(change: Change, name: str, module: str) -> None:
    code = {"AutoConfig": f"configuration_{module}.C", "AutoModelForCausalLM": f"org/x--modeling_{module}.M"}
    ledger = zoo.inspect(change(name, auto_map=code))
    assert "auto_map" in ledger.keys.inert
    assert ledger.notes == []


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("add_cross_attention", True), ("is_encoder_decoder", True), ("tie_encoder_decoder", True),
        ("pruned_heads", {"0": [1]}), ("cross_attention_hidden_size", 8), ("is_causal", False), ("is_causal", None),
        ("rope_interleaved", True),
    ],
)  # fmt: skip
def test_keys_that_make_another_model_are_inert_at_harmless_values_only(change: Change, key: str, bad: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"{key}: .* is not supported"):
        zoo.inspect(change("llama", **{key: bad}))
    fine = {"pruned_heads": {}, "cross_attention_hidden_size": None, "is_causal": True}.get(key, False)
    assert zoo.inspect(change("llama", **{key: fine})).notes == []


def test_a_decoder_that_says_it_is_none_is_told_and_an_encoder_that_says_it_is_one_refused(change: Change) -> None:
    assert zoo.inspect(change("llama", is_decoder=True)).notes == []
    assert "is_decoder=False" in zoo.inspect(change("llama", is_decoder=False)).notes[0]
    assert zoo.inspect(change("t5", is_decoder=False)).notes == []  # as transformers 5 writes every T5


@pytest.mark.parametrize("name", ["bert", "vit", "clip"])
def test_an_encoder_that_says_it_is_a_decoder_is_refused(change: Change, name: str) -> None:
    with pytest.raises(CheckpointError, match="is_decoder"):
        zoo.inspect(change(name, is_decoder=True))


def test_BLOOMs_slow_path_is_told_where_it_leaves_out_biases(change: Change) -> None:
    assert "slow_but_exact" in zoo.inspect(change("bloom", slow_but_exact=True, pretraining_tp=4)).notes[0]
    assert zoo.inspect(change("bloom", slow_but_exact=True, pretraining_tp=1)).notes == []


def test_BLOOMs_padded_beams_are_those_of_the_row_alone(stored: Callable[[str], Path]) -> None:
    model = zoo.load(stored("bloom"), dtype="float64")
    row, other = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 10, 11, 12, 13, 14, 15]])
    both = torch.cat((torch.cat((torch.zeros(1, 3, dtype=torch.long), row), 1), other))
    mask = (torch.arange(7) >= 3) | torch.tensor([[False], [True]])
    settings: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 4, "eos_token_id": []}
    padded = zoo.generate(model, both, attention_mask=mask, **settings)
    alone = zoo.generate(model, row, **settings)
    assert padded.new_tokens[0] == alone.new_tokens[0]
