"""What a verification looks at: which module is whose, what enters and leaves it, and what is said of it in the end."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import MissingExtra, ZooError
from zoo.registry import installed
from zoo.verification import in_transformers, names
from zoo.verification.bounds import GIVEN, Limit
from zoo.verification.comparing import Measure, _next_tokens, compare_outputs, exact_outputs, worst_gap
from zoo.verification.diagnosis import Explanation
from zoo.verification.divergence import Divergence, _aligned, _position, _shared, first_divergence, gap, largest_gap
from zoo.verification.edits import acting, reweighting, scaling_output, setting, together
from zoo.verification.exact import Float64
from zoo.verification.goldens import writer
from zoo.verification.goldens.file import inputs_of
from zoo.verification.goldens.rerun import Rerun, goldens_of
from zoo.verification.inputs import Inputs
from zoo.verification.noise import Noise
from zoo.verification.recording import Side, View, _first, layer_of, leaves, shared_prefix, stacks
from zoo.verification.reference import ROWS, named, side_of, zoo_side
from zoo.verification.result import Verification, _in_words
from zoo.weights import Table, rename, rule, split
from zoo.weights.entries import alias


class Named(nn.Module):
    """Modules by dotted names, nested as the names say."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            for one in part if isinstance(part, nn.ModuleList) else [part]:
                x = one(x)
        return x


def ours() -> Any:
    layers = [Named(q=nn.Linear(3, 3), k=nn.Linear(3, 3), norm=nn.LayerNorm(3)) for _ in range(2)]
    return Named(embed=nn.Embedding(7, 3), layers=nn.ModuleList(layers), head=nn.Linear(3, 7, bias=False))


def theirs() -> Any:
    layers = [Named(attn=Named(qk=nn.Linear(3, 6)), ln=nn.LayerNorm(3)) for _ in range(2)]
    model = Named(wte=nn.Embedding(7, 3), h=nn.ModuleList(layers))
    return Named(model=model, lm_head=nn.Linear(3, 7, bias=False))


TABLE = Table(
    rename("embed", "wte"), rename("layers.{i}.norm", "h.{i}.ln"), rename("head", "lm_head"),
    rule(("layers.{i}.q.weight", "layers.{i}.k.weight"), "h.{i}.attn.qk.weight", split(3, 3)),
    rule(("layers.{i}.q.bias", "layers.{i}.k.bias"), "h.{i}.attn.qk.bias", split(3, 3)),
    alias("lm_head.weight", of="wte.weight"),
)  # fmt: skip


def test_modules_are_found_by_the_table_with_the_columns_that_are_ours() -> None:
    a, b = ours(), theirs()
    found = names.views_of(a, b, TABLE)
    assert set(found) == {
        "embed",
        "head",
        "layers.0",
        "layers.1",
        *(f"layers.{i}.{n}" for i in (0, 1) for n in ("q", "k", "norm")),
    }
    assert found["embed"].module is b.model.wte
    assert found["layers.1.norm"].module is b.model.h[1].ln
    assert found["layers.1"].module is b.model.h[1]
    for name, columns in (("q", [0, 1, 2]), ("k", [3, 4, 5])):
        view = found[f"layers.0.{name}"]
        assert view.module is b.model.h[0].attn.qk
        assert view.columns is not None
        assert view.columns.tolist() == columns
    assert found["embed"].columns is None


def test_a_bias_on_one_side_only_is_no_counterpart_that_is_compared() -> None:
    a, b = ours(), theirs()
    a.head = nn.Linear(3, 7)
    table = Table(*TABLE.rules)
    assert "head" not in names.views_of(a, b, table)
    assert names.counterparts(a, b, table)["head"].module is b.lm_head


def test_a_tied_head_is_found_by_its_second_name() -> None:
    a, b = ours(), theirs()
    a.head.weight = a.embed.weight
    table = Table(rename("embed", "wte"), *TABLE.rules[1:2], *TABLE.rules[3:], *TABLE.aliases)
    found = names.counterparts(a, b, table)
    assert found["head"].module is b.lm_head
    assert "head" not in names.counterparts(a, b, Table(*table.rules))
    assert "head" not in names.counterparts(a, b, Table(*table.rules, alias("embed.lm_head.weight", of="wte.weight")))
    assert "head" not in names.counterparts(a, b, Table(*table.rules, alias("lm_head.weight", of="h.0.ln.weight")))


