"""`zoo show` tells what a model is and costs, by arithmetic."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.cli.terminal import on_terminal
from tests.distributions import good_plugin, install, python, zoo
from zoo import presets
from zoo.anatomy.size import Size

pytestmark = pytest.mark.slow  # each starts a process or composes with Hydra


def lines(*words, **environment) -> dict[str, str]:
    """What `zoo show` says on a pipe, by label."""
    done = zoo("show", *words, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split("\t") for line in done.stdout.splitlines())


def test_show_tells_shape_traits_and_costs(tmp_path):
    told = lines("llama3-8b", HF_HOME=str(tmp_path))
    assert told["llama3-8b"].startswith("Llama 3 8B (Meta, April 2024) · plugin llama 0.")
    assert told["Shape"] == "32 layers × 4096 · heads 32, kv 8, head 128 · vocab 128,256 · context 8192"
    assert (told["Attention"], told["Position"], told["MLP"]) == ("GQA 32/8", "RoPE 500k", "SwiGLU 14336")
    assert told["Parameters"] == "8.03B   embedding 525M  attention 1.34B  mlp 5.64B  head 525M"
    assert told["Memory"] == "weights 14.96 GiB bfloat16 · KV cache 128 KiB/token · 1 GiB at 8,192"
    assert told["Weights"] == "hf://meta-llama/Meta-Llama-3-8B   not in the cache, 14.96 GiB, licence llama3 (gated)"


@pytest.mark.slow
def test_lines_that_an_override_changed_name_it():
    told = lines("llama3-8b", "rope=yarn", "model.rope.factor=8")
    assert told["Position"] == "RoPE 500k YaRN ×8   ← rope=yarn model.rope.factor=8 (command line)"
    assert {name for name, text in told.items() if "←" in text} == {"Position"}
    told = lines("llama3-8b", "model.num_layers=4")
    assert {name for name, text in told.items() if "← model.num_layers=4 (command line)" in text} == {
        "Shape", "Parameters", "Memory", "Compute", "Training",
    }  # fmt: skip
    assert told["Weights"] == lines("llama3-8b")["Weights"]  # 14.96 GiB: what overrides make is nowhere to be fetched


@pytest.mark.slow
def test_an_override_without_effect_is_named_nowhere():
    assert not any("←" in text for text in lines("llama3-8b", "model.norm_eps=1e-5").values())


@pytest.mark.slow
def test_json_carries_the_exact_numbers():
    found = json.loads(zoo("show", "llama3.1-8b", "--json").stdout)
    size = Size.of(presets.config("llama3.1-8b"))
    assert found["size"]["parameters"] == sum(found["size"]["by_role"].values()) == 8_030_261_248
    assert found["size"]["cache_bytes"] == size.cache_bytes(131_072) == 16 << 30
    assert found["size"]["training_bytes"]["total"] == size.training_bytes(1, 131_072).total
    assert found["config"] == presets.config("llama3.1-8b").to_dict()
    assert found["traits"]["position"] == "RoPE 500k llama3 ×8"
    assert json.loads(zoo("show", "llama3.1-8b", "model.num_layers=2", "--json").stdout)["config"]["num_layers"] == 2


def test_show_needs_neither_torch_nor_hydra_for_a_preset_as_it_stands():
    code = """if True:
        import atexit, sys
        heavy = "torch hydra omegaconf transformers httpx2 numpy".split()
        atexit.register(lambda: print(*sorted(set(heavy) & set(sys.modules)), file=sys.stderr))
        from zoo.cli import main
        main(sys.argv[1:])
    """
    assert python(code, "show", "llama3.1-405b").stderr.split() == []
    assert python(code, "show", "llama3", "model.num_layers=2").stderr.split() == ["hydra", "omegaconf"]


HUBS = {"HF_HOME": "hub", "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "XDG_CACHE_HOME": "huggingface/hub"}


@pytest.mark.parametrize("variable", HUBS)
def test_weights_in_the_cache_are_found_where_they_are_loaded_from(tmp_path, monkeypatch, variable):
    for name in HUBS:
        monkeypatch.delenv(name, raising=False)
    repo = tmp_path / HUBS[variable] / "models--HuggingFaceTB--SmolLM2-135M"
    snapshot = repo / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "blobs" / "abc").write_bytes(b"x" * 3000)
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    (snapshot / "lost.safetensors").symlink_to("../../blobs/gone")
    (snapshot / "config.json").write_text("{}")
    told = lines("smollm2-135m", **{variable: str(tmp_path)})
    assert told["Weights"] == "hf://HuggingFaceTB/SmolLM2-135M   in the cache: 1 file, 2.93 KiB, licence apache-2.0"
    ask = "from zoo.hub.client import HubClient; print(HubClient('a/b').cache)"
    found = python(ask, **{variable: str(tmp_path)}).stdout.strip()
    assert found == json.loads(zoo("doctor", "--json", **{variable: str(tmp_path)}).stdout)["hub"]["folder"]
    assert found == str(repo.parent)


def test_an_unknown_model_is_met_with_the_nearest():
    done = zoo("show", "lama3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no model is called 'lama3'\ndid you mean: llama3")


def test_a_checkpoint_is_pointed_to_inspect():
    done = zoo("show", "hf://org/name")
    assert done.returncode == 2
    assert "zoo inspect hf://org/name" in done.stderr


def test_a_family_without_anatomy_is_shown_as_far_as_its_config_goes(tmp_path):
    install(tmp_path, "zoo-good", {"good": "zoo_good"}, good_plugin("zoo_good", "good"))
    done = zoo("show", "good", site=tmp_path)
    assert "Shape\t2 layers × 8 · context 128\n" in done.stdout
    assert "Size\tthe family 'good' has no arithmetic for its size\n" in done.stdout
    assert json.loads(zoo("show", "good", "--json", site=tmp_path).stdout)["size"] is None


def test_a_strangers_preset_is_refused_before_hydra_resolves_it(tmp_path):
    preset = "# Nosy (x)\ndefaults:\n  - /schema/nosy@_here_\n  - _self_\nhub: ${oc.env:HOME}\n"
    install(tmp_path, "zoo-nosy", {"nosy": "zoo_nosy"}, good_plugin("zoo_nosy", "nosy", {"nosy": preset}))
    for words in ([], ["model.num_layers=3"]):
        done = zoo("show", "nosy", *words, site=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "line 5: an interpolation ${, which a preset may not have" in done.stderr


def test_on_a_terminal_labels_are_aligned():
    shown = on_terminal("show", "llama3-8b").splitlines()
    assert shown[0].startswith("  llama3-8b   Llama 3 8B")
    assert shown[1].startswith("  Shape       32 layers")


@pytest.mark.parametrize("width", [30, 47, 80])
def test_no_line_is_broken_within_a_word(width):
    words = zoo("show", "deepseek-v2-lite").stdout.split()
    shown = on_terminal("show", "deepseek-v2-lite", width=width)
    assert shown.split() == words
    long = [line for line in shown.splitlines() if len(line) > width]
    assert not [line for line in long if len(line.split()) > 2]  # but for a name and one long word


def test_names_are_bold_on_a_terminal_alone():
    assert "\x1b[1mAttention" in on_terminal("show", "llama3-8b", has_style=True)
    assert "\x1b[" not in zoo("show", "llama3-8b").stdout


def test_training_is_told_without_recomputation_and_with():
    assert "44.98 GiB without recomputation, 7.26 GiB with" in lines("llama3-8b")["Training"]
    assert lines("deepseek-v2-lite")["In words"].startswith("MLA 512 + 64: a token keeps 512 numbers")


def test_two_towers_show_the_shape_of_the_one_for_texts():
    assert "Shape\ttext: 12 layers × 512 · heads 8 · vocab 49,408 · context 77\n" in zoo("show", "clip-vit-b32").stdout
    assert "Shape\t\n" not in zoo("show", "clip-vit-b32").stdout


@pytest.mark.parametrize("model", ["gpt2", "llama4-maverick", "glm-5.2", "qwen3-vl-2b", "command-a", "clip-vit-b16"])
def test_what_is_told_to_try_works(model):
    words = shlex.split(lines(model)["Try"])
    done = zoo(*words[1:])
    assert (words[:3], done.returncode) == (["zoo", "build", model], 0), done.stderr


def test_bytes_without_a_unit_are_told_of():
    done = zoo("show", "llama3", "--fits", "80")
    assert (done.returncode, done.stderr.splitlines()[1]) == (2, "a number without a unit is bytes: 80GiB, 24GB")
