"""Which family a folder is: every family's own is named, a mislabelled one and one of another kind are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

import zoo
from tests.goldens import goldens_of
from zoo.cli import main
from zoo.errors import ZooError
from zoo.registry import DISTRIBUTION, installed

OURS = [name for name, family in installed().families.items() if installed().origin[name].distribution == DISTRIBUTION]

# What config.json of a released checkpoint says, as far as it tells its kind.
UNKNOWN = {
    "qwen3_vl_text": "the decoder of a Qwen3-VL without its tower",
}


def inspect(folder: Path) -> Result:
    return CliRunner().invoke(main, ["inspect", str(folder)], catch_exceptions=False)


def written(name: str, folder: Path, **changed: Any) -> Path:
    family = installed()[name]
    model = zoo.build(replace(family.config_class.tiny(), **changed), device="cpu")
    return zoo.save(model, folder / name, format="hf" if "hf" in family.formats else "zoo")


def relabel(folder: Path, *dropped: str, **keys: Any) -> None:
    file = folder / "config.json"
    raw = {key: value for key, value in json.loads(file.read_text()).items() if key not in dropped}
    file.write_text(json.dumps(raw | keys))


# model_type -> family, of the releases that each family names in its documentation
TYPES = {
    "bert": "bert", "roberta": "roberta", "mpnet": "mpnet", "electra": "electra", "albert": "albert",
    "xlm-roberta": "xlm_roberta", "xlm-roberta-xl": "xlm_roberta",
    "distilbert": "distilbert", "modernbert": "modernbert",
    "deberta-v2": "deberta", "bloom": "bloom", "clip": "clip",
    "clip_text_model": "clip", "clip_vision_model": "clip", "deepseek_v2": "deepseek", "deepseek_v3": "deepseek",
    "deepseek_v32": "deepseek_v32", "glm_moe_dsa": "deepseek_v32",
    "gemma": "gemma", "gemma2": "gemma", "gemma3_text": "gemma", "gemma3": "gemma3_vl",
    "gemma3n": "gemma3n", "gemma3n_text": "gemma3n", "gemma4": "gemma4", "gemma4_text": "gemma4", "glm": "glm",
    "glm4": "glm",
    "glm4_moe": "glm4_moe", "gpt2": "gpt2", "gpt_oss": "gpt_oss", "gptj": "gptj", "llama": "llama",
    "llama4_text": "llama4", "llama4": "llama4_vl",
    "mistral": "mistral", "ministral": "mistral", "mixtral": "mixtral", "qwen2": "qwen2", "qwen2_moe": "qwen2_moe",
    "qwen3": "qwen3", "qwen3_moe": "qwen3_moe", "qwen3_next": "qwen3_next", "qwen3_5": "qwen3_5",
    "qwen3_5_text": "qwen3_5", "qwen3_5_moe": "qwen3_5_moe", "qwen3_5_moe_text": "qwen3_5_moe", "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl", "qwen3_vl": "qwen3_vl", "qwen3_vl_moe": "qwen3_vl_moe",
    "t5": "t5", "mt5": "t5", "umt5": "t5", "marian": "transformer", "vit": "vit", "siglip": "siglip",
    "siglip_text_model": "siglip", "siglip_vision_model": "siglip", "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2", "siglip2": "siglip2", "siglip2_text_model": "siglip2",
    "siglip2_vision_model": "siglip2",
    "baichuan": "baichuan", "cohere": "cohere", "cohere2": "cohere", "ernie4_5": "ernie4_5", "exaone": "exaone",
    "exaone4": "exaone4", "falcon": "falcon", "RefinedWeb": "falcon", "RefinedWebModel": "falcon",
    "gpt_neox": "gpt_neox", "granite": "granite", "granitemoe": "granitemoe", "helium": "helium",
    "internlm2": "internlm2", "internlm3": "internlm3", "minicpm": "minicpm", "minicpm3": "minicpm3",
    "olmo2": "olmo2", "olmo3": "olmo2", "opt": "opt", "phi3": "phi3", "smollm3": "smollm3", "stablelm": "stablelm",
    "starcoder2": "starcoder2",
}  # fmt: skip


def test_each_model_type_is_one_familys() -> None:
    for kind, name in TYPES.items():
        assert [family.name for family, _ in installed().detect({"model_type": kind}, "hf")] == [name], kind
    golden = [golden for name in OURS for golden in goldens_of(name)]
    for each in golden:
        assert [family.name for family, _ in installed().detect(each.config, "hf")] == [each.family], each.name


def test_what_a_family_names_is_there() -> None:
    """Classes, dialects and what makes pictures into inputs."""
    for name in OURS:
        family = installed()[name]
        references = [family.config, family.model, *family.formats.values(), *filter(None, [family.pictures])]
        assert all(resolve_name(reference) is not None for reference in references)
    seeing = {
        "gemma3_vl", "gemma4_vl", "llama4_vl", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "qwen_vl",
    }  # fmt: skip
    assert {name for name in OURS if installed()[name].pictures} == seeing


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_folder_of_each_family_is_named(name: str, tmp_path: Path) -> None:
    done = inspect(written(name, tmp_path))
    assert done.exit_code == 0, done.stderr
    assert f"family     {name} (" in done.stdout
    assert "0 missing · 0 unexpected" in done.stdout


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({}, "6 tensors of 36 do not match the llama"),
        # as in the hub's files, whose keys LLaMA's config does not even have
        ({"use_sliding_window": False, "sliding_window": None, "max_window_layers": 36}, "max_window_layers"),
    ],
    ids=["by its tensors", "by its keys"],
)
def test_a_mislabelled_folder_is_refused_and_named(keys: dict[str, Any], refused: str, tmp_path: Path) -> None:
    folder = written("qwen3", tmp_path, sliding_window=None, sliding_layers=None)
    relabel(
        folder,
        "architectures",
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "layer_types",
        model_type="llama",
        **keys,
    )
    done = inspect(folder)
    assert done.exit_code == 1
    assert refused in done.stderr
    assert "this looks like qwen3 (score 1.00).  Try: family=qwen3" in done.stderr
    assert CliRunner().invoke(main, ["inspect", str(folder), "family=qwen3"]).exit_code == 0


@pytest.mark.parametrize("name", OURS)
def test_any_family_that_is_asked_for_refuses_what_is_not_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8, "vocab_size": 61}))
    save_file({"wte.weight": torch.zeros(61, 8)}, tmp_path / "model.safetensors")
    with pytest.raises(ZooError):
        zoo.inspect(tmp_path, family=name).check()


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_zoo_lacks_is_said_of_a_kind_that_it_does_not_know(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "text_config": {}, "vocab_size": 61}))
    save_file({"model.embed_tokens.weight": torch.zeros(61, 2)}, tmp_path / "model.safetensors")
    done = inspect(tmp_path)
    assert done.exit_code == 1
    assert f"zoo does not know '{kind}'" in done.stderr
    assert UNKNOWN[kind] in done.stderr
    assert "Traceback" not in done.stderr
