"""States parted between the blocks; the contract compares every kind of family with one process, here is what it meets.

Over three ranks, so that lengths do not divide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.errors import UsageError
from zoo.nn import Attention, GatedMLP, PreNormLayer, RMSNorm
from zoo.nn.decoder import Decoder
from zoo.parallel.estimate import activations
from zoo.parallel.layout import Layout
from zoo.registry import installed
from zoo.testing import Subject
from zoo.testing.apart import over_ranks
from zoo.testing.evened import evened
from zoo.testing.learning import gradients, summed, wrong_gradients
from zoo.testing.measure import difference
from zoo.testing.subject import peaked
from zoo.training.preparing import recompute

pytestmark = pytest.mark.slow

RANKS, LENGTH = 3, 20  # parts of 7, 7 and 6 tokens
Run = Callable[[Any, Tensor], dict[str, Tensor]]


NAMES = ("llama", "mistral", "deepseek", "t5", "qwen3_5", "qwen3_vl")


@cache
def subject(name: str) -> Subject:
    family = installed()[name]
    return Subject(family, evened(family.config_class.tiny(), RANKS))


def padding() -> Tensor:
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[0, :9] = mask[1, 16:] = False  # all that the first rank has of one row
    return mask


def padded(model: Any, texts: Tensor) -> dict[str, Tensor]:
    return {"logits": model(texts, attention_mask=padding())[padding()]}


def documents(model: Any, texts: Tensor) -> dict[str, Tensor]:
    numbers = torch.arange(LENGTH) // 5 % 4 + 1
    return {"logits": model(texts, attention_mask=torch.stack((numbers, numbers.sort().values)))}


def crossed(model: Any, texts: Tensor) -> dict[str, Tensor]:
    """A source of 20 tokens, some of them padding, and a target of 11."""
    return {"logits": model(texts, texts[:, :11].flip(1), attention_mask=padding().flip(0))}


def seen(model: Any, texts: Tensor) -> dict[str, Tensor]:
    """Pictures that two layers are told of besides."""
    texts = texts.clone()
    texts[0, 3:9], texts[1, 2:6], texts[1, 15] = 61, 61, 61
    pixels = torch.randn(44, 96, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return {"logits": model(texts, pixels=pixels, grid=torch.tensor([[1, 4, 6], [1, 4, 4], [1, 2, 2]]))}


def again(model: Any, texts: Tensor) -> dict[str, Tensor]:
    recompute(model)
    out = {"logits": model(texts)}
    summed(out).backward()
    recompute(model, False)
    return {"logits": model(texts)}


CASES: dict[str, tuple[str, Run]] = {
    "padded": ("llama", padded),
    "the last": ("llama", lambda m, t: {"logits": m(t, attention_mask=padding(), last=True)}),
    "states": ("llama", lambda m, t: {"states": m.states(t), "logits": m.states(t, last=True)}),
    "documents": ("llama", documents),
    "fewer tokens than ranks": ("llama", lambda m, t: {"logits": m(t[:, :2])}),
    "none for the last rank": ("llama", lambda m, t: {"logits": m(t[:, :4])}),
    "layers computed again": ("llama", again),
    "windows": ("mistral", padded),
    "latents": ("deepseek", padded),
    "states that go on": ("qwen3_5", padded),
    "a source": ("t5", crossed),
    "pictures": ("qwen3_vl", seen),
}


def continued(model: Any, texts: Tensor) -> dict[str, Tensor]:
    """Two passes over a padded text and three tokens after it, one at a time."""
    cache, found = model.new_cache(2, LENGTH + 3), {}
    with torch.no_grad():
        for name, part in (("first", slice(0, 12)), ("second", slice(12, LENGTH))):
            mask = padding()[:, part]
            found[name] = model(texts[:, part], attention_mask=mask, cache=cache)[mask]
        for i in range(3):
            found[f"token {i}"] = model(texts[:, i : i + 1], cache=cache, last=True)
    return found


def compared(models: list[Any], texts: Tensor, run: Run) -> Iterator[str]:
    """What of the outputs and the gradients is not what one process has."""
    found = []
    for model in models:
        model.zero_grad(set_to_none=True)
        found.append(run(model, texts))
        summed(found[-1]).backward()
    for name, x in found[0].items():
        if not (gap := difference(found[1][name].detach(), x.detach())) < 1e-12:
            yield f"{name} differs by {gap:.1e}"
    yield from wrong_gradients(models[0], whole_gradients(models[1]))


def whole_gradients(model: Any) -> dict[str, Tensor]:
    from zoo.parallel.gathering import whole

    return {name: whole(gradient) for name, gradient in gradients(model)}


class Boosted(Attention):
    """Does something with what its last product gives, and so says nothing of that."""

    def forward(self, x: Tensor, span: Any, cache: Any = None) -> Tensor:
        return super().forward(x, span, cache) * x.tanh()


class Claiming(Attention):
    """Says of its result what is not so."""

    last_part = "o_proj"

    def forward(self, x: Tensor, span: Any, cache: Any = None) -> Tensor:
        return super().forward(x, span, cache) * 2


class Shifted(PreNormLayer):
    """Mixes tokens beside its blocks, and says nothing."""

    def forward(self, x: Tensor, span: Any, cache: Any = None) -> Tensor:
        return super().forward(x + x.roll(1, 1), span, cache)


class Mixed(Decoder):
    """Layers of these kinds, or one that states pass through twice."""

    def __init__(
        self, config: Any, attn: type[Attention] = Attention, kinds: tuple[type, ...] = (), times: int = 1
    ) -> None:
        d, norm = config.hidden_size, lambda: RMSNorm(config.hidden_size, 1e-5)
        layers = (kind(attn(d, 6, 3, 4), GatedMLP(d, 12, F.silu), norm(), norm()) for kind in kinds)
        super().__init__(config, [*layers] * times, norm())


def strange(mesh: Any, attn: type[Attention], *kinds: type, times: int = 1) -> list[str] | str:
    """What is wrong with a stranger's model over the ranks."""
    from zoo.parallel.building import distribute

    config: Any = subject("llama").config
    torch.manual_seed(0)
    one: Any = peaked(Mixed(config, attn, kinds, times).double())
    cut: Any = Mixed(config, attn, kinds, times).double()
    cut.load_state_dict(one.state_dict())
    try:
        distribute(cut, mesh)
        return [*compared([one, cut], subject("llama").tokens(2, LENGTH), lambda m, t: {"logits": m(t)})]
    except UsageError as error:
        return str(error)


