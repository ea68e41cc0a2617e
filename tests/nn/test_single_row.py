"""Single rows in bfloat16 by torch's own kernel: rounded once, and the switch that chooses it left as it was."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.nn import halves, linear, products, single_row
from zoo.nn.products import Linear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
D, R = 256, 512
SOON = 60  # seconds for what takes none
HALF_ULP = torch.finfo(torch.bfloat16).eps / 2

Asked = list[tuple[int, bool]]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape).bfloat16()


def is_on() -> bool:
    return torch._C._get_mkldnn_enabled()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Of each product the numbers of its input, and whether torch would have asked oneDNN; on any processor."""
    found: Asked = []

    def product(x: Tensor, *others: Any) -> Tensor:
        found.append((x.numel(), is_on()))
        return of_torch(x, *others)

    of_torch = F.linear
    monkeypatch.setattr(halves, "IS_X86", True)
    monkeypatch.setattr(single_row, "is_by_onednn", lambda dtype: dtype is torch.bfloat16)
    monkeypatch.setattr(F, "linear", product)
    monkeypatch.setattr(products, "OWN_PRODUCT", product)
    return found


@pytest.mark.parametrize("shape", [(D,), (1, D), (1, 1, D)])
@pytest.mark.parametrize("bias", [None, drawn(R)], ids=["plain", "biased"])
def test_it_is_summed_in_float32_and_rounded_once(shape: tuple[int, ...], bias: Tensor | None, asked: Asked) -> None:
    x, weight = drawn(*shape), drawn(R, D)
    with torch.no_grad():
        found = linear(x, weight, bias)
    assert asked == [(D, False)]
    assert is_on()
    added = 0 if bias is None else bias.double()
    exact = x.double() @ weight.double().mT + added
    summed = (x.double().abs() @ weight.double().abs().mT + (0 if bias is None else bias.double().abs())) * (D + 1)
    assert found.shape == exact.shape
    assert ((found - exact).abs() <= HALF_ULP * exact.abs() + summed * torch.finfo(torch.float32).eps).all()


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (drawn(2, D), drawn(R, D)),
        (drawn(1, D), drawn(D, R).mT),
        (drawn(1, 8), drawn(8, 8)),
        (drawn(0, D), drawn(R, D)),
        (drawn(1, D).half(), drawn(R, D).half()),
    ],
    ids=["rows", "the other way", "small", "none", "float16"],
)
def test_all_else_is_left_to_torch(x: Tensor, weight: Tensor, asked: Asked) -> None:
    with torch.no_grad():
        assert torch.equal(linear(x, weight), x @ weight.mT)
    assert asked == [(x.numel(), True)]


def test_what_does_not_fit_is_refused_as_torch_refuses_it(asked: Asked) -> None:
    for x, weight in ((drawn(1, D + 1), drawn(R, D)), (drawn(1, D), drawn(R, D).float()), (drawn(1)[0], drawn(R, D))):
        with pytest.raises((RuntimeError, IndexError)) as ours:
            linear(x, weight)
        with pytest.raises((RuntimeError, IndexError)) as theirs:
            F.linear(x, weight)
        assert str(ours.value) == str(theirs.value)
        assert is_on()
        assert not single_row._several


def test_gradients_and_compilers_have_torchs_own(asked: Asked) -> None:
    layer = nn.Linear(D, R).bfloat16()
    layer.__class__ = Linear
    layer(drawn(1, D)).sum().backward()
    assert layer.weight.grad is not None
    assert asked == [(D, True)]


def test_a_switch_that_is_off_stays_off(asked: Asked) -> None:
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        linear(drawn(1, D), drawn(R, D))
        linear(drawn(2, D), drawn(R, D))
        assert not is_on()
    assert is_on()


