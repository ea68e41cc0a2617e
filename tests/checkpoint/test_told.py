"""What is assumed, odd or contradictory in a checkpoint is told or refused by every door, and nothing else is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import zoo
from tests.some import one_in, some
from zoo.cli import main
from zoo.cli.inspect import lines
from zoo.errors import CheckpointError, ConfigError, ZooWarning
from zoo.registry import DISTRIBUTION, installed

OURS = [n for n, f in installed().families.items() if installed().origin[n].distribution == DISTRIBUTION]
STORED = [n for n in OURS if "hf" in installed()[n].formats]
DECODERS = [n for n in STORED if n not in ("bert", "roberta", "distilbert", "clip", "vit", "headed")]

Change = Callable[..., Path]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny model of a family as its config.json and model.safetensors, written once."""
    made: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in made:
            config = installed()[name].config_class.tiny()
            folder = tmp_path_factory.mktemp("told") / name
            made[name] = zoo.save(zoo.build(config, device="cpu"), folder)
        return made[name]

    return write


@pytest.fixture
def change(stored: Callable[[str], Path], tmp_path: Path) -> Change:
    """A copy of a tiny folder whose config lacks the keys `without` and has others."""

    def write(name: str = "llama", *without: str, **keys: Any) -> Path:
        raw = json.loads((stored(name) / "config.json").read_text())
        raw = {key: value for key, value in raw.items() if key not in without} | keys
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(raw))
        if not (folder / "model.safetensors").exists():
            (folder / "model.safetensors").symlink_to(stored(name) / "model.safetensors")
        return folder

    return write


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
def test_every_command_that_opens_a_checkpoint_tells(change: Change, command: str, tmp_path: Path) -> None:
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
    words = {"generate": ["-p", "One day", "--tokens", "2"], "chat": ["--tokens", "2"]}.get(command, ["--window", "64"])
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


# ---- contradictions


@pytest.mark.parametrize(
    ("keys", "words"),
    one_in(4, [
        ({"rms_norm_eps": 1e30}, "rms_norm_eps: model.norm_eps=1e+30 is not from 0 to 0.1"),
        ({"rms_norm_eps": -1e-6}, "norm_eps=-1e-06"),
        ({"rope_theta": 1e30, "rope_parameters": None}, "theta=1e+30 is not above 1 and up to"),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 8.0}}, "rope_theta: 7.0, but rope_parameters says 8.0"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 1e30}}, "factor=1e+30"),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 2.0}},
            "beta_fast=1.0 is below beta_slow=2.0",
        ),
        (
            {"rope_parameters": {
                "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 2.0, "high_freq_factor": 2.0,
            }},
            "low_freq_factor=2.0 is not below high_freq_factor=2.0",
        ),
        (
            {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0, 1.0]}},
            "rope_parameters: model.rope.short_factor has 1 numbers, but",
        ),
        ({"rope_parameters": 0}, "0 is not a group of keys"),
        ({"rope_parameters": []}, "is not a group of keys"),
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "num_attention_heads: model.num_heads=3 is not a multi"),
        ({"head_dim": 0}, "head_dim: model.head_dim=0 is below 1"),
        ({"vocab_size": -1}, "vocab_size: model.vocab_size=-1 is below 1"),
    ]),
)  # fmt: skip
def test_contradictions_are_refused_by_the_key_of_the_file_before_anything_is_written(
    change: Change, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = change("llama", **keys)
    for door in (zoo.inspect, zoo.load, lambda source: zoo.convert(source, tmp_path / "out")):
        with pytest.raises(CheckpointError) as error:
            door(folder)
        assert words in str(error.value)
        assert "config.json" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    one_in(
        4,
        [
            ("deepseek", {"q_lora_rank": 0}, "q_lora_rank: model.q_lora_rank=0 is below 1"),
            ("deepseek", {"head_dim": 99}, "head_dim: 99 is not supported"),
            ("deepseek", {"routed_scaling_factor": 0.0}, "routed_scale=0.0"),
            ("mixtral", {"num_experts_per_tok": 9}, "experts_per_token=9 exceeds"),
            ("qwen2_moe", {"mlp_only_layers": [-1]}, "mlp_only_layers: -1 is not one of"),
            ("gemma", {"query_pre_attn_scalar": -4}, "query_pre_attn_scalar=-4"),
            ("gemma", {"sliding_window_size": 3}, "sliding_window_size: 3 is not supported"),
            ("glm4_moe", {"num_local_experts": 3}, "num_local_experts: 3 is not supported"),
            ("glm", {"partial_rotary_factor": None, "rope_parameters": None}, "null is not a share of the channels"),
            ("deepseek", {"rope_interleave": None}, "rope_interleave: null is neither true nor false"),
            ("gpt2", {"scale_attn_weights": None}, "scale_attn_weights: null is neither true nor false"),
            ("t5", {"scale_decoder_outputs": None}, "scale_decoder_outputs: null is neither true nor false"),
            ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder: False is not supported"),
            ("roberta", {"pad_token_id": None}, "pad_token_id: null is not a token"),
        ],
    ),
)
def test_fields_of_a_family_are_held_to_each_other_when_they_are_read(
    change: Change, name: str, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError) as error:
        zoo.inspect(change(name, **keys))
    assert words in str(error.value)


