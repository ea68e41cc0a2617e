"""Each property of the contract by itself, on subjects that are right but for one thing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.testing.install import Plant, plant  # noqa: F401 - a fixture
from zoo.registry import installed
from zoo.testing import GROUPS, NUMBERS, PROPERTIES, Subject, registration
from zoo.testing.attending import each_layer_sees_as_far_as_its_anatomy_says, padding_of_the_source_changes_nothing
from zoo.testing.caching import _first_difference, any_chunks_equal_the_whole, decoding_one_by_one_equals_the_whole
from zoo.testing.check import Broken, Check, Skipped, judged, shown
from zoo.testing.configuration import the_tiny_config_is_lopsided
from zoo.testing.heads import an_odd_ratio_of_heads_decodes_as_well
from zoo.testing.measure import difference, per_position, reading, runnable
from zoo.testing.modelling import gradients_reach_every_parameter, it_builds_on_meta_without_allocating
from zoo.testing.positions import rotary_layers_see_distances_only

ALL = {prove.__name__: (group, prove) for group, proofs in PROPERTIES.items() for prove in proofs}

# file of the stranger, what stands there, what is put in its place, the property, and words of its fault
PLANTED = {
    "a config that is not the model's": (
        "model.py", "self.config = c\n", "self.config = type(c).tiny()\n        self.config.norm_eps = 0.5\n",
        "it_builds_on_meta_without_allocating", "model.config is not the config",
    ),
    "a cache that does not count": (
        "model.py", "cache.advance(span)", "cache.length = 0",
        "a_full_cache_refuses_more", "after 3 tokens cache.length is 0",
    ),
    "a cache that says another length": (
        "model.py", "return Cache(layers, batch_size, max_len)", "return Cache(layers, batch_size, max_len + 1)",
        "its_bytes_are_those_of_the_arithmetic", "max_len=",
    ),
    "a last token that forgets the cache": (
        "model.py", "span.last(x) if last else x", "x[:, :1] if last and cache else span.last(x) if last else x",
        "the_last_logits_are_the_last_of_all", "last=True differs",
    ),
    "padding on the right that is read": (
        "model.py", "cache.advance(span)", "cache.advance(span)\n            cache.counts = None",
        "ragged_rows_go_on_where_they_ended", "decoding after a",
    ),
    "a norm whose gradient is nothing": (
        "model.py", "x + self.attn(self.norm(x), span, cache)", "x + self.attn(self.norm(x) * 0 + x, span, cache)",
        "gradients_reach_every_parameter", "no gradient reaches layers.0.norm.weight",
    ),
    "a stack of another name": (
        "config.py", "a.attends(range(self.num_layers)", 'a.attends([9]',
        "each_layer_sees_as_far_as_its_anatomy_says", "layers.9, but the model has no such module",
    ),
    "an anatomy without words": (
        "config.py", 'a.traits = {"attention": f"MHA {self.num_heads}"}', "a.traits = {}",
        "its_anatomy_says_what_it_is", "traits is empty",
    ),
    "one layer": (
        "config.py", "num_layers=2", "num_layers=1", "the_tiny_config_is_lopsided", "num_layers=1",
    ),
    "a summary of two lines": (
        "__init__.py", "learned positions and one", 'learned positions\\nand one',
        "the_family_has_a_summary", "is 2 lines",
    ),
    "a module without a docstring": (
        "config.py", '"""How a Stranger is configured, and what it is made of."""', "",
        "its_modules_have_docstrings", "config",
    ),
    "an output that is NaN": (
        "model.py", "return self.lm_head(", "return torch.nan * self.lm_head(",
        "the_dtype_of_the_weights_is_that_of_the_output", "NaN or infinity",
    ),
    "a head of a tied model that a file has": (
        "hf.py", 'key("tie_embeddings", "tie_word_embeddings", default=False),', "",
        "configs_come_back_as_they_went", "tie_embeddings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_is_named_by_its_property(fault: str, plant: Plant) -> None:  # noqa: F811
    file, this, that, name, words = PLANTED[fault]
    plant(file, this, that)
    group, prove = ALL[name]
    check = judged(group, prove, Subject(installed()["stranger"]))
    assert check.state == "fail", check
    assert words in check.detail


def test_two_families_that_claim_a_config_alike_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(installed()["llama"])
    raw = subject.family.dialect("hf").to_config(subject.config)
    mine = next(m for f, m in installed().detect(raw) if f.name == "llama")
    other = installed()["gpt2"]
    for score, is_rival in ((mine.score, True), (mine.score / 2, False)):
        claims = [(other, replace(mine, score=score)), (subject.family, mine)]
        monkeypatch.setattr(registration, "installed", lambda claims=claims: SimpleNamespace(detect=lambda raw: claims))
        check = judged("", registration.its_own_foreign_config_is_recognised, subject)
        assert (check.state, "gpt2" in check.detail) == (("fail", True) if is_rival else ("ok", False))


def test_a_check_is_ok_skipped_or_failed_whatever_is_raised() -> None:
    def raising(error: Exception) -> Any:
        def a_property_of_it(s: Any) -> str:
            raise error

        return judged("g", a_property_of_it, None, number=7)  # type: ignore[arg-type]

    assert raising(Skipped("why")) == Check("g", "a property of it", "skip", "why", 7)
    assert raising(Broken("why")).state == "fail"
    assert raising(KeyError("a\nb")).detail == "KeyError: 'a\\nb'"
    assert raising(ValueError("a\nb")).detail == "ValueError: a; b"
    assert judged("g", lambda s: "fine", None) == Check("g", "<lambda>", "ok", "fine", 0)  # type: ignore[arg-type]
    assert [shown(list("abcdef"[:n])) for n in (1, 3, 4)] == ["a", "a; b; c", "a; b; c; and 1 more"]
    assert str(Check("g", "n", "ok", "")) == "ok    g: n"


def test_properties_are_numbered_once_through() -> None:
    assert sorted(NUMBERS.values()) == [*range(1, len(NUMBERS) + 1)]
    assert GROUPS == ("registry", "config", "model", "cache", "weights", "docs", "parallel")


def test_a_record_that_does_not_come_back_is_told_by_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(installed()["llama"])
    read = type(subject.config).from_dict.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        type(subject.config),
        "from_dict",
        classmethod(lambda cls, d: read(cls, {**d, "rope": {**d["rope"], "theta": 9.0}})),
    )
    check = judged("config", ALL["dicts_and_JSON_keep_every_field"][1], subject)
    assert check.state == "fail"
    expected = (
        f"to_dict and from_dict, the tiny config: model.rope.theta: found 9.0, expected {subject.config.rope.theta}"
    )
    assert check.detail.startswith(expected)


# what is asked of a model


class Fake(nn.Module):
    """Sums a token and those before it, with a cache that may err."""

    def __init__(self, *, cached: float = 0.0, ahead: bool = False) -> None:
        super().__init__()
        self.weight, self.cached, self.ahead = nn.Parameter(torch.ones(1)), cached, ahead

    def forward(self, tokens: Tensor, *, cache: Any = None, **rest: Any) -> Tensor:
        x = tokens.double()[..., None]
        if cache is None:
            return x.sum(1, keepdim=True) + 0 * x if self.ahead else x.cumsum(1)
        seen = x.cumsum(1) + cache.total
        cache.total, cache.calls = seen[:, -1:], cache.calls + 1
        return seen + self.cached * (cache.calls > 1)

    def new_cache(self, batch: int, length: int) -> Any:
        return SimpleNamespace(total=torch.zeros(batch, 1, 1).double(), calls=0)


def subject(model: nn.Module, windows: tuple[int, ...] = (), **more: Any) -> Any:
    specs = [SimpleNamespace(window=w) for w in windows]
    told: dict[str, Any] = {
        "model": model, "inputs": ("tokens",), "can_decode": True, "is_encoder_decoder": False,
        "longest": 9, "is_causal": True,
        "anatomy": SimpleNamespace(attention=specs), "config": SimpleNamespace(),
        "tokens": lambda rows, n, seed=0: torch.arange(rows * n).view(rows, n) + seed + 1,
        "decoder": lambda rows: model,
    }  # fmt: skip
    return SimpleNamespace(**(told | more))


def test_chunks_are_below_at_and_above_every_window() -> None:
    said = any_chunks_equal_the_whole(subject(Fake(), (5, 1)))
    assert said.startswith("chunks of 1, 2, 3, 4, 5, 6, 8: within ")
    assert any_chunks_equal_the_whole(subject(Fake(), anatomy=None)).startswith("chunks of 1, 2, 3, 8: ")
    assert decoding_one_by_one_equals_the_whole(subject(Fake())).startswith("within")
    with pytest.raises(Broken, match="from position 4 on"):
        decoding_one_by_one_equals_the_whole(subject(Fake(cached=0.5)))
    with pytest.raises(Skipped, match="new_cache"):
        any_chunks_equal_the_whole(subject(Fake(), can_decode=False))
    a = torch.zeros(2, 4, 3)
    b = a.clone()
    b[1, 2, 0], b[0, 3, 1] = 1e-9, 1.0
    assert _first_difference(a, b) == 2


def test_what_the_kit_cannot_make_is_skipped() -> None:
    assert runnable(found := subject(Fake(), inputs=("tokens", "decoder_tokens", "pixels"))) is found
    with pytest.raises(Skipped, match="grid"):
        runnable(subject(Fake(), inputs=("tokens", "grid")))
    with pytest.raises(Skipped, match="text"):
        reading(subject(Fake(), inputs=("pixels",)))
    given = subject(Fake(), run=lambda t: {"a": torch.zeros(2, 3, 5), "b": torch.zeros(2, 5), "c": torch.zeros(3, 2)})
    assert list(per_position(given, torch.zeros(2, 3))) == ["a"]
    assert difference(torch.tensor([5.0]), torch.tensor([4.0])) == 0.25
    assert difference(torch.tensor([0.5]), torch.tensor([0.25])) == 0.25


def test_equal_sizes_and_few_layers_are_told() -> None:
    def lopsided(**sizes: Any) -> str:
        return the_tiny_config_is_lopsided(SimpleNamespace(config=SimpleNamespace(**sizes)))  # type: ignore[arg-type]

    assert lopsided(vocab_size=9, hidden_size=8, num_layers=2) == "vocab_size=9, hidden_size=8"
    assert lopsided(vocab_size=9) == "vocab_size=9"
    assert lopsided(vocab_size=9, head_dim=None, max_seq_len="x") == "vocab_size=9"
    with pytest.raises(Broken, match="hidden_size and vocab_size are both 9"):
        lopsided(vocab_size=9, hidden_size=9)
    with pytest.raises(Broken, match="num_layers=1"):
        lopsided(vocab_size=9, num_layers=1)


def test_an_odd_ratio_of_heads_is_made_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "zoo.testing.heads.decoding_one_by_one_equals_the_whole", lambda s: asked.append(s.config) or "fine"
    )
    tiny = installed()["llama"].config_class.tiny()
    for heads, kv_heads, said in ((6, 2, "6/2, as"), (4, 2, "6/2: fine"), (2, 2, "6/2: fine"), (8, 4, "12/4: fine")):
        config = replace(tiny, num_heads=heads, num_kv_heads=kv_heads)
        made = Subject(installed()["llama"], config)
        assert an_odd_ratio_of_heads_decodes_as_well(made).startswith(said)
    assert [(c.num_heads, c.num_kv_heads) for c in asked] == [(6, 2), (6, 2), (12, 4)]
    with pytest.raises(Skipped, match="num_kv_heads"):
        an_odd_ratio_of_heads_decodes_as_well(Subject(installed()["gpt2"]))


def test_layers_of_a_text_are_found_and_others_skipped() -> None:
    with pytest.raises(Skipped, match="no anatomy"):
        each_layer_sees_as_far_as_its_anatomy_says(subject(Fake(), anatomy=None))
    empty = SimpleNamespace(attention=[], states=[])
    with pytest.raises(Skipped, match="no layer"):
        each_layer_sees_as_far_as_its_anatomy_says(subject(Fake(), anatomy=empty))
    with pytest.raises(Skipped, match="encoder-decoder"):
        padding_of_the_source_changes_nothing(subject(Fake()))
    with pytest.raises(Skipped, match=r"model\.rope"):
        rotary_layers_see_distances_only(subject(Fake()))


def test_rotary_layers_are_run_where_they_stand_and_later() -> None:
    found = rotary_layers_see_distances_only(Subject(installed()["llama"]))
    assert int(found.split()[0]) == installed()["llama"].config_class.tiny().num_layers


def test_parameters_of_images_need_no_gradient_from_text() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Parameter(torch.ones(1)) for _ in range(3))
            self.c.requires_grad_(False)

    model = Two()
    images = [SimpleNamespace(role="vision", names=lambda: ["b"]), SimpleNamespace(role="mlp", names=lambda: ["a"])]
    given = subject(
        model, anatomy=SimpleNamespace(weights=images), run=lambda tokens: {"x": model.a * torch.ones(2, 3)}
    )
    assert gradients_reach_every_parameter(given) == "1 parameters; 1 of images are not run"
    given.anatomy = SimpleNamespace(weights=images[1:])
    with pytest.raises(Broken, match="no gradient reaches b"):
        gradients_reach_every_parameter(given)
    given.anatomy = None
    model.b.requires_grad_(False)
    assert gradients_reach_every_parameter(given) == "1 parameters"
    assert it_builds_on_meta_without_allocating(Subject(installed()["gpt2"])).endswith(" parameters")
