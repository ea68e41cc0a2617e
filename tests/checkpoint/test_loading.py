"""Loading: in place where the file has the tensors as they are, and no more memory than the file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.some import some
from zoo.anatomy.config import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA of 42 MB in Hugging Face layout."""
    config = installed()["llama"].config_class.tiny()
    config.hidden_size, config.intermediate_size, config.vocab_size = 512, 1536, 4096
    model = zoo.build(config, device="cpu", seed=3)
    return zoo.save(model, tmp_path_factory.mktemp("loading") / "checkpoint")


def mapped_files(address: int) -> str:
    """The file that the process has mapped at this address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_ = line.split()
        low, high = (int(part, 16) for part in span.split("-"))
        if low <= address < high:
            return line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else ""
    return ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_plain_renames_share_the_files_mapping(folder: Path) -> None:
    model = zoo.load(folder)
    for name, parameter in model.named_parameters():
        assert mapped_files(parameter.data_ptr()) == str(folder / "model.safetensors"), name


def test_writing_to_a_loaded_weight_leaves_the_file_alone(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        zoo.load(folder).embed.weight.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_takes_no_more_memory_than_the_file(folder: Path, tmp_path: Path) -> None:
    small = zoo.save(zoo.build(installed()["llama"].config_class.tiny(), device="cpu"), tmp_path / "small")
    code = (
        "import sys, zoo\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "load = lambda f: [m := zoo.load(f), sum(p.sum().item() for p in m.parameters())]\n"
        "load(sys.argv[2])  # what is imported is no part of it\n"
        "before = rss(); kept = load(sys.argv[1]); print(rss() - before)"
    )
    grown = int(subprocess.check_output([sys.executable, "-c", code, str(folder), str(small)], text=True))
    size = (folder / "model.safetensors").stat().st_size
    assert grown <= 1.1 * size + 4e6, (grown, size)  # 4 MB for modules and config, whatever the file's size


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    config = installed()["llama"].config_class.tiny()
    one, same, other = (zoo.build(config, device="cpu", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.embed.weight, same.embed.weight)
    assert not torch.equal(one.embed.weight, other.embed.weight)


def test_building_leaves_the_callers_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    zoo.build(installed()["llama"].config_class.tiny(), device="cpu", seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("format", ["hf", "zoo"])
def test_what_is_saved_loads_bit_for_bit(format: str, tmp_path: Path) -> None:
    model = zoo.build(installed()["gpt2"].config_class.tiny(), device="cpu", dtype="bfloat16")
    zoo.save(model, tmp_path / "out", format=format)
    back = zoo.load(tmp_path / "out")
    assert back.config.to_dict() == {**model.config.to_dict(), "dtype": "bfloat16"}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, back.get_parameter(name)), name


@pytest.mark.slow
def test_converting_there_and_back_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    zoo.convert(folder, tmp_path / "zoo", format="zoo")
    zoo.convert(tmp_path / "zoo", tmp_path / "back", format="hf")
    first, back = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "back"))
    assert {n: t.tolist() for n, t in back.items() if t.numel() < 600} == {
        n: t.tolist() for n, t in first.items() if t.numel() < 600
    }
    assert (folder / "config.json").read_bytes() == (tmp_path / "back" / "config.json").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "back" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_config_is_overridden_when_the_checkpoint_is_opened(folder: Path) -> None:
    assert zoo.load(folder, "model.max_seq_len=33", "model.rope.theta=77.0").config.rope.theta == 77.0
    with pytest.raises(zoo.ZooError, match="theeta"):
        zoo.inspect(folder, "model.rope.theeta=1")


def test_a_bias_that_chooses_experts_is_never_narrowed(tmp_path: Path) -> None:
    config = installed()["deepseek"].config_class.tiny()
    model = zoo.build(config, device="cpu", dtype="float32")
    name = next(n for n, _ in model.named_parameters() if n.endswith("router.bias"))
    with torch.no_grad():
        model.get_parameter(name).fill_(1 + 2**-20)  # no bfloat16 is this number
    zoo.save(model, tmp_path / "in")
    loaded = zoo.load(tmp_path / "in", dtype="bfloat16")
    assert loaded.embed.weight.dtype == torch.bfloat16
    assert torch.equal(loaded.get_parameter(name), model.get_parameter(name))
    zoo.convert(tmp_path / "in", tmp_path / "out", dtype="bfloat16")
    converted = zoo.load(tmp_path / "out")
    assert converted.embed.weight.dtype == torch.bfloat16
    assert torch.equal(converted.get_parameter(name), model.get_parameter(name))


def test_what_has_no_weights_or_no_family_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model is on meta and has no weights"):
        zoo.save(zoo.build("tiny"), tmp_path / "out")
    with pytest.raises(UsageError, match="the model has no zoo config"):
        zoo.save(torch.nn.Linear(2, 2), tmp_path / "out")
    model = zoo.build(installed()["gptj"].config_class.tiny(), device="cpu")
    for format in ("gguf", "hff"):
        with pytest.raises(UsageError, match=f"gptj has no '{format}' format\nit has: zoo, dcp, hf"):
            zoo.save(model, tmp_path / "out.gguf", format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", some(["float8_e4m3fn", torch.float8_e5m2, torch.int8, "int8", "tensor"], "int8"))
def test_a_dtype_that_nothing_is_computed_in_is_refused(dtype: str | torch.dtype) -> None:
    for use in (lambda: zoo.load("tiny", dtype=dtype), lambda: zoo.build("tiny", dtype=dtype)):
        with pytest.raises(UsageError, match=r"no model computes in it|is not a floating-point type"):
            use()


@pytest.mark.parametrize("stored", some([torch.float32, torch.float16, torch.bfloat16], torch.float16), ids=str)
def test_rotary_frequencies_of_another_base_are_refused(tmp_path: Path, stored: torch.dtype) -> None:
    """Files of before 2024 keep them; a config that has lost rope_theta, or rope_scaling, would be read as another."""
    config = installed()["llama"].config_class.tiny()
    config = replace(config, rope=RopeConfig(theta=50_000.0, scaling="linear", factor=4.0))
    folder = zoo.save(zoo.build(config, device="cpu"), tmp_path / "old", format="hf")
    plain = 50_000.0 ** -(torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)

    def keep(frequencies: torch.Tensor) -> None:
        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.1.self_attn.rotary_emb.inv_freq"
        save_file(tensors | {name: frequencies.to(stored)}, folder / "model.safetensors", metadata={"format": "pt"})

    for right in (plain, plain / 4):  # as transformers kept them before and after 4.45
        keep(right)
        zoo.load(folder)
    for wrong in (plain / 2, 10_000.0 ** -(torch.arange(0, config.head_dim, 2) / config.head_dim), plain[1:]):
        keep(wrong)
        for use in (zoo.load, lambda source: zoo.convert(source, tmp_path / "out")):
            with pytest.raises(
                CheckpointError, match=r"layers\.1\.self_attn\.rotary_emb\.inv_freq: the rotary frequencies"
            ):
                use(folder)
        assert not (tmp_path / "out").exists()
        zoo.load(folder, allow=["*.inv_freq"])


def test_weights_of_eight_bits_without_scales_are_loaded_as_what_they_are_asked_for(tmp_path: Path) -> None:
    folder = zoo.save(zoo.build(installed()["llama"].config_class.tiny(), device="cpu"), tmp_path / "f8", format="hf")
    tensors = load_file(folder / "model.safetensors")
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in tensors.items()}
    save_file(small, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match="it is float8_e4m3fn, and no model computes in that type\nchoose a dtype"
    ):
        zoo.load(folder)
    name = "model.layers.0.self_attn.q_proj.weight"
    loaded = zoo.load(folder, dtype="bfloat16").get_parameter("layers.0.attn.q_proj.weight")
    assert torch.equal(loaded, small[name].to(torch.bfloat16))


def test_sizes_that_multiply_beyond_all_bytes_are_refused_in_a_sentence() -> None:
    huge = zoo.compose("vit-base", f"model.patch_size={2**30}", f"model.image_size={2**30}")
    with pytest.raises(zoo.ZooError, match="the product of the sizes is more bytes than can be counted"):
        zoo.build(huge)
