"""Two checkpoints of whatever format are paired weight by weight, and what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import zoo
from tests.comparison.test_page import Reader
from zoo.cli import main
from zoo.difference import diff, side
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed


def built(family: str = "llama", seed: int = 0, **fields) -> torch.nn.Module:
    tiny = installed()[family].config_class.tiny()
    return zoo.build(type(tiny).from_dict(tiny.to_dict() | fields), device="cpu", seed=seed)


def changed(source: Path, folder: Path, change) -> Path:
    """A copy of a checkpoint of one safetensors file, its tensors changed in place or replaced."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return zoo.save(built(), tmp_path_factory.mktemp("base") / "hf")


def test_what_a_fine_tune_changed_is_found_by_layer_and_role(base, tmp_path):
    before = load_file(base / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"

    def tune(tensors):
        tensors[name][0] += 0.5
        tensors["model.norm.weight"] *= 2

    found = diff(base, changed(base, tmp_path / "tuned", tune))
    x, y = (load_file(folder / "model.safetensors")[name].double().numpy() for folder in (base, tmp_path / "tuned"))
    (up, norm) = sorted((t for t in found.tensors if t.verdict != "equal"), key=lambda t: t.name)
    assert (up.name, up.role, up.stack, up.layer) == ("layers.1.mlp.up_proj.weight", "mlp", "layers", 1)
    assert up.tally.relative == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-12)
    assert up.tally.changed == (x != y).sum()
    assert (norm.name, norm.role, norm.layer, norm.tally.relative, norm.tally.cosine) == (
        "norm.weight", "norm", None, pytest.approx(1.0), pytest.approx(1.0),
    )  # fmt: skip
    assert found.by_role["attention"].differing == 0
    assert found.cells["layers", 1, "mlp"].tally.gap == up.tally.gap
    whole = np.concatenate([t.double().numpy().ravel() for t in before.values()])
    total = ((y - x) ** 2).sum() + (load_file(base / "model.safetensors")["model.norm.weight"].double() ** 2).sum()
    assert found.total.tally.relative == pytest.approx(float(total / (whole @ whole)) ** 0.5, rel=1e-12)
    assert not found.is_equal


@pytest.mark.parametrize("family", ["gpt2", "chatglm", "mistral", "bloom"])  # fused, transposed, interleaved, stacked
def test_another_layout_of_the_same_weights_is_equal_to_the_bit(family, tmp_path):
    model = built(family)
    formats = [name for name in installed()[family].formats if name in ("hf", "meta")]
    folders = [zoo.save(model, tmp_path / name, format=name) for name in ("zoo", *formats)]
    for folder in folders[1:]:
        found = diff(folders[0], folder, allow_pickle=True)
        assert found.is_equal, found.table()
        assert len(found.tensors) == len([*model.named_parameters()])