def test_an_embedding_that_scales_and_a_module_with_parts_are_no_counterparts() -> None:
    class Scaled(nn.Embedding):
        pass

    a, b = ours(), theirs()
    b.model.wte = Scaled(7, 3)
    b.model.h[0].ln.part = nn.Linear(1, 1)
    found = names.counterparts(a, b, TABLE)
    assert "embed" not in found
    assert "layers.0.norm" not in found
    assert found["layers.1.norm"].module is b.model.h[1].ln


def test_layers_of_another_name_are_the_only_stack_of_their_length() -> None:
    a = Named(layers=nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]))
    table = Table(rename("layers.{i}", "blocks.{i}.fc"))
    b = Named(stack=nn.ModuleList([nn.Tanh(), nn.Tanh()]), other=nn.ModuleList([nn.Tanh()]))
    assert {n: v.module for n, v in names.views_of(a, b, table).items()} == {
        "layers.0": b.stack[0],
        "layers.1": b.stack[1],
    }
    b.second = nn.ModuleList([nn.Tanh(), nn.Tanh()])
    assert names.views_of(a, b, table) == {}


def test_experts_of_one_file_tensor_each_are_one_module() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Parameter(torch.zeros(2, 3, 3))

    from zoo.weights.ops import stack

    a, b = Named(experts=Experts()), Named(mlp=Named(experts=nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])))
    table = Table(rule("experts.up", "mlp.experts.{e}.weight", stack(2), e=2))
    assert names.counterparts(a, b, table)["experts"].module is b.mlp.experts


@pytest.mark.parametrize(
    ("name", "modules", "found"),
    [
        ("h.0.ln", ["", "model.h.0.ln", "model.h.1.ln"], "model.h.0.ln"),
        ("model.h.0.ln", ["h.0.ln", "ln"], "h.0.ln"),
        ("a.ln", ["a.b.c.ln", "x.a.ln"], "x.a.ln"),
        ("a.ln", ["a.b.ln", "x.a.ln"], None),
        ("a.ln", ["a", "ln.a", "b.a.x"], None),
        ("a.ln", ["a.ln", "x.a.ln"], "a.ln"),
        ("a.b", ["b.a.b"], "b.a.b"),
        ("a.b.c", ["a.c", "b.c", "a.b.x.c"], None),
    ],
)
def test_a_name_is_found_with_parts_more_or_less(name: str, modules: list[str], found: str | None) -> None:
    assert names.resolve(name, modules) == found


def test_layers_leaves_and_prefixes() -> None:
    a = ours()
    a.register_parameter("own", nn.Parameter(torch.zeros(1)))
    assert stacks(a) == ["layers.0", "layers.1"]
    assert stacks(nn.ModuleList([nn.Tanh()])) == ["0"]
    assert leaves(a)[0] == "embed"
    assert "" not in leaves(a)
    assert "layers.0" not in leaves(a)
    assert layer_of("layers.1.q", ["layers.1"]) == layer_of("layers.1", ["layers.1"]) == "layers.1"
    assert layer_of("layers.10.q", ["layers.1"]) is None
    assert shared_prefix(["a.b.c", "a.b.d"]) == "a.b"
    assert shared_prefix(["a", "b"]) == ""
    assert shared_prefix(["a.b", "a.b.c"]) == "a.b"


# what enters and leaves


