"""Texts over ranks; the contract compares every family whose texts are parted with one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.learning import gradients, summed, wrong_gradients
from zoo.testing.measure import difference

pytestmark = pytest.mark.slow

RANKS, LENGTH = 3, 20  # parts of 7, 7 and 6 tokens


def subject(name: str, **changes: Any) -> Subject:
    tiny: Any = installed()[name].config_class.tiny()
    return Subject(installed()[name], replace(tiny, **changes))


def stretched(name: str) -> Subject:
    tiny: Any = installed()[name].config_class.tiny()
    return subject(name, max_seq_len=64, rope=replace(tiny.rope, scaling="dynamic", factor=2.0, original_max_seq_len=8))


def chunked() -> Subject:
    tiny: Any = installed()["qwen2"].config_class.tiny()
    return subject(
        "qwen2",
        sliding_window=None,
        sliding_layers=None,
        dual_chunk=replace(tiny.dual_chunk, chunk_size=6, local_size=2),
    )


def padding() -> Tensor:
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[0, :9] = mask[1, 16:] = (
        False  # the first part of one row has nothing but padding, the last of the other little
    )
    return mask


def continued(model: Any, texts: Tensor) -> dict[str, Tensor]:
    """Logits of two passes over a padded text and of three tokens after it, one at a time."""
    cache, found = model.new_cache(2, LENGTH + 3), {}
    with torch.no_grad():
        for name, part in (("first", slice(0, 12)), ("second", slice(12, LENGTH))):
            mask = padding()[:, part]
            found[name] = model(texts[:, part], attention_mask=mask, cache=cache)[mask]
        for i in range(3):
            found[f"token {i}"] = model(texts[:, i : i + 1], cache=cache, last=True)
    return found


CASES: dict[str, tuple[str, Callable[[Any, Tensor], dict[str, Tensor]]]] = {
    "padded": ("llama", lambda m, t: {"logits": m(t, attention_mask=padding())[padding()]}),
    "the last": ("llama", lambda m, t: {"logits": m(t, attention_mask=padding(), last=True)}),
    "states": ("llama", lambda m, t: {"states": m.states(t), "logits": m.states(t, last=True)}),
    "fewer tokens than ranks": ("llama", lambda m, t: {"logits": m(input_ids=t[:, :2])}),
    "a length that changes angles": ("stretched", lambda m, t: {"logits": m(t)}),
    "padding and such a length": ("stretched", lambda m, t: {"logits": m(t, attention_mask=padding())[padding()]}),
    "dual chunks": ("chunked", lambda m, t: {"logits": m(t)}),
}
MODELS = {"llama": subject("llama"), "stretched": stretched("llama"), "chunked": chunked()}
CONTINUED = {**MODELS, "windowed": subject("mistral"), "latent": subject("deepseek")}
REFUSED = {"t5": "otherwise than one stack of layers", "qwen3_next": "layers of QwenHybrid keep a RetracedCache"}


def observed(rank: int, folder: str) -> dict[str, Any]:
    """What differs from one process, and what is refused."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("cp",))
    told: dict[str, Any] = {"faults": {}, "refused": {}}
    # What learns is settled only after loading.
    models = {name: [zoo.load(f"{folder}/{name}", mesh=m) for m in (None, mesh)] for name in CONTINUED}
    for pair in models.values():
        for model in pair:
            model.requires_grad_(False)
    for case, (name, run) in CASES.items():
        told["faults"][case] = [*faults(models[name], MODELS[name].tokens(2, LENGTH), run)]
    for name, (one, parted) in models.items():
        found = [continued(model, CONTINUED[name].tokens(2, LENGTH)) for model in (one, parted)]
        gaps = {place: difference(found[1][place], x) for place, x in found[0].items()}
        told["faults"][f"continued {name}"] = [place for place, gap in gaps.items() if not gap < 1e-12]
    for name in REFUSED:
        told["refused"][name] = refusal(lambda name=name: zoo.load(f"{folder}/{name}", mesh=mesh))
    told["learned"] = [x.tolist() for _, x in gradients(models["llama"][1])]  # of two passes, added up
    texts = MODELS["llama"].tokens(1, 6)
    numbered = torch.tensor([[1, 1, 2, 2, 2, 2]])
    told["refused"]["documents"] = refusal(lambda: models["llama"][1](texts, attention_mask=numbered))
    return told


def faults(models: list[Any], texts: Tensor, run: Callable[[Any, Tensor], dict[str, Tensor]]) -> Any:
    found = []
    for model in models:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
        for _ in range(2):  # the second time gradients are added
            found.append(run(model, texts))
            summed(found[-1]).backward()
    for name, x in found[0].items():
        if not (gap := difference(found[3][name].detach(), x.detach())) < 1e-12:
            yield f"{name} differs by {gap:.1e}"
    yield from wrong_gradients(models[0], dict(gradients(models[1])))


def refusal(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except UsageError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("texts")
    for name, s in (*CONTINUED.items(), *((name, subject(name)) for name in REFUSED)):
        zoo.save(s.model, folder / name)
    return over_ranks(observed, str(folder), count=RANKS)


def test_parts_of_texts_are_read_and_learned_from_as_whole_ones(told: list[dict[str, Any]]) -> None:
    """Outputs, and every gradient on every rank."""
    for of_rank in told:
        assert {case: words for case, words in of_rank["faults"].items() if words} == {}


def test_gradients_that_are_added_up_are_the_same_bits_on_all_ranks(told: list[dict[str, Any]]) -> None:
    """Otherwise weights that every rank has would drift apart."""
    assert told[0]["learned"]
    assert all(other["learned"] == told[0]["learned"] for other in told[1:])


def test_what_is_not_parted_is_refused_with_the_reason(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        for name, words in (*REFUSED.items(), ("documents", "several documents")):
            assert words in of_rank["refused"][name]
