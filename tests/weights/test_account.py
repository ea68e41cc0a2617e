"""Every foreign tensor ends in exactly one column, from names, shapes and dtypes alone."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.weights import Table, TensorInfo, alias, ignore, rename, respell, rule, split, stack
from zoo.weights.account import Account, grouped, settle

SHAPES = {
    "embed.weight": (7, 4),
    "layers.0.q": (4, 4),
    "layers.0.k": (2, 4),
    "layers.1.q": (4, 4),
    "layers.1.k": (2, 4),
}
TABLE = Table(
    rename("embed", "wte"),
    rule(("layers.{i}.q", "layers.{i}.k"), "h.{i}.qk", split(4, 2)),
    ignore("h.{i}.mask", "the causal mask is computed"),
    alias("head.weight", of="wte.weight"),
    spelling=respell((r"^old\.", "")),
)
WHOLE = {"wte.weight": (7, 4), "h.0.qk": (6, 4), "h.1.qk": (6, 4)}


def infos(shapes: dict[str, tuple[int, ...]], **dtypes: str) -> dict[str, TensorInfo]:
    """Headers of float32 tensors, but for those whose dtype is given, dots in their names left out."""
    return {
        name: TensorInfo(
            name, dtypes.get(name.replace(".", ""), "float32"), shape, Path("folder/model.safetensors"), 0, 0
        )
        for name, shape in shapes.items()
    }


def account(shapes: dict[str, tuple[int, ...]], table: Table = TABLE, **dtypes: str) -> Account:
    return settle(table, SHAPES, infos(shapes, **dtypes))


def without(name: str) -> dict[str, tuple[int, ...]]:
    return {n: s for n, s in WHOLE.items() if n != name}


def test_a_whole_checkpoint_is_settled() -> None:
    a = account(WHOLE)
    assert a.is_settled
    assert a.loaded == list(WHOLE)
    assert a.problems() == []
    assert a.fit == 1.0
    assert a.summary() == "3: 3 loaded · 0 tied · 0 missing · 0 unexpected"
    assert [step.ours for step in a.steps] == [
        ("embed.weight",), ("layers.0.q", "layers.0.k"), ("layers.1.q", "layers.1.k"),
    ]  # fmt: skip


def test_a_missing_tensor_is_named_with_the_shape_it_should_have() -> None:
    a = account(without("h.1.qk"))
    assert a.missing == {"h.1.qk": (6, 4)}
    assert not a.is_settled
    assert a.problems() == [("missing", "h.1.qk", "[6, 4]")]
    assert a.fit == 2 / 3


def test_an_unexpected_tensor_is_named_with_the_shape_it_has() -> None:
    a = account(WHOLE | {"extra": (3,)})
    assert a.unexpected == {"extra": (3,)}
    assert not a.is_settled
    assert a.problems() == [("unexpected", "extra", "[3]")]


def test_a_misshapen_tensor_is_no_longer_loaded() -> None:
    a = account(WHOLE | {"h.0.qk": (4, 6)})
    assert a.mismatched == {"h.0.qk": "[4, 6] in model.safetensors, expected [6, 4]"}
    assert a.loaded == ["wte.weight", "h.1.qk"]
    assert not a.is_settled


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool", "complex64"])
def test_numbers_that_are_not_floating_point_are_mismatched(dtype: str) -> None:
    a = account(WHOLE, wteweight=dtype)
    assert a.mismatched == {"wte.weight": f"{dtype} in model.safetensors, expected floating point"}
    assert not a.is_settled


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float8_e4m3fn", "Q4_K"])
def test_floating_point_and_quantised_numbers_are_loaded(dtype: str) -> None:
    assert account(WHOLE, wteweight=dtype).is_settled


def test_integers_that_are_ignored_do_no_harm() -> None:
    a = account(WHOLE | {"h.0.mask": (9, 9)}, h0mask="bool")
    assert a.is_settled
    assert a.ignored == {"h.0.mask": "the causal mask is computed"}
    assert a.summary() == "4: 3 loaded · 0 tied · 1 ignored (the causal mask is computed) · 0 missing · 0 unexpected"


def test_a_second_copy_is_tied() -> None:
    a = account(WHOLE | {"head.weight": (7, 4)})
    assert a.tied == {"head.weight": "wte.weight"}
    assert a.is_settled
    assert a.summary() == "4: 3 loaded · 1 tied (head.weight ← wte.weight) · 0 missing · 0 unexpected"


def test_a_second_copy_of_another_shape_is_none() -> None:
    a = account(WHOLE | {"head.weight": (8, 4)})
    assert a.mismatched == {"head.weight": "[8, 4] in model.safetensors, expected [7, 4] like wte.weight"}
    assert not a.is_settled


def test_the_copy_serves_where_the_first_is_absent() -> None:
    a = account(without("wte.weight") | {"head.weight": (7, 4)})
    assert a.is_settled
    assert (set(a.loaded), a.tied) == ({"head.weight", "h.0.qk", "h.1.qk"}, {})
    assert a.actual["wte.weight"] == "head.weight"


def test_a_tensor_that_two_of_ours_come_from_is_loaded_once() -> None:
    shapes = {"embed.weight": (7, 4), "head.weight": (7, 4)}
    a = settle(Table(rename("embed", "wte"), rename("head", "wte")), shapes, infos({"wte.weight": (7, 4)}))
    assert a.is_settled
    assert a.loaded == ["wte.weight"]


def test_names_are_told_as_the_file_spells_them() -> None:
    a = account({f"old.{n}": s for n, s in WHOLE.items()} | {"old.extra": (1,)})
    assert a.loaded == ["old.wte.weight", "old.h.0.qk", "old.h.1.qk"]
    assert a.unexpected == {"old.extra": (1,)}


def test_two_spellings_of_one_tensor_are_a_duplicate() -> None:
    a = account(WHOLE | {"old.wte.weight": (7, 4)})
    assert a.mismatched == {"old.wte.weight": "a second wte.weight"}
    assert not a.is_settled


def test_a_weight_of_ours_without_a_rule_is_an_orphan() -> None:
    a = settle(Table(rename("embed", "wte")), SHAPES, infos(WHOLE))
    assert a.orphans == ["layers.0.q", "layers.0.k", "layers.1.q", "layers.1.k"]
    assert ("no rule for", "layers.{0..1}.q", "") in a.problems()
    assert not a.is_settled


def test_allowed_tensors_are_ignored_or_left_out_and_the_others_are_not() -> None:
    a = account(without("h.1.qk") | {"extra.a": (1,), "other": (2,)})
    a.allow(["extra.*", "h.1.*"])
    assert a.ignored == {"extra.a": "allowed by 'extra.*'"}
    assert (a.missing, a.unexpected) == ({}, {"other": (2,)})
    assert [step.theirs for step in a.steps] == [("wte.weight",), ("h.0.qk",)]


def test_misshapen_tensors_are_never_allowed() -> None:
    a = account(WHOLE | {"h.0.qk": (4, 6)})
    a.allow(["*"])
    assert not a.is_settled


def test_what_goes_with_an_allowed_missing_tensor_is_not_called_loaded() -> None:
    """Of a stack of experts one is missing: the stack is random, so the others were not loaded either."""
    shapes = {"experts": (3, 5), "norm": (4,)}
    table = Table(rule("experts", "e.{e}", stack(3), e=3), rename("norm", "norm"))
    a = settle(table, shapes, infos({"e.0": (5,), "e.2": (5,), "norm": (4,)}))
    a.allow(["e.1"])
    assert a.is_settled
    assert a.loaded == ["norm"]
    assert a.ignored == {n: "belongs to e.1, allowed by 'e.1'" for n in ("e.0", "e.2")}


@given(st.data())
def test_every_tensor_is_in_exactly_one_column(data: st.DataObject) -> None:
    names = [*WHOLE, "head.weight", "old.wte.weight", "old.h.0.qk", "h.0.mask", "h.1.mask", "extra", "h.0.q"]
    present = data.draw(st.lists(st.sampled_from(names), unique=True))
    sizes = [(7, 4), (6, 4), (4, 6), ()]
    found = infos({n: data.draw(st.sampled_from([WHOLE.get(n, (7, 4)), *sizes])) for n in present})
    a = settle(TABLE, SHAPES, found)
    a.allow(data.draw(st.lists(st.sampled_from(["extra", "h.*", "*"]), max_size=1)))
    columns = [a.loaded, a.tied, a.ignored, a.unexpected, a.mismatched]
    assert sorted(name for column in columns for name in column) == sorted(present)
    assert not set(a.missing) & set(a.actual)
    read = {a.actual[name] for step in a.steps for name in step.theirs if name in a.actual}
    assert set(a.loaded) <= read
    if a.is_settled:
        assert read == set(a.loaded)


def test_names_that_differ_in_a_number_are_written_once() -> None:
    assert grouped(f"layers.{i}.norm.weight" for i in (0, 1, 2, 5, 7, 8)) == ["layers.{0..2,5,7..8}.norm.weight"]
    assert grouped(["a.weight", "layers.3.q", "b2.weight"]) == ["a.weight", "layers.3.q", "b2.weight"]
    assert grouped(["h.1", "h.0"]) == ["h.{0..1}"]
    assert grouped(f"l.{i}.e.{e}.w" for i in range(2) for e in range(2)) == ["l.{0..1}.e.0.w", "l.{0..1}.e.1.w"]


def test_problems_are_grouped_by_kind_and_shape() -> None:
    table = Table(rename("layers.{i}", "h.{i}"))
    shapes = {f"layers.{i}.w": (4, 4) for i in range(32)} | {"layers.32.w": (9, 9)}
    assert settle(table, shapes, {}).problems() == [
        ("missing", "h.{0..31}.w", "[4, 4]"),
        ("missing", "h.32.w", "[9, 9]"),
    ]


def test_an_account_is_json() -> None:
    a = account(without("h.1.qk") | {"head.weight": (7, 4), "extra": (1, 2)})
    assert a.to_dict() == {
        "loaded": 2, "tied": {"head.weight": "wte.weight"}, "ignored": {}, "missing": {"h.1.qk": [6, 4]},
        "unexpected": {"extra": [1, 2]}, "mismatched": {},
    }  # fmt: skip


@pytest.mark.slow
def test_settling_takes_time_in_proportion_to_the_number_of_tensors() -> None:
    """DeepSeek-V3 has 91,991. Sixteen times as many may take five times sixteen times as long, not sixteen squared."""

    def seconds(layers: int, experts: int = 200) -> float:
        table = Table(rule("layers.{i}.e", "h.{i}.{e}", stack(experts), e=experts))
        shapes = {f"layers.{i}.e": (experts, 2) for i in range(layers)}
        found = infos({f"h.{i}.{e}": (2,) for i in range(layers) for e in range(experts)})
        start = process_time()
        assert settle(table, shapes, found).is_settled
        return process_time() - start

    seconds(2)
    assert min(seconds(80) for _ in range(2)) < 5 * 16 * max(seconds(5) for _ in range(3))


def test_only_missing_tensors_that_match_are_left_out() -> None:
    a = account(without("h.1.qk") | {"wte.weight": (9, 4)})
    b = account({"h.0.qk": (6, 4)})
    b.allow(["h.*"])
    assert set(b.missing) == {"wte.weight"}
    assert (a.fit, b.fit) == (1 / 3, 1 / 2)


def test_weights_that_the_table_does_not_know_count_against_it() -> None:
    """Of four weights the table reads three; the fourth is a plugin's bug."""
    a = settle(TABLE, SHAPES | {"layers.0.o": (4, 4)}, infos(WHOLE))
    assert a.orphans == ["layers.0.o"]
    assert a.fit == 3 / 4
    assert not a.is_settled