def kept(mesh: Any) -> int:
    """Bytes of what the graph of a rank holds, its weights left out."""
    model: nn.Module = zoo.build(wide(), device="cpu", mesh=mesh)
    weights = {p.to_local() if hasattr(p, "to_local") else p for p in model.parameters()}
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    found: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        if (storage := tensor.untyped_storage()).data_ptr() not in known:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.arange(96).view(2, 48))
    return sum(storage.nbytes() for storage in found.values())


def wide() -> Any:
    return installed()["llama"].config_class(
        vocab_size=210, hidden_size=96, intermediate_size=240, num_layers=4, num_heads=6, num_kv_heads=3, head_dim=16
    )


def observed(rank: int, folder: str) -> dict[str, Any]:
    """What differs from one process, what is refused, and what is kept."""
    from torch.distributed.device_mesh import init_device_mesh

    meshes = {way: init_device_mesh("cpu", (RANKS,), mesh_dim_names=(way,)) for way in ("sp", "tp")}
    models = {name: [zoo.load(f"{folder}/{name}", mesh=mesh) for mesh in (None, meshes["sp"])] for name in NAMES}
    faults = {
        case: [*compared(models[name], subject(name).tokens(2, LENGTH), run)] for case, (name, run) in CASES.items()
    }
    for name in ("llama", "mistral", "deepseek", "qwen3_5"):
        one, cut = (continued(model, subject(name).tokens(2, LENGTH)) for model in models[name])
        faults[f"continued {name}"] = [place for place, x in one.items() if not difference(cut[place], x) < 1e-12]
    learned = {n: g.tolist() for n, g in whole_gradients(models["llama"][1]).items() if "norm" in n}
    return {
        "faults": faults,
        "learned": learned,
        "strange": {
            "between": strange(meshes["sp"], Attention, PreNormLayer, Shifted, PreNormLayer),
            "twice": strange(meshes["sp"], Attention, PreNormLayer, times=2),
            "boosted": strange(meshes["sp"], Boosted, PreNormLayer),
            "claiming": strange(meshes["sp"], Claiming, PreNormLayer),
            "silent": strange(meshes["sp"], Attention, Shifted),
        },
        "kept": {way: kept(mesh) for way, mesh in meshes.items()},
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sequence")
    for name in NAMES:
        zoo.save(subject(name).model, folder / name)
    return over_ranks(observed, str(folder), count=RANKS)


def test_parted_states_are_computed_and_learned_from_as_whole_ones(told: list[dict[str, Any]]) -> None:
    """Outputs, and every gradient on every rank."""
    for of_rank in told:
        assert {case: words for case, words in of_rank["faults"].items() if words} == {}


def test_gradients_of_norms_are_the_same_bits_on_all_ranks(told: list[dict[str, Any]]) -> None:
    """Otherwise weights that every rank has would drift apart."""
    assert told[0]["learned"]
    assert all(other["learned"] == told[0]["learned"] for other in told[1:])


def test_who_says_nothing_is_given_all_tokens_and_who_claims_too_much_is_refused(told: list[dict[str, Any]]) -> None:
    for of_rank in told:
        found = of_rank["strange"]
        assert (found["between"], found["twice"], found["boosted"]) == ([], [], [])
        assert "Claiming changes what its last product gives, and says that it does not" in found["claiming"]
        assert "Shifted of Mixed does not say that it is_by_token" in found["silent"]


def test_a_rank_keeps_its_part_of_what_is_between_the_blocks(told: list[dict[str, Any]]) -> None:
    """The arithmetic of `zoo show`, and what torch's norms keep besides: what they have normed, and its statistics."""
    anatomy, tokens, layers, d = wide().anatomy(), 2 * 48, 4, 96
    need = {way: activations(anatomy, Layout(tp=RANKS, sp=way == "sp"), 48, "float32") for way in ("sp", "tp")}
    norms, entering = 2 * layers * (d + 1), d
    spared = 2 * (need["tp"] - need["sp"]) + tokens * (norms + entering) * 4 * (RANKS - 1) // RANKS
    assert [of_rank["kept"]["tp"] - of_rank["kept"]["sp"] for of_rank in told] == [spared] * RANKS
