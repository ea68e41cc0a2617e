"""Tables name each of our tensors after the foreign ones, in both directions, each exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.weights import Table, alias, ignore, rename, respell, rule, same, split, stack, transpose, under
from zoo.weights.ops import Op
from zoo.weights.table import Identity, foreign_shapes

Pair = tuple[tuple[str, ...], tuple[str, ...]]  # ours, theirs

LAYERS = "layers.{i}", "model.layers.{i}"

FUSED = rule(("attn.q", "attn.k"), "attn.qk", split(4, 2))
EXPERTS = rule("mlp.experts.up", "mlp.experts.{e}.w1.weight", stack(3), e=3)


def planned(table: Table, *ours: str, present: list[str] | None = None) -> list[Pair]:
    steps, orphans = table.plan(ours, present)
    assert not orphans
    return [(step.ours, step.theirs) for step in steps]


def test_a_rename_covers_a_tensor_or_all_below_a_module() -> None:
    table = Table(rename("embed", "wte"), rename("scale", "logit_scale"))
    assert planned(table, "embed.weight", "embed.deep.bias", "scale") == [
        (("embed.weight",), ("wte.weight",)),
        (("embed.deep.bias",), ("wte.deep.bias",)),
        (("scale",), ("logit_scale",)),
    ]


@pytest.mark.parametrize(
    "name", ["embedding.weight", "my.embed.weight", "embed_tokens", "embed.", "layers.x.attn.w", "layers.1"]
)
def test_a_template_matches_whole_parts_of_a_name_only(name: str) -> None:
    table = Table(rename("embed", "wte"), rename("layers.{i}.attn", "h.{i}.attn"))
    assert table.plan([name]) == ([], [name])


def test_dots_in_a_template_are_dots() -> None:
    assert Table(rename("a.b", "x")).plan(["a_b"]) == ([], ["a_b"])


def test_a_layers_number_goes_along() -> None:
    table = Table(rename("layers.{i}.experts.{j}.up", "h.{i}.mlp.{j}.w1"))
    assert planned(table, "layers.12.experts.3.up.weight") == [
        (("layers.12.experts.3.up.weight",), ("h.12.mlp.3.w1.weight",))
    ]


def test_the_first_rule_that_matches_owns_a_name() -> None:
    table = Table(rename("attn.q", "first"), rename("attn", "second"))
    assert planned(table, "attn.q.weight", "attn.k.weight") == [
        (("attn.q.weight",), ("first.weight",)),
        (("attn.k.weight",), ("second.k.weight",)),
    ]


def test_a_rule_of_several_makes_one_step_for_weights_and_one_for_biases() -> None:
    ours = ["attn.q.weight", "attn.k.weight", "attn.q.bias", "attn.k.bias"]
    assert planned(Table(FUSED), *ours) == [
        (("attn.q.weight", "attn.k.weight"), ("attn.qk.weight",)),
        (("attn.q.bias", "attn.k.bias"), ("attn.qk.bias",)),
    ]


def test_indices_that_only_they_have_run_over_their_range() -> None:
    assert planned(Table(EXPERTS), "mlp.experts.up") == [
        (("mlp.experts.up",), tuple(f"mlp.experts.{e}.w1.weight" for e in range(3)))
    ]
    grid = Table(rule("all", "part.{a}.{b}", stack(6), a=2, b=3))
    assert planned(grid, "all")[0][1] == tuple(f"part.{a}.{b}" for a in range(2) for b in range(3))


def test_of_alternatives_the_first_that_is_there_whole_is_taken() -> None:
    table = Table(EXPERTS, rename("mlp.experts.up", "mlp.experts.w1"), rename("mlp.experts.up", "mlp.old"))
    loose = [f"mlp.experts.{e}.w1.weight" for e in range(3)]
    assert planned(table, "mlp.experts.up", present=loose)[0][1] == tuple(loose)
    assert planned(table, "mlp.experts.up", present=[*loose[:2], "mlp.old"])[0][1] == ("mlp.old",)
    assert planned(table, "mlp.experts.up", present=["mlp.experts.w1", "mlp.old"])[0][1] == ("mlp.experts.w1",)


def test_where_no_alternative_is_there_the_first_says_what_is_missing() -> None:
    table = Table(EXPERTS, rename("mlp.experts.up", "mlp.experts.w1"))
    assert planned(table, "mlp.experts.up", present=["mlp.experts.0.w1.weight"])[0][1][1] == "mlp.experts.1.w1.weight"


def test_an_export_writes_the_first_alternative() -> None:
    table = Table(rename("embed", "new"), rename("embed", "old"))
    assert planned(table, "embed.weight") == [(("embed.weight",), ("new.weight",))]


def test_names_that_no_rule_yields_are_orphans() -> None:
    steps, orphans = Table(rename("embed", "wte")).plan(["embed.weight", "head.weight"])
    assert [s.ours for s in steps] == [("embed.weight",)]
    assert orphans == ["head.weight"]


def test_under_puts_every_kind_of_entry_below_two_prefixes() -> None:
    entries = under(*LAYERS, rename("norm", "ln"), FUSED, ignore("attn.mask", "a buffer"), alias("copy", of="ln"))
    table = Table(entries)
    assert planned(table, "layers.7.norm.weight", "layers.7.attn.q.weight", "layers.7.attn.k.weight") == [
        (("layers.7.norm.weight",), ("model.layers.7.ln.weight",)),
        (("layers.7.attn.q.weight", "layers.7.attn.k.weight"), ("model.layers.7.attn.qk.weight",)),
    ]
    assert table.ignoring("model.layers.7.attn.mask").reason == "a buffer"
    assert table.ignoring("attn.mask") is None
    assert (table.aliases[0].theirs, table.aliases[0].of) == ("model.layers.{i}.copy", "model.layers.{i}.ln")


def test_under_nothing_leaves_names_alone() -> None:
    assert under("", "", FUSED) == [FUSED]
    assert planned(Table(under("", "bert", rename("embed", "emb"))), "embed.weight")[0][1] == ("bert.emb.weight",)


def test_what_is_ignored_is_ignored_with_all_below_it_and_a_reason() -> None:
    table = Table(ignore("h.{i}.attn.bias", "the causal mask"), ignore("vision", "text only"))
    assert table.ignoring("h.3.attn.bias").reason == "the causal mask"
    assert table.ignoring("vision.layers.0.weight").reason == "text only"
    assert table.ignoring("h.3.attn.bias_k") is None
    assert table.ignoring("visions.weight") is None


def test_older_spellings_become_the_tables() -> None:
    spell = respell((r"^bert\.", ""), (r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))
    assert [spell(n) for n in ("bert.norm.gamma", "norm.beta", "norm.weight")] == [
        "norm.weight", "norm.bias", "norm.weight",
    ]  # fmt: skip


def test_the_identity_is_every_name_itself() -> None:
    assert planned(Identity(), "a.weight", "b") == [(("a.weight",), ("a.weight",)), (("b",), ("b",))]


def test_shapes_of_theirs_follow_from_ours() -> None:
    steps, _ = Table(FUSED, EXPERTS, rule("head", "wte", transpose)).plan(
        ["attn.q.weight", "attn.k.weight", "mlp.experts.up", "head.weight"]
    )
    shapes = {"attn.q.weight": (4, 8), "attn.k.weight": (2, 8), "mlp.experts.up": (3, 5, 8), "head.weight": (9, 8)}
    assert [foreign_shapes(step, shapes) for step in steps] == [
        {"attn.qk.weight": (6, 8)},
        {f"mlp.experts.{e}.w1.weight": (5, 8) for e in range(3)},
        {"wte.weight": (8, 9)},
    ]


def test_a_step_reads_as_a_sentence() -> None:
    steps, _ = Table(FUSED, rename("embed", "wte"), rule("up", "{e}.w", stack(9), e=9)).plan(
        ["attn.q.weight", "attn.k.weight", "embed.weight", "up"]
    )
    assert [str(step) for step in steps] == [
        "attn.q.weight, attn.k.weight  ←  attn.qk.weight   split(4, 2)",
        "embed.weight  ←  wte.weight",
        "up  ←  0.w, …, 8.w   stack(9)",
    ]


def test_a_table_needs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, zoo.weights.table, zoo.weights.account, zoo.weights.foreign.config; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_tensor_of_one_alternative_is_not_asked_for_in_another() -> None:
    """The file has q and k apart, and k is lost: k is missing, not the fused tensor that would hold both."""
    table = Table(FUSED, rename("attn.q", "attn.q_proj"), rename("attn.k", "attn.k_proj"))
    assert planned(table, "attn.q.weight", "attn.k.weight", present=["attn.q_proj.weight"]) == [
        (("attn.q.weight",), ("attn.q_proj.weight",)),
        (("attn.k.weight",), ("attn.k_proj.weight",)),
    ]


def test_a_rule_that_also_yields_what_the_model_lacks_does_not_apply() -> None:
    steps, orphans = Table(FUSED).plan(["attn.q.weight", "attn.k.weight", "attn.q.bias"])
    assert [step.ours for step in steps] == [("attn.q.weight", "attn.k.weight")]
    assert orphans == ["attn.q.bias"]


@pytest.mark.slow
@given(st.data())
def test_every_name_is_in_exactly_one_step_whatever_is_there(data: st.DataObject) -> None:
    """Fused, split and renamed alternatives of the same tensors, of which any may be in the file."""
    loose = [rename("attn.q", "attn.q_proj"), rename("attn.k", "attn.k_proj")]
    entries = data.draw(st.permutations([FUSED, *loose, rename("attn", "old")]))
    table = Table(under(*LAYERS, *entries))
    names = ["attn.q.weight", "attn.k.weight"]
    ours = [f"layers.{i}.{name}" for i in range(3) for name in names]
    theirs = [f"model.layers.{i}.{n}.weight" for i in range(3) for n in ("attn.qk", "attn.q_proj", "attn.k_proj")]
    present = data.draw(st.sets(st.sampled_from(theirs)))
    steps, orphans = table.plan(ours, present)
    assert sorted([name for step in steps for name in step.ours] + orphans) == sorted(ours)
    theirs = [name for step in steps for name in step.theirs]
    assert len(theirs) == len(set(theirs))


def test_an_op_is_shown_by_its_name() -> None:
    assert isinstance(same, Op)
    assert str(rename("a", "b").op) == "same"
