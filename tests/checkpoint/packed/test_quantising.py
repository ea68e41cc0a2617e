"""`zoo quantize`: what it writes is what others read, the error is told, and a wrong source is refused."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import zoo
from tests.files.packed import tiny
from tests.some import one_in
from zoo.checkpoint.forms import FORMS
from zoo.cli import main
from zoo.errors import UnknownName, UsageError, ZooError, ZooWarning
from zoo.files.manifest import verify_folder
from zoo.registry import installed

TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11]])


def source(folder: Path, dtype: str = "bfloat16") -> Path:
    return tiny.write(folder, tiny.weights(getattr(torch, dtype)), torch_dtype=dtype)


def quantised(folder: Path, target: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        return zoo.quantize(folder, target, **options)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_transformers_reads_it_to_the_same_logits(form: str, tmp_path: Path) -> None:
    if find_spec("bitsandbytes" if form == "nf4" else "compressed_tensors") is None:
        pytest.skip("the owner of the format is not installed")
    from transformers import AutoModelForCausalLM

    quantised(source(tmp_path / "a"), tmp_path / "b", form=form)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "b").eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", ZooWarning)
        ours = zoo.load(tmp_path / "b")(TOKENS)
        found = theirs(TOKENS).logits
    error = (found.float() - ours.float()).norm() / ours.float().norm()
    assert error == 0 if form != "nf4" else error < 2e-2  # bitsandbytes multiplies in bfloat16 by a kernel of its own


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", one_in(3, ["bfloat16", "float32", "float16"]))
def test_errors_are_those_of_what_is_read_back(form: str, dtype: str, tmp_path: Path) -> None:
    before = tiny.weights(getattr(torch, dtype))
    done = quantised(source(tmp_path / "a", dtype), tmp_path / "b", form=form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        after = zoo.files.checkpoint.open_checkpoint(tmp_path / "b")
    with after.open() as tensors:
        for name, weight in before.items():
            if name not in done.errors:
                assert torch.equal(tensors[name], weight)
                continue
            error = ((tensors[name].double() - weight.double()).norm() / weight.double().norm()).item()
            assert abs(error**2 - done.errors[name] ** 2) < 2.5e-3**2  # read back, they are rounded to bfloat16
            assert 0 < error < {"int8": 0.011, "fp8": 0.04, "int4": 0.11, "nf4": 0.11}[form]
    whole = {m for m in tiny.MODULES if form != "nf4" or tiny.SHAPES[m][1] % 64 == 0}
    assert {name.removesuffix(".weight") for name in done.errors} == whole
    assert done.worst[1] == max(done.errors.values())
    assert verify_folder(tmp_path / "b") > 1
    assert json.loads((tmp_path / "b/zoo.json").read_text())["provenance"]["quantised_to"] == form
    stored = load_file(tmp_path / "b/model.safetensors")
    assert done.nbytes == sum(t.nbytes for t in stored.values())
    assert done.packed_bytes == done.nbytes - sum(w.nbytes for n, w in before.items() if n not in done.errors)


def test_what_is_packed_already_is_refused(tmp_path: Path) -> None:
    quantised(source(tmp_path / "a"), tmp_path / "b")
    with pytest.raises(UsageError, match=r"is packed already: model\.layers\.0"):
        quantised(tmp_path / "b", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_cannot_be_written_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    folder = source(tmp_path / "a")
    for options, error, told in (
        ({"form": "int3"}, UnknownName, "rounds to no form 'int3'"),
        ({"form": "gptq"}, UnknownName, "are read, and not written"),
        ({"form": "q4_0", "group": 64}, UsageError, "a block of q4_0 has 32 columns"),
        ({"form": "q4_0"}, UsageError, "not the name of a GGUF file"),
        ({"form": "int4", "group": 0}, UsageError, "group=0 is not a size"),
        ({"form": "int8", "group": 32}, UsageError, "int8 has no groups"),
        ({"form": "int4", "group": 64}, UsageError, "96 columns, which are not whole groups of 64"),
    ):
        with pytest.raises(error, match=told):
            quantised(folder, tmp_path / "b", **options)
    zoo.save(zoo.build(installed()["gpt2"].config_class.tiny(), device="cpu"), tmp_path / "gpt2")
    with pytest.raises(UsageError, match="rows and columns exchanged"):
        quantised(tmp_path / "gpt2", tmp_path / "b")
    zoo.save(zoo.build(installed()["gptj"].config_class.tiny(), device="cpu"), tmp_path / "gptj")
    with pytest.raises(UsageError, match="gptj has no 'gguf' format"):  # whatever its blocks would be
        quantised(tmp_path / "gptj", tmp_path / "b.gguf", form="q8_0")
    spoilt = tiny.weights()
    spoilt[f"{tiny.UP}.weight"][0, 0] = float("nan")
    with pytest.raises(ZooError, match="NaN"):
        quantised(tiny.write(tmp_path / "d", spoilt, torch_dtype="bfloat16"), tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("form", ["q8_0", "q4_0"])
def test_a_gguf_file_is_written_and_the_errors_are_those_of_its_owner(form: str, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")
    file, folder = tmp_path / "b.gguf", source(tmp_path / "a")
    planned = quantised(folder, file, form=form, dry_run=True)
    assert not file.exists()
    done = quantised(folder, file, form=form)
    assert (planned.nbytes, planned.packed_bytes, planned.kept) == (done.nbytes, done.packed_bytes, done.kept)
    stored = {t.name: t for t in gguf.GGUFReader(file).tensors}
    blocks = {name: t for name, t in stored.items() if t.tensor_type.name == form.upper()}
    assert set(done.errors) == set(blocks) == {name for name, t in stored.items() if len(t.shape) > 1}
    assert done.packed_bytes == sum(t.data.nbytes for t in blocks.values())
    assert done.nbytes == sum(t.data.nbytes for t in stored.values())
    before, found = tiny.weights()[f"{tiny.DOWN}.weight"].double(), stored["blk.0.ffn_down.weight"]
    after = torch.from_numpy(gguf.dequantize(found.data, found.tensor_type)).double()
    error = ((after - before).norm() / before.norm()).item()
    assert done.errors["blk.0.ffn_down.weight"] == pytest.approx(error, rel=1e-5)  # norms in float32
    with pytest.raises(UsageError, match="is packed already"):
        quantised(file, tmp_path / "c.gguf", form=form)
    with pytest.raises(UsageError, match=r"the name of a GGUF file, and int8 is written as a folder"):
        quantised(folder, tmp_path / "c.gguf", form="int8")


def test_experts_are_written_one_by_one_and_read_back(tmp_path: Path) -> None:
    config = installed()["mixtral"].config_class.tiny()
    zoo.save(zoo.build(config, device="cpu", dtype="float32"), tmp_path / "a")
    done = quantised(tmp_path / "a", tmp_path / "b", form="int8")
    assert any("experts.0.w1" in name for name in done.errors)
    assert any("gate" in name for name in done.kept)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", ZooWarning)
        plain, kept = (zoo.load(tmp_path / "b", keep_packed=is_kept, dtype="float64") for is_kept in (False, True))
        torch.testing.assert_close(kept(TOKENS), plain(TOKENS), rtol=1e-6, atol=1e-6)  # scales are float32 in the file


@pytest.mark.slow
def test_the_command_tells_bits_errors_and_what_a_text_says(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["quantize", "tiny", str(tmp_path / "b"), "--dry-run"]).output
    assert "would write" in told
    assert not (tmp_path / "b").exists()
    text = tmp_path / "a.txt"
    text.write_text("Once upon a time there was a little girl who had a red ball. " * 3)
    told = CliRunner().invoke(main, ["quantize", "tiny", str(tmp_path / "b"), "--text", str(text)]).output
    assert "8.11 bits each" in told
    assert "as they are: model.embed_tokens.weight" in told
    assert "relative error 0.66% on average of 35 weights, 0.75% in model.layers.0.mlp.down_proj.weight" in told
    assert "text       perplexity" in told
    assert "KL" in told
    assert {"tokenizer.json", "zoo.json", "config.json"} <= {f.name for f in (tmp_path / "b").iterdir()}


def test_a_folder_at_home_is_there_and_not_in_one_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir(), here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    model = zoo.load(source(tmp_path / "a"))
    assert zoo.save(model, "~/saved") == home / "saved"
    assert zoo.convert("~/saved", "~/converted", format="zoo").folder == home / "converted"
    quantised(Path("~/saved"), Path("~/rounded"), form="int8")
    assert {*home.iterdir()} == {home / "saved", home / "converted", home / "rounded"}
    assert not [*here.iterdir()]