def test_a_preset_that_is_wrong_says_which_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.presets import config

    values = config("gpt2").to_dict() | {"num_heads": "x"}
    monkeypatch.setattr("zoo.presets.catalogue.tree", lambda name, presets: values)
    with pytest.raises(ConfigError, match=r"gpt2\.yaml: model\.num_heads='x' is not int"):
        config("gpt2")


# ---- the ledger adds up


def broken(folder: Path) -> Iterator[None]:
    """The folder as it is, then with a tensor more, one less, and one of another shape."""
    yield
    kept = load_file(folder / "model.safetensors")
    first, *rest = sorted(kept)
    for tensors in (kept | {"more.x": torch.zeros(2)}, {n: kept[n] for n in rest}, kept | {first: torch.zeros(3)}):
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors")
        yield


@pytest.mark.parametrize("name", some(STORED, "llama"))
def test_every_key_and_every_tensor_is_in_one_column(change: Change, name: str) -> None:
    folder = change(name, trainers_own=1, use_cache=True, bos_token_id=1)
    for _ in broken(folder):
        ledger = zoo.inspect(folder, allow=["trainers_own"])
        for keys in (ledger.keys, *ledger.keys.groups):
            columns = [*keys.used, *keys.inert, *keys.allowed]
            assert sorted(columns) == sorted(keys.raw)
        a = ledger.account
        columns = [*a.loaded, *a.tied, *a.ignored, *a.unexpected, *a.mismatched]
        assert sorted(columns) == sorted(ledger.checkpoint.tensors)
        config, tensors = lines(ledger)[2], next(line for line in lines(ledger) if line.startswith("tensors"))
        assert config.endswith("· 1 allowed · 0 unknown")
        assert config.startswith(f"config     {len(ledger.keys.raw)} keys: {len(ledger.keys.used)} used")
        assert tensors.startswith(f"tensors    {len(ledger.checkpoint.tensors)}: {len(a.loaded)} loaded")


# ---- errors name the file's tensor


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_nan_is_refused_by_the_names_of_the_file(change: Change, name: str, tmp_path: Path) -> None:
    folder = change(name)
    tensors = load_file(folder / "model.safetensors")
    theirs = {"llama": "model.embed_tokens.weight", "gpt2": "transformer.wte.weight"}[name]
    tensors[theirs][0, 0] = float("nan")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    for door in (zoo.load, lambda source: zoo.convert(source, tmp_path / "out")):
        with pytest.raises(CheckpointError) as error:
            door(folder)
        expected = f"{folder / 'model.safetensors'}: {theirs} (our embed.weight): it contains NaN or infinity"
        assert str(error.value) == expected