@pytest.fixture
def held(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Event, Event]]:
    """For a number of rows: whether such a product has begun, and what lets it end."""
    inner, gates = F.linear, {}

    def product(x: Tensor, *others: Any) -> Tensor:
        if gate := gates.get(len(x)):
            gate[0].set()
            assert gate[1].wait(SOON)
        return inner(x, *others)

    def gate(rows: int) -> tuple[Event, Event]:
        return gates.setdefault(rows, (Event(), Event()))

    monkeypatch.setattr(F, "linear", product)
    monkeypatch.setattr(products, "OWN_PRODUCT", product)
    return gate


def multiplied(rows: int) -> None:
    with torch.no_grad():
        linear(drawn(rows, D), drawn(R, D))


def test_rows_of_another_thread_wait_for_a_single_one(held: Any, asked: Asked) -> None:
    begun, end = held(1)
    with ThreadPoolExecutor() as threads:
        one = threads.submit(multiplied, 1)
        assert begun.wait(SOON)
        many = threads.submit(multiplied, 3)
        while not single_row._several:
            assert not many.done()
        begun.clear()
        late = threads.submit(multiplied, 1)  # does not go before those that wait: torch's choice, which is off still
        assert begun.wait(SOON)
        assert not many.done()
        assert not is_on()
        assert single_row.is_wanted()
        end.set()
        for each in (one, many, late):
            each.result(SOON)
    assert (3 * D, True) in asked
    assert is_on()


def test_a_single_row_beside_others_is_left_to_torch(held: Any, asked: Asked) -> None:
    begun, end = held(3)
    with ThreadPoolExecutor() as threads:
        many = threads.submit(multiplied, 3)
        assert begun.wait(SOON)
        multiplied(1)
        end.set()
        many.result(SOON)
    assert sorted(asked) == [(D, True), (3 * D, True)]


@pytest.mark.parametrize("rows", [1, 3])
def test_an_interrupt_at_any_call_leaves_the_switch_on_and_nobody_waiting(rows: int, asked: Asked) -> None:
    x, weight, seen = drawn(rows, D), drawn(R, D), 0
    places = single_row.__file__, threading.__file__

    def interrupt(frame: Any, event: str, function: Any) -> None:
        nonlocal left
        if frame.f_code.co_filename in places and event in ("call", "c_return"):  # where Python looks
            left -= 1
            if not left:
                raise KeyboardInterrupt

    with torch.no_grad(), ThreadPoolExecutor(1) as another:
        while True:
            left = seen = seen + 1
            sys.setprofile(interrupt)
            try:
                linear(x, weight)
            except KeyboardInterrupt:
                pass
            finally:
                sys.setprofile(None)
            assert is_on()
            assert not single_row._single | single_row._several
            assert another.submit(single_row._lock.acquire, False).result(SOON)
            another.submit(single_row._lock.release).result(SOON)
            if left > 0:
                break
    assert seen > 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_waits_for_nobody(held: Any) -> None:
    begun, end = held(1)
    with ThreadPoolExecutor() as threads:
        one = threads.submit(multiplied, 1)
        assert begun.wait(SOON)
        if not (child := os.fork()):
            os._exit(0 if is_on() and not single_row._single else 1)
        end.set()
        one.result(SOON)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_models_step_is_as_near_as_torchs_own(asked: Asked) -> None:
    sizes = (
        "vocab_size=300",
        "num_layers=2",
        "hidden_size=256",
        "num_heads=4",
        "num_kv_heads=4",
        "intermediate_size=512",
    )
    model: Any = zoo.build("qwen2-0.5b", *(f"model.{size}" for size in sizes), device="cpu", dtype="bfloat16")
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        exact = model.double()(tokens)[:, -1:]
        model.bfloat16()
        assert {type(layer) for layer in model.modules() if isinstance(layer, nn.Linear)} == {Linear}
        model(tokens[:, :-1], cache=(cache := model.new_cache(1, 8)))
        asked.clear()
        found = model(tokens[:, -1:], cache=cache)
        assert {is_on for _, is_on in asked} == {False}
        own = model(tokens)[:, -1:]
    # Both round at the same places, and what is rounded otherwise in one layer goes on in the next.
    assert (found - exact).abs().max() <= 2 * (own - exact).abs().max()
