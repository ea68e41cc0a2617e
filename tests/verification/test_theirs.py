"""A side that transformers computes, and goldens of one that was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.verification.named import Named
from zoo.errors import MissingExtra, ZooError
from zoo.registry import installed
from zoo.verification import in_transformers
from zoo.verification.goldens import writer
from zoo.verification.goldens.file import inputs_of
from zoo.verification.goldens.rerun import Rerun, goldens_of
from zoo.verification.inputs import Inputs
from zoo.verification.reference import ROWS, named, side_of
from zoo.weights import Table, rename, rule, split


class Theirs(nn.Module):
    """A foreign model of one matrix that gives logits and can attend in one way."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 6).double()
        self.config = SimpleNamespace(_attn_implementation="eager")
        self.said: list[str] = []

    def set_attn_implementation(self, way: str) -> None:
        self.said.append(way)
        if way == "refused":
            raise ValueError("no such way. More words")
        if way != "ignored":
            self.config._attn_implementation = way

    def forward(self, input_ids: Tensor, pixel_values: Tensor | None = None) -> Any:
        if int(input_ids.max()) > 6:
            raise IndexError("too many")
        return SimpleNamespace(logits=self.fc(input_ids.double()), last_hidden_state=None, pooler_output=input_ids)


def test_a_foreign_model_is_seen_by_our_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    a, b = Named(q=nn.Linear(3, 3), k=nn.Linear(3, 3)), Theirs()
    table = Table(
        rule(("q.weight", "k.weight"), "fc.weight", split(3, 3)), rule(("q.bias", "k.bias"), "fc.bias", split(3, 3))
    )
    inputs = Inputs({"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]])}, "")
    side = side_of(b, a, table, inputs)
    assert "Theirs, float64, eager" in side.said
    expected = b.fc(inputs.given["tokens"].double())
    assert torch.equal(side.run()["logits"], expected)
    torch.testing.assert_close(side.ways[ROWS]()["logits"], expected)
    assert torch.equal(side.ways["sdpa in place of eager"]()["logits"], expected)
    assert b.said == ["sdpa", "eager"]
    assert side.weight("k.weight") is None  # columns of a matrix: which dimension they are of is the module's to say
    assert torch.equal(side.weight("k.bias"), b.fc.bias[3:])  # type: ignore[arg-type]
    assert side.weight("x.bias") is None
    assert side.views["q"].module is b.fc
    whole = side_of(b, Named(fc=nn.Linear(3, 6)), Table(rename("fc", "fc")), inputs)
    assert torch.equal(whole.weight("fc.weight"), b.fc.weight)  # type: ignore[arg-type]
    assert whole.weight("fc.missing") is None
    with pytest.raises(ZooError, match="too many"):
        side_of(b, a, table, Inputs({"tokens": torch.tensor([[7]])}, "")).run()
    given = Inputs({"tokens": torch.tensor([[1, 9, 3]]), "grid": torch.ones(1)}, "")
    heard: dict[str, Tensor] = {}
    monkeypatch.setattr(b, "forward", lambda **more: heard.update(more) or SimpleNamespace(logits=torch.ones(1)))
    a.config = SimpleNamespace(image_token_id=9)  # type: ignore[assignment]
    side_of(b, a, table, given).run()
    assert set(heard) == {"input_ids", "image_grid_thw", "mm_token_type_ids"}
    assert heard["mm_token_type_ids"].tolist() == [[0, 1, 0]]
    assert heard["image_grid_thw"].dtype == torch.float64


def test_another_way_to_attend_is_taken_back_and_refused_where_there_is_none() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    b = Theirs()
    with in_transformers.attending_by(b, "sdpa"):
        assert b.config._attn_implementation == "sdpa"
    assert b.config._attn_implementation == "eager"
    for way, words in (("refused", "no such way"), ("ignored", "only one way")):
        with pytest.raises(ZooError, match=words), in_transformers.attending_by(b, way):
            pass


def test_what_is_not_there_for_gguf_is_named() -> None:
    assert isinstance(in_transformers._refusal(ImportError("needs accelerate>=1")), MissingExtra)
    assert "reference" in str(in_transformers._refusal(ImportError("needs accelerate>=1")))
    assert "gguf" in str(in_transformers._refusal(ImportError("needs gguf>=1")))
    assert not isinstance(in_transformers._refusal(ImportError("other")), MissingExtra)


def test_a_family_that_is_called_tied_is_asked_its_config(tmp_path: Path) -> None:
    for raw, kind, tied in (({"tie_word_embeddings": False}, "umt5", False), ({}, "umt5", True),
                            ({"tie_word_embeddings": False}, "t5", "as it was")):  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(raw))
        model = SimpleNamespace(config=SimpleNamespace(model_type=kind, tie_word_embeddings="as it was"))
        in_transformers._undo_known_faults(model, tmp_path)  # type: ignore[arg-type]
        assert model.config.tie_word_embeddings == tied
    (tmp_path / "config.json").unlink()
    in_transformers._undo_known_faults(model, tmp_path)  # type: ignore[arg-type]


def test_every_part_computes_its_experts_one_by_one() -> None:
    config = SimpleNamespace(text_config=SimpleNamespace(), vision_config=None)
    in_transformers._configure(config)
    assert config._experts_implementation == config.text_config._experts_implementation == "eager"


def test_outputs_of_transformers_go_by_our_names() -> None:
    x = [torch.full((1,), float(n)) for n in range(9)]
    found = named(
        SimpleNamespace(
            prediction_logits=x[0],
            logits=None,
            last_hidden_state=x[1],
            pooler_output=x[2],
            text_embeds=x[3],
            seq_relationship_logits=x[4],
            image_embeds=(x[5],),
            loss=x[6],
            logits_per_image=x[8],
            text_model_output=SimpleNamespace(last_hidden_state=x[7]),
            vision_model_output=None,
        )
    )
    assert {name: int(value) for name, value in found.items()} == {
        "logits": 0, "hidden": 1, "pooled": 2, "text": 3, "next_sentence": 4, "text_hidden": 7
    }  # fmt: skip


# goldens


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "vit"])
def test_a_golden_is_written_again_as_it_lies_there(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are of transformers, so that what is written here is that again."""
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    monkeypatch.setattr(writer, "folder_of", lambda found: tmp_path / found.name)
    file = writer.golden_from_transformers(installed()[family].config_class.tiny())
    told = json.loads(file.read_text())
    (golden,) = (g for g in goldens_of(installed()[family]) if g.config == told["config"])
    assert (file.parent.name, file.name) == (family, f"{family}.json")
    assert (told["family"], told["inputs"], told["limit"], told["weights"]) == (
        family,
        golden.inputs,
        golden.limit,
        None,
    )
    assert told["layers"].keys() == golden.layers.keys()
    for ours_, theirs_ in ((told["layers"], golden.layers), *(
        (told["expected"][n], golden.expected[n]) for n in golden.expected)):  # fmt: skip
        for key, row in ours_.items():
            # float64 on another machine sums in another order
            torch.testing.assert_close(torch.tensor(row), torch.tensor(theirs_[key]), rtol=0, atol=1e-6)
    again = writer.golden_from_transformers(installed()[family].config_class.tiny(), "label", inputs_of(golden))
    assert again.name == f"{family}-label.json"
    assert json.loads(again.read_text())["inputs"] == told["inputs"]


def test_what_a_golden_keeps_is_small() -> None:
    x = torch.arange(30.0).view(2, 5, 3)
    assert writer.rows_of(x) == {"rows": [0, 5, 9], "values": [[0, 1, 2], [15, 16, 17], [27, 28, 29]]}
    assert writer.rows_of(x[:1, :1])["rows"] == [0]
    given = {"tokens": torch.ones(2, 30), "pixels": torch.ones(2, 3, 30, 30)}
    found = writer.cut(Inputs(given, "what"))
    assert (found.given["tokens"].shape, found.given["pixels"].shape, found.what) == ((1, 24), (1, 3, 30, 30), "what")
    assert found.given["pixels"].dtype == torch.float64
    assert found.given["pixels"].std() > 0.5


def test_a_rerun_is_told_in_words_and_as_json() -> None:
    golden: Any = SimpleNamespace(name="g", family="f", limit=1e-9, reference="r")
    good, bad, not_run = (
        Rerun(golden, 1e-9, "", 1.0),
        Rerun(golden, 2e-9, "layers.1", 1.0),
        Rerun(golden, 0.0, "", 1.0, "odd"),
    )
    assert [r.passed for r in (good, bad, not_run)] == [True, False, False]
    assert str(good) == "ok    g: |Δ| 1.0e-09, limit 1e-09 · r"
    assert str(bad) == "FAIL  g: |Δ| 2.0e-09, limit 1e-09, first in layers.1 · r"
    assert str(not_run) == "FAIL  g: odd · r"
    assert bad.to_dict() == {
        "golden": "g", "family": "f", "passed": False, "difference": 2e-9, "limit": 1e-9, "first": "layers.1",
        "fault": "", "reference": "r",
    }  # fmt: skip
