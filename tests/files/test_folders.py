"""Folders as people have them: what each is, and what to type next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

LORA = {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.1-8B", "r": 16}


def filled(folder: Path, *names: str, config: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if config:
        (folder / "config.json").write_text("{}")
    for name in names:
        if name.endswith(".safetensors"):
            save_file({"a": torch.ones(2)}, folder / name)
        elif name.endswith((".bin", ".pth", ".pt", ".ckpt")):
            torch.save({"a": torch.ones(2)}, folder / name)
        else:
            (folder / name).write_text("{}")
    return folder


def refused(path: Path, *, allow_pickle: bool = False) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(path, allow_pickle=allow_pickle)
    return str(error.value)


@pytest.mark.parametrize("name", ["my-finetune.safetensors", "model.fp16.safetensors", "diffusion.safetensors"])
def test_the_only_file_that_may_be_the_weights_is_taken_and_told(name: str, tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", name, "training_args.bin", "optimizer.pt", "rng_state_0.pth", "scheduler.pt")
    found = open_checkpoint(folder)
    assert found.files == (folder / name,)
    assert found.notes == (f"the weights are {name}, the only file that may be them",)
    assert open_checkpoint(folder / name).notes == ()


@pytest.mark.parametrize("name", ["weights.pth", "last.ckpt", "my-model.bin"])
def test_an_odd_pickle_still_needs_consent(name: str, tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", name, "training_args.bin")
    assert f"{name}: is a pickle" in refused(folder)
    assert open_checkpoint(folder, allow_pickle=True).files == (folder / name,)


def test_an_odd_file_is_not_taken_for_weights_whose_parts_lie_beside_it(tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "ema.safetensors", "pytorch_model-00001-of-00002.bin")
    assert "has no weights that zoo can read" in refused(folder, allow_pickle=True)


def test_a_pickle_beside_a_safetensors_file_may_be_the_weights_unless_their_names_are_the_same(tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "ema.safetensors", "my-model.bin", "model_optim.pt", "fsdp_optimizer_0.pt")
    assert "has 2 files that may be its weights: ema.safetensors, my-model.bin" in refused(folder, allow_pickle=True)
    twice = filled(tmp_path / "y", "my-model.safetensors", "my-model.bin")
    assert open_checkpoint(twice).files == (twice / "my-model.safetensors",)


def test_of_several_files_none_is_taken(tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "a.safetensors", "b.safetensors")
    told = refused(folder)
    assert "has 2 files that may be its weights: a.safetensors, b.safetensors" in told
    assert f"name the one that you want: {folder / 'a.safetensors'}" in told


@pytest.mark.parametrize("name", ["model-00001-of-00003.safetensors", "consolidated.00.pth", "training_args.bin"])
def test_a_part_and_what_trainers_keep_are_no_weights(name: str, tmp_path: Path) -> None:
    assert "has no weights that zoo can read" in refused(filled(tmp_path / "x", name), allow_pickle=True)


@pytest.mark.parametrize("config", [True, False])
def test_checkpoints_below_are_named_and_the_newest_is_what_to_type(config: bool, tmp_path: Path) -> None:
    folder = filled(tmp_path / "run", "trainer_state.json", config=config)
    for step in ("checkpoint-500", "checkpoint-1000", "checkpoint-90"):
        filled(folder / step, "model.safetensors")
    (folder / "logs").mkdir()
    told = refused(folder)
    assert "3 checkpoints lie below: checkpoint-90, checkpoint-500, checkpoint-1000" in told
    assert f"the newest is: {folder / 'checkpoint-1000'}" in told


def test_a_checkpoint_below_is_never_taken_in_silence(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    filled(folder / "merged", "model.safetensors")
    assert f"a checkpoint lies below: merged\nit is: '{folder / 'merged'}'" in refused(folder)


@pytest.mark.parametrize("config", [True, False])
def test_an_adapter_is_called_what_it_is_with_its_base(config: bool, tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "adapter_model.safetensors", config=config)
    (folder / "adapter_config.json").write_text(json.dumps(LORA))
    told = refused(folder)
    assert "is a LORA adapter of rank 16 to meta-llama/Llama-3.1-8B" in told
    assert "--adapter" in told


@pytest.mark.parametrize("text", ["", "[]", '{"r": "x", "peft_type": 3, "base_model_name_or_path": null}'])
def test_an_adapter_whose_config_says_nothing_is_one_too(text: str, tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "adapter_model.safetensors", config=False)
    (folder / "adapter_config.json").write_text(text)
    assert "is an adapter" in refused(folder)


def test_an_adapter_beside_a_model_is_left_out_and_told(tmp_path: Path) -> None:
    folder = filled(tmp_path / "x", "model.safetensors", "adapter_config.json")
    assert open_checkpoint(folder).notes[0].startswith("adapter_config.json lies in the folder too")


def test_a_mistyped_name_in_a_folder_that_exists_is_answered_with_what_is_there(tmp_path: Path) -> None:
    folder = filled(tmp_path / "model", "weights.safetensors")
    told = refused(folder / "wieghts.safetensors")
    assert f"is not there\ndid you mean: {folder / 'weights.safetensors'}?" in told
    assert f"did you mean: {folder}?" in refused(tmp_path / "modle")
    deeper = refused(tmp_path / "modle" / "weights.safetensors")
    assert f"is not there: there is no {tmp_path / 'modle'}\ndid you mean: {folder}?" in deeper
    assert "did you mean" not in refused(tmp_path / "nothing-alike" / "x" / "y.gguf")
