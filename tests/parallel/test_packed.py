"""Packed weights over two ranks: each holds its rows and columns of codes and scales, and computes as one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.files.packed import by_hand, tiny
from tests.plugins.test_gpt_oss import folders
from zoo.errors import ZooError
from zoo.files.packed import PackedMatrix
from zoo.generation import generate
from zoo.nn.packed import packed_layers
from zoo.testing.apart import over_ranks

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")]
__all__ = ["folders"]  # a fixture: experts in MXFP4, and in bfloat16

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16}
INT4 = {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32}
GROUPS = {"quant_method": "compressed-tensors", "config_groups": {"0": {"targets": ["Linear"], "weights": INT4}}}
PACKED: dict[str, tuple[Any, dict[str, Any]]] = {
    "gptq": (by_hand.gptq(4, 16, index=False), GPTQ),
    "ordered": (by_hand.gptq(4, 16, ordered=True), GPTQ | {"desc_act": True}),
    "awq": (by_hand.awq(16), {"quant_method": "awq", "bits": 4, "group_size": 16}),
    "int4": (by_hand.int4, GROUPS),  # 96 columns are three groups of 32
}
KEPT = ("gptq", "ordered", "awq")
SIZES = (
    "model.num_layers=1", "model.hidden_size=128", "model.num_heads=4", "model.head_dim=32",
    "model.intermediate_size=128", "model.vocab_size=97",
)  # fmt: skip
ROUNDED = [("int8", 1), ("int8", 2), ("int4", 2)]  # how, and heads of keys and values: one is used by both ranks
TOKENS = torch.arange(10)[None]


def observed(rank: int, root: str, packed: str, plain: str) -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh

    tp, ep = (init_device_mesh("cpu", (2,), mesh_dim_names=(way,)) for way in ("tp", "ep"))
    told: dict[str, Any] = {"gaps": {}, "counts": {}, "bits": {}}
    for name in PACKED:
        told["counts"][name] = counted(told["gaps"], f"{root}/{name}", tp)
    told["counts"]["experts"] = counted(told["gaps"], packed, ep)
    for folder, mesh, more in [
        *((f"{root}/{name}", tp, {"keep_packed": True}) for name in KEPT),
        (packed, tp, {"keep_packed": True}), (packed, ep, {"keep_packed": True}),
        (plain, tp, {"quantize": "int8"}), (plain, ep, {"quantize": "int4"}),
    ]:  # fmt: skip
        one, cut = (zoo.load(folder, dtype="float64", mesh=m, **more) for m in (None, mesh))
        told["gaps"][f"{folder} {mesh} {more}"] = compared(one, cut)
        if folder.endswith("gptq"):
            whole = packed_layers(one)
            told["halves"] = [(2 * layer.nbytes, whole[n].nbytes) for n, layer in packed_layers(cut).items()]
            told["refused"] = [refusal(lambda cut=cut: zoo.save(cut, f"{root}/out")), refusal(cut.state_dict)]
    told["refused"] += [refusal(lambda: zoo.load(f"{root}/int4", keep_packed=True, mesh=tp))]
    told["refused"] += [refusal(lambda: zoo.load(f"{root}/gptq", quantize="int4-64", mesh=tp))]
    for how, heads in ROUNDED:
        for dtype in ("float64", "bfloat16"):
            sizes = (*SIZES, f"model.num_kv_heads={heads}")
            one, cut = (
                zoo.build("llama3", *sizes, device="cpu", dtype=dtype, quantize=how, mesh=m) for m in (None, tp)
            )
            told["bits"][how, heads, dtype] = compared(one, cut)
    return told


def counted(gaps: dict[str, Any], folder: str, mesh: Any) -> tuple[int, int]:
    """How many numbers a rank unpacks as it loads, and how many there are."""
    counts, unpack = [], PackedMatrix.unpack

    def spy(self: PackedMatrix, *given: Any) -> Any:
        found = unpack(self, *given)
        counts[-1] += found.numel()
        return found

    models = []
    for m in (mesh, None):
        counts.append(0)
        PackedMatrix.unpack = spy  # type: ignore[method-assign]
        try:
            models.append(zoo.load(folder, dtype="float64", mesh=m))
        finally:
            PackedMatrix.unpack = unpack  # type: ignore[method-assign]
    gaps[f"{folder} unpacked"] = compared(models[1], models[0])
    return counts[0], counts[1]


def compared(one: Any, cut: Any) -> tuple[float, float, bool]:
    """How far outputs and gradients are apart, and whether the text is the same."""
    from zoo.parallel.gathering import whole

    outputs = [model(TOKENS) for model in (one, cut)]
    for out in outputs:
        out.float().square().mean().backward()
    expected = {name: p.grad for name, p in one.named_parameters()}
    found = {name: whole(p.grad) for name, p in cut.named_parameters()}
    assert expected.keys() == found.keys()
    gaps = [(found[name] - grad).abs().max() / grad.abs().max() for name, grad in expected.items() if grad.any()]
    texts = [generate(m, TOKENS[:, :4], max_new_tokens=5, eos_token_id=[]).new_tokens for m in (one, cut)]
    return (outputs[0] - outputs[1]).abs().max().item(), max(gaps).item(), texts[0] == texts[1]


def refusal(attempt: Any) -> str:
    with pytest.raises(ZooError) as refused:
        attempt()
    return str(refused.value)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, folders: tuple[Path, Path]) -> list[dict[str, Any]]:
    root = tmp_path_factory.mktemp("packed")
    for name, (pack, config) in PACKED.items():
        tiny.packed(root / name, pack, quantization_config=config)
    return over_ranks(observed, str(root), *map(str, folders), seconds=120)


def test_they_compute_learn_and_write_as_in_one_process(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        for case, (outputs, gradients, is_same_text) in of_rank["gaps"].items():
            # float64: sums in another order, of logits of order 1 to 100 where random experts are as large
            assert outputs < 1e-11, case
            assert gradients < 1e-9, case
            assert is_same_text, case


def test_a_rank_unpacks_its_share_and_what_a_border_of_groups_adds(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        for case in ("gptq", "ordered", "awq", "experts"):
            mine, all_numbers = of_rank["counts"][case]
            assert 2 * mine == all_numbers, case
        mine, all_numbers = of_rank["counts"]["int4"]
        assert mine - all_numbers / 2 == 64 * (64 - 48)  # of 96 columns a rank has 48, and two groups have 64


def test_a_rank_holds_half_of_every_packed_matrix(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        assert len(of_rank["halves"]) == 7
        assert all(mine == whole for mine, whole in of_rank["halves"])


def test_what_ends_within_a_group_is_refused_with_the_sizes_that_work(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        saved, state, kept, rounded = of_rank["refused"]
        assert "each rank has a part of them" in saved
        assert "has no state dict" in state
        assert kept.startswith(
            "tp=2 cannot cut this model: layers.0.mlp.down_proj.weight in groups of 32 columns has 3"
        )
        assert "sizes that work: 1" in kept
        assert "in groups of 64 columns has 1" in rounded


@pytest.mark.parametrize(("how", "heads"), ROUNDED)
def test_a_model_that_is_built_rounded_is_that_of_one_process(told: list[dict[str, Any]], how: str, heads: int) -> None:
    for of_rank in told:
        outputs, gradients, is_same = of_rank["bits"][how, heads, "float64"]
        assert (outputs < 1e-12, gradients < 1e-9, is_same) == (True, True, True)  # sums in another order
        outputs, _, is_same = of_rank["bits"][how, heads, "bfloat16"]
        # Kernels round results to bfloat16: a sum in another order may be rounded to the neighbour, 2^-8 away.
        assert outputs <= 2**-8
        assert is_same