class Routed(nn.Module):
    """Answers with chosen experts and their weights, in an order that means nothing."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensor([[2, 0, 1]]), torch.tensor([[0.2, 0.0, 0.1]])


def test_events_are_first_calls_in_order_with_routes_by_expert() -> None:
    model = Named(a=nn.Linear(3, 3), b=nn.Identity())
    router, said = Routed(), []

    def run() -> dict[str, Tensor]:
        said.append(1)
        router(torch.ones(1, 3))
        return {"logits": model(model(torch.ones(1, 3)))}

    views = {"a": View(model.a, torch.tensor([2, 0])), "b": View(model.b), "r": View(router)}
    side = Side("x", run, views, lambda name: None)
    found = side.record(["a", "missing", "b", "r"])
    first = model.a(torch.ones(1, 3))
    assert list(found) == [
        ("r", "in"),
        ("r", "out"),
        ("a", "in"),
        ("a", "out"),
        ("b", "in"),
        ("b", "out"),
        ("logits", "output"),
    ]
    assert torch.equal(found["a", "in"], torch.ones(1, 3))
    assert torch.equal(found["a", "out"], first[:, [2, 0]])
    assert torch.equal(found["b", "out"], first)
    assert torch.equal(found["r", "out"], torch.tensor([[0.0, 0.1, 0.2]]))
    assert list(side.record(["a", "b"], until="a")) == [("a", "in"), ("a", "out")]
    assert not model.a._forward_hooks
    assert not model.a._forward_pre_hooks
    wide = replace(side, views={"a": View(model.a, torch.tensor([3]))})
    assert ("a", "out") not in wide.record(["a"])
    assert side.exactly() is side


def test_the_first_tensor_of_numbers_is_taken() -> None:
    x, whole = torch.ones(2), torch.ones(2, dtype=torch.long)
    assert _first([None, whole, (whole, [x]), torch.zeros(1)]) is x
    assert _first([whole, 3, "x", (whole,)]) is None
    assert _first([]) is None


def test_a_side_knows_its_weights_and_its_rows() -> None:
    model = installed()["gpt2"].config_class.tiny()
    built = _model(model)
    inputs = Inputs({"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]])}, "two")
    side = zoo_side(built, inputs, "said")
    assert torch.equal(side.weight("embed.weight"), built.embed.weight)  # type: ignore[arg-type]
    assert side.weight("embed.bias") is None
    torch.testing.assert_close(side.ways[ROWS]()["logits"], side.run()["logits"])
    assert [row.given["tokens"].tolist() for row in inputs.rows()] == [[[1, 2, 3]], [[4, 5, 6]]]
    assert {row.what for row in inputs.rows()} == {"two"}
    with_grid = Inputs(inputs.given | {"grid": torch.ones(1)}, "")
    assert not with_grid.has_rows
    assert ROWS not in zoo_side(built, with_grid, "").ways


def _model(config: Any) -> Any:
    from tests.verification.seeded import right

    return right(config)


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


# differences and what is said of them


def test_shapes_are_aligned_where_they_mean_the_same() -> None:
    x = torch.arange(24.0)
    heads = x.view(1, 2, 3, 4)
    assert torch.equal(_aligned(heads, torch.Size((1, 3, 2, 4))), heads.transpose(1, 2))  # type: ignore[arg-type]
    assert _aligned(heads, torch.Size((1, 4, 3, 2))) is None
    assert _aligned(x.view(6, 4), torch.Size((2, 3, 4))).shape == (2, 3, 4)  # type: ignore[union-attr]
    assert _aligned(x.view(2, 3, 4), torch.Size((6, 4))).shape == (6, 4)  # type: ignore[union-attr]
    for shape in ((4, 6), (24,), (2, 3, 2, 2)):
        assert _aligned(x.view(6, 4), torch.Size(shape)) is None
    assert gap(x.view(6, 4), x) is None
    assert gap(torch.zeros(0), torch.zeros(0)) == 0.0
    assert gap(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0])) == 4.0
    assert gap(torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0])) == pytest.approx(4 / 12.5**0.5)


def test_the_position_is_the_first_token_at_which_a_row_differs() -> None:
    theirs_ = torch.ones(2, 4, 3)
    ours_ = theirs_.clone()
    ours_[1, 2, 0] += 0.5
    ours_[0, 3, 1] += 0.5
    assert _position(ours_, theirs_, 0.4) == 2
    assert _position(ours_, theirs_, 0.6) is None
    assert _position(ours_[0], theirs_[0], 0.4) is None
    assert _position(ours_, theirs_.view(8, 3), 0.4) == 2
    events = {("a", "out"): theirs_, ("b", "in"): ours_}
    found = first_divergence(events, {**events, ("b", "in"): theirs_}, 0.1)
    assert found is not None
    assert (found.place, found.event, found.before, found.gap, found.position) == ("", ("b", "in"), "a", 0.5, 2)
    assert largest_gap(events, {**events, ("b", "in"): theirs_}) == 0.5
    assert largest_gap(events, {}) == 0.0
    assert (_shared("l.0.a", "l.0.b"), _shared("l.0", "l.1"), _shared("l.0.a", "l.1.b"), _shared("a", "b")) == (
        "l.0",
        "",
        "",
        "",
    )
    assert "from position 2 on" in str(found)
    assert "after a and before b" in str(found)
    assert str(replace(found, event=("logits", "output"))).startswith("outside the layers, after a: the logits")
    assert "the input" in str(replace(found, before=""))
    assert "position" not in str(replace(found, position=None, place="x"))


def test_next_tokens_are_held_to_their_distributions() -> None:
    theirs_ = torch.tensor([[[1.0, 0.9, 0.0], [3.0, 0.0, 0.0]]], dtype=torch.float64)
    ours_ = torch.tensor([[[0.9, 1.0, 0.0], [0.0, 3.0, 0.0]]], dtype=torch.float64)
    kl, token = _next_tokens(ours_, theirs_, 1e-3)
    p, q = theirs_.softmax(-1), ours_.softmax(-1)
    expected = (p * (p / q).log()).sum(-1)
    assert (kl.max, kl.mean, kl.limit) == (pytest.approx(expected.max()), pytest.approx(expected.mean()), 1e-3)
    assert (token.max, token.said) == (2.0, "0/2 agree")
    unit = theirs_.square().mean().sqrt().item()
    _, token = _next_tokens(ours_, theirs_, 0.051 / unit)
    assert (token.max, token.said) == (1.0, "0/2 agree, 1 more are ties")
    _, token = _next_tokens(ours_, theirs_, 0.049 / unit)
    assert token.max == 2.0
    a, b = {"logits": ours_[0], "x": ours_}, {"logits": theirs_[0], "y": ours_, "x": 2 * ours_}
    assert [m.name for m in compare_outputs(a, b, 1.0)] == ["logits", "x"]
    assert worst_gap(a, {"x": 2 * ours_}) == pytest.approx(1.5 / ours_.square().mean().sqrt().item())
    assert worst_gap(a, {}) is None
    (exact,) = exact_outputs(a, {"x": ours_, "z": ours_}, 0.5)
    assert (exact.name, exact.max, exact.limit) == ("x, exact", 0.0, 0.5)
    assert [Measure("x", n, limit=1.0).is_ok for n in (0.5, 1.0, 1.5)] == [True, True, False]
    assert Measure("x", 9.0).is_ok


def test_edits_undo_themselves_also_after_an_error() -> None:
    layer = nn.Linear(2, 2)
    before, owner = layer.weight.data.clone(), SimpleNamespace(a=1, b=2)
    edits = [
        setting(owner, a=5, b=6), reweighting((layer.weight, lambda w: w + 1)), scaling_output(layer, 3.0),
        acting(layer, lambda x: x * 0 + 7),
    ]  # fmt: skip

    def fail() -> None:
        with together(edits)():
            assert (owner.a, owner.b) == (5, 6)
            assert torch.equal(layer.weight.data, before + 1)
            assert layer(torch.ones(2)).tolist() == [21.0, 21.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (owner.a, owner.b) == (1, 2)
    assert torch.equal(layer.weight.data, before)
    torch.testing.assert_close(layer(torch.ones(2)), before.sum(1) + layer.bias)
    inner = acting(layer, lambda x: x + 1)
    with acting(layer, lambda x: x + 2)():
        with inner():
            assert layer(torch.zeros(1)).item() == 1
        assert layer(torch.zeros(1)).item() == 2
    assert "forward" not in vars(layer)


def test_float32_is_lifted_wherever_it_is_asked_for() -> None:
    with Float64():
        x = torch.ones(2, dtype=torch.float32)
        assert x.dtype == x.float().dtype == x.to(torch.float32).dtype == torch.float64
        assert torch.softmax(x, -1, dtype=torch.float32).dtype == torch.float64
        assert torch.ones(2, dtype=torch.float16).dtype == torch.float16
    assert torch.ones(2, dtype=torch.float32).dtype == torch.float32


def answer(**more: Any) -> Verification:
    told: dict[str, Any] = {
        "source": "s", "reference": "r", "family": "f", "dtype": "float64", "inputs": "i",
        "measures": [Measure("logits", 2e-3, 1e-4, 1e-9, "units"), Measure("KL", 1e-3, limit=None)],
        "layers": {"layers.0": 1e-3, "layers.1": 2e-3}, "num_layers": 3, "difference": 2e-3,
        "noise": Noise({"a": 1e-12, "b": 1e-13}, {"c": 0.5}), "limit": Limit(1e-9, 1e-10, "rounding", "why"),
    }  # fmt: skip
    return Verification(**(told | more))


def test_the_answer_says_where_why_and_what_is_left() -> None:
    place = Divergence("layers.1", ("layers.1", "out"), "layers.0", 0.25, 3)
    why = Explanation("eps", ("layers.1.norm",), "says", "advice")
    told = answer(divergence=place, explanations=[why], unexplained=place, notes=["n"], seconds=1.23456)
    lines = told.table().splitlines()
    assert "FAIL" in next(line for line in lines if line.strip().startswith("logits"))
    assert next(line for line in lines if line.strip().startswith("KL")).split()[-1] != "ok"
    assert any("2 of 3 layers" in line and "worst layers.1  |Δ| 2.0e-03" in line for line in lines)
    assert any(line.startswith("explained by: eps in layers.1.norm: says. Fix: advice") for line in lines)
    assert lines[-1].endswith(str(place))
    assert any(line == "note       n" for line in lines)
    assert any("(c)" in line for line in lines)
    found = told.to_dict()
    assert (found["passed"], found["verdict"], found["difference"]) == (False, "not the same", 2e-3)
    assert (found["noise"], found["noise_of"]) == (1e-12, {"a": 1e-12, "b": 1e-13, "c": 0.5})
    assert (found["limit"], found["limit_source"], found["limit_reason"]) == (1e-9, "rounding", "why")
    assert (found["layers_compared"], found["seconds"]) == ("2 of 3", 1.235)
    del found["first_divergence"]["said"]
    assert found["first_divergence"] == {
        "place": "layers.1", "event": ["layers.1", "out"], "after": "layers.0", "difference": 0.25, "position": 3
    }  # fmt: skip
    assert found["explanations"] == [{"mistake": "eps", "where": ["layers.1.norm"], "says": "says", "advice": "advice"}]
    assert found["measures"][0] == {
        "name": "logits", "max": 2e-3, "mean": 1e-4, "limit": 1e-9, "said": "units", "ok": False
    }  # fmt: skip
    assert len(found["notes"]) == 2
    page = told.html()
    assert page.count("<tr>") == 3
    assert told._repr_html_() == page


def test_the_answer_without_a_place_or_a_mistake_says_so() -> None:
    assert "no module differs by more than rounding" in answer().table()
    place = Divergence("layers.1", ("layers.1", "out"), "layers.0", 0.25, 3)
    assert "none of the known mistakes" in answer(divergence=place).table()
    good = answer(measures=[Measure("logits", 0.0, limit=1.0)], difference=5e-11, num_layers=2, noise=Noise())
    assert (good.verdict, good.passed) == ("the same", True)
    assert "first divergence" not in good.table()
    assert "2 layers" in good.table()
    assert "not measured" in good.table()
    assert replace(good, difference=1e-10).verdict == "the same"
    assert replace(good, difference=2e-10).verdict == "the same within the reference's own rounding"
    assert replace(good, difference=0.5, limit=Limit(1.0, 1e-10, GIVEN, "")).verdict == "the same"
    assert good.to_dict()["first_divergence"] is None
    assert _in_words(Measure("x", 0.5, 0.25, 2.0, "said")) == "max |Δ| 5.0e-01  mean 2.5e-01  limit 2e+00  said"
    assert _in_words(Measure("next token", 3.0, limit=0.0, said="2/5 agree")) == "2/5 agree"
    assert _in_words(Measure("cached", 0.0, said="not run: why")) == "not run: why"
    assert copy.copy(good).table() == good.table()
