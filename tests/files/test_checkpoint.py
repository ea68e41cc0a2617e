from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.files import make
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint


def test_a_folder_is_read_bit_for_bit(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(make.folder(tmp_path))
    assert (checkpoint.dialect, checkpoint.config) == ("hf", make.CONFIG)
    assert (checkpoint.folder, checkpoint.config_name) == (tmp_path, "config.json")
    assert checkpoint.files == (tmp_path / "model.safetensors",)
    with checkpoint.open() as tensors:
        assert set(tensors) == set(make.tensors()) == set(checkpoint.tensors)
        for name, tensor in make.tensors().items():
            assert torch.equal(tensors[name], tensor)
            assert bytes(checkpoint.raw_bytes(name)) == make.bits(tensor)


def test_the_key_zoo_marks_our_own_format(tmp_path: Path) -> None:
    assert open_checkpoint(make.folder(tmp_path, config={"zoo": "0.1.0"})).dialect == "zoo"


def test_a_weight_file_and_an_index_may_be_given(tmp_path: Path) -> None:
    make.folder(tmp_path / "a")
    assert open_checkpoint(tmp_path / "a" / "model.safetensors").folder == tmp_path / "a"
    make.sharded(tmp_path / "b", {"x.safetensors": {"a": torch.ones(1)}})
    assert set(open_checkpoint(tmp_path / "b" / "model.safetensors.index.json").tensors) == {"a"}


def test_safetensors_are_preferred_to_pickles(tmp_path: Path) -> None:
    make.folder(tmp_path)
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    checkpoint = open_checkpoint(tmp_path, allow_pickle=True)
    assert [file.name for file in checkpoint.files] == ["model.safetensors"]


def test_a_folder_of_two_checkpoints_is_refused_until_one_is_named(tmp_path: Path) -> None:
    make.sharded(tmp_path, {"x.safetensors": {"a": torch.ones(1)}})
    save_file({"b": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds two checkpoints"):
        open_checkpoint(tmp_path)
    assert set(open_checkpoint(tmp_path / "model.safetensors").tensors) == {"b"}
    index = {"weight_map": {"b": "model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert set(open_checkpoint(tmp_path).tensors) == {"b"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "has no config.json\nlooked for model.safetensors"),
        (["model.safetensors"], "has no config.json\nit has model.safetensors"),
        (["config.json"], "has no weights that zoo can read\nit has config.json"),
        (["config.json", "model.gguf", "tf_model.h5"], "it has config.json, model.gguf, tf_model.h5"),
        (["params.json"], "has no config.json\nit has params.json"),
    ],
)
def test_a_folder_without_a_checkpoint_says_what_it_has(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["nowhere", "nowhere/model.safetensors", "x.gguf", "x\0y", "a" * 300])
def test_a_path_that_leads_nowhere_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is not the name of a checkpoint"):
        open_checkpoint(tmp_path / "weights.h5")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_checkpoint(make.folder(tmp_path, {}))


def test_files_may_be_links_as_in_the_cache_of_hugging_face(tmp_path: Path) -> None:
    blobs = make.folder(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "snapshot" / name).symlink_to(blobs / name)
    assert len(open_checkpoint(tmp_path / "snapshot").tensors) == len(make.tensors())


def test_a_pipe_in_place_of_the_weights_is_refused_without_waiting(tmp_path: Path) -> None:
    make.folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="is a pipe"):
        open_checkpoint(tmp_path)


def test_hashes_are_of_the_config_and_every_weight_file(tmp_path: Path) -> None:
    make.sharded(tmp_path, {"x.safetensors": {"a": torch.ones(1)}, "y.safetensors": {"b": torch.ones(1)}})
    hashes = open_checkpoint(tmp_path).hashes()
    assert list(hashes) == ["config.json", "x.safetensors", "y.safetensors"]
    expected = subprocess.run(["sha256sum", tmp_path / "y.safetensors"], capture_output=True, check=True).stdout
    assert hashes["y.safetensors"] == expected.decode().split()[0]


def test_asking_for_a_name_reads_no_tensor(tmp_path: Path) -> None:
    tensors = open_checkpoint(make.folder(tmp_path)).open()
    shutil.rmtree(tmp_path)
    assert "model.scale" in tensors
    assert "nothing" not in tensors
    assert len(tensors) == len(make.tensors())
    with pytest.raises(KeyError):
        tensors["nothing"]


CHILD = """
import sys
from zoo.files.checkpoint import open_checkpoint
import zoo.files.write, zoo.hub.place
for path in sys.argv[1:]:
    checkpoint = open_checkpoint(path, allow_pickle=True)
    assert checkpoint.tensors and checkpoint.config
    checkpoint.hashes()
heavy = {"torch", "numpy", "safetensors", "huggingface_hub", "gguf"} & set(sys.modules)
assert not heavy, heavy
"""


def test_headers_are_read_without_torch(tmp_path: Path) -> None:
    make.folder(tmp_path / "single")
    make.sharded(tmp_path / "sharded", {"x.safetensors": {"a": torch.ones(1)}})
    make.folder(tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(make.tensors(), tmp_path / "pickled" / "pytorch_model.bin")
    folders = [str(tmp_path / name) for name in ("single", "sharded", "pickled")]
    subprocess.run([sys.executable, "-c", CHILD, *folders], check=True)


MEMORY = """
import re, sys
from pathlib import Path
import torch
from zoo.files.checkpoint import open_checkpoint

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def check(path):
    checkpoint = open_checkpoint(path, allow_pickle=True)
    size = sum(file.stat().st_size for file in checkpoint.files)
    checkpoint.open()[next(iter(checkpoint.tensors))].sum()  # what the first use of the library and of torch costs
    before = resident()
    tensors = dict(checkpoint.open().items())
    assert resident() - before < 0.1 * size, "opening read the data"
    assert sum(t.sum() for t in tensors.values()) > 0
    assert 0.5 * size < resident() - before <= 1.1 * size, (resident() - before) / size
    assert any(checkpoint.files[0].name in line for line in open("/proc/self/maps"))

for path in sys.argv[1:]:
    check(path)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_grows_by_no_more_than_the_files(tmp_path: Path) -> None:
    weights = {f"w{i}": torch.ones(1024, 2048) for i in range(8)}  # 64 MiB
    make.folder(tmp_path / "a", weights)
    make.folder(tmp_path / "b", {})
    (tmp_path / "b" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "b" / "pytorch_model.bin")
    subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / "a"), str(tmp_path / "b")], check=True)