def test_a_gguf_file_is_held_against_the_folder_it_was_made_from(tmp_path):
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    from tests.plugins import llama_cpp_files

    model = zoo.load("tiny", dtype="float32")
    base = zoo.save(model, tmp_path / "hf")
    file = llama_cpp_files.write(tmp_path / "m.gguf", model)
    found = diff(base, file)
    assert {t.verdict for t in found.tensors} == {"equal"}
    assert len(found.tensors) == len([*model.named_parameters()])
    import gguf

    small = llama_cpp_files.write(tmp_path / "q.gguf", model, quantised=gguf.GGMLQuantizationType.Q8_0)
    lossy = diff(base, small)
    embed = next(t for t in lossy.tensors if t.name == "embed.weight")
    original = model.embed.weight.detach().numpy()
    read = gguf.quants.dequantize(
        gguf.quants.quantize(original, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0
    )
    apart = (read.astype(np.float64) - original).ravel()
    assert embed.dtypes == ("float32", "Q8_0")
    assert embed.tally.largest == np.abs(apart).max()
    assert embed.tally.relative == pytest.approx(
        np.linalg.norm(apart) / np.linalg.norm(original.astype(np.float64).ravel())
    )
    assert any("quantised" in note for note in lossy.notes)


def test_another_dtype_of_the_same_values_is_not_equal_to_the_bit(base, tmp_path):
    half = zoo.save(zoo.load(base, dtype="bfloat16"), tmp_path / "half")
    wide = zoo.save(zoo.load(half, dtype="float32"), tmp_path / "wide")
    found = diff(half, wide)
    assert {t.verdict for t in found.tensors} == {"same values"}
    assert (found.is_equal, found.total.differing, found.total.tally.changed) == (False, 0, 0)
    rounded = diff(base, half)
    x = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    assert rounded.by_role["embedding"].tally.largest == (x.bfloat16().double() - x.double()).abs().max()


def test_what_has_no_counterpart_is_named_and_rows_of_tokens_are_compared(tmp_path):
    small = zoo.save(built(tie_embeddings=True), tmp_path / "small")
    size = built().config.vocab_size
    large = zoo.save(built(tie_embeddings=False, vocab_size=size + 3, intermediate_size=50), tmp_path / "large")
    found = diff(small, large)
    assert [*found.only_b] == ["lm_head.weight"]
    assert not found.only_a
    assert "layers.0.mlp.up_proj.weight" in found.mismatched
    embed = next(t for t in found.tensors if t.name == "embed.weight")
    assert embed.shape[0] == size
    assert f"the first {size} are compared" in " ".join(found.notes)
    shown = found.table()
    assert "only in B  lm_head.weight" in shown
    assert "layers.{0..1}.mlp.up_proj.weight" in shown
    assert found.config["model.tie_embeddings"] == (True, False)


def test_models_without_a_weight_in_common_are_refused(base, tmp_path):
    other = zoo.save(built("vit"), tmp_path / "vit")
    with pytest.raises(
        UsageError, match=r"llama and vit are not one kind: they share .*\nto compare what they are: zoo"
    ):
        diff(base, other)


def test_a_broken_side_is_refused_as_when_it_is_loaded(base, tmp_path):
    broken = changed(base, tmp_path / "broken", lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        diff(base, broken)


def test_only_what_hangs_together_is_read_at_a_time(monkeypatch, tmp_path):
    model = built("gpt2")
    folders = [zoo.save(model, tmp_path / name, format=name) for name in ("hf", "zoo")]
    seen = []
    read = side.WeightSource.read
    monkeypatch.setattr(side.WeightSource, "read", lambda *args: seen.append(read(*args)) or seen[-1])
    diff(*folders)
    assert len(seen) > 20
    assert not any(seen)  # each tensor is let go of before the next is read


def test_the_exit_code_is_that_of_diff(base, tmp_path):
    tuned = changed(base, tmp_path / "tuned", lambda tensors: tensors["model.norm.weight"].add_(1))
    run = CliRunner().invoke
    same = run(main, ["diff", str(base), str(base)])
    assert (same.exit_code, same.stdout.count("\tequal\t")) == (0, len([*built().parameters()]))
    page = tmp_path / "page.html"
    other = run(main, ["diff", str(base), str(tuned), "--json", "--html", str(page)])
    assert other.exit_code == 1
    told = json.loads(other.stdout)
    assert (told["equal"], told["total"]["differing"]) == (False, 1)
    assert "what is outside the layers" in page.read_text(encoding="utf-8")
    broken = changed(base, tmp_path / "broken", lambda tensors: tensors.pop("model.norm.weight"))
    for words in ([str(base), str(broken)], [str(base), str(tmp_path / "no")], [str(base)], [str(base), "lama3"]):
        assert run(main, ["diff", *words]).exit_code >= 2, words


def test_the_page_is_whole_and_trusts_no_name(base, tmp_path):
    hostile = tmp_path / "<script>alert(1)<script>"
    tuned = changed(base, tmp_path / "copy", lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
    hostile.mkdir()
    shutil.copytree(tuned, hostile / "x")
    text = diff(base, hostile / "x").html()
    page = Reader(text)
    assert not page.all("script")
    titles = [svg["aria-label"] for svg in page.all("svg")]
    assert titles == [
        "scale of the relative difference", "relative difference in what is outside the layers",
        "relative difference in layers",
    ]  # fmt: skip
    assert "NaN" in text
    assert "http" not in text.replace("http-equiv", "")
