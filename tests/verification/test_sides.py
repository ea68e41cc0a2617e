"""What a verification looks at: which module is whose, what enters and leaves it, and what is said of it in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.verification.named import Named
from zoo.registry import installed
from zoo.verification import names
from zoo.verification.inputs import Inputs
from zoo.verification.recording import Side, View, _first, layer_of, leaves, shared_prefix, stacks
from zoo.verification.reference import ROWS, zoo_side
from zoo.weights import Table, rename, rule, split
from zoo.weights.entries import alias


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
