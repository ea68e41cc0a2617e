"""Every registered family is held to the contract, and the contract is held to its word by planted faults."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tests.kinds import ENCODERS
from tests.some import one_in, some
from tests.testing.faults import FAULTS
from tests.testing.install import Plant, plant  # noqa: F401 - a fixture
from tests.ways import ways_of
from zoo import presets
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import UnknownName, UsageError
from zoo.parallel.layout import CUTS
from zoo.parallel.shares import expert_share
from zoo.registry import find_preset, installed
from zoo.testing import GROUPS, PROPERTIES, Check, Subject, check_family
from zoo.testing.check import judged
from zoo.testing.modelling import its_anatomy_is_that_of_the_module
from zoo.testing.sharded import its_anatomy_is_cut_as_its_blocks_declare, told_over_ranks
from zoo.testing.translation import its_tables_are_bijections
from zoo.weights import ForeignConfig

torch.set_num_threads(1)


def failed(checks: list[Check]) -> str:
    return "\n".join(str(check) for check in checks if check.state == "fail")


FAMILIES = sorted(installed().families)
ALONE = [group for group in GROUPS if group != "parallel"]  # of all families at once, on one pair of ranks: below
KEPT = [f"{name}-{group}" for name in FAMILIES for group in ALONE]
SEEING = {
    "clip", "dinov2", "gemma3_vl", "gemma4", "gemma4_vl", "llama4_vl", "qwen2_5_vl", "qwen2_vl", "qwen3_vl",
    "qwen3_vl_moe", "qwen_vl", "siglip", "siglip2", "vit",
}  # fmt: skip
NO_STACK = {*SEEING, *ENCODERS, "gemma3n", "headed", "t5", "transformer"}  # from tokens to logits
NOT_CUT = {  # by stages, and by parts of texts: of these layers are told more of a text, or keep a state
    "sp": {"clip", "deberta", "dinov2", "siglip", "siglip2"},
    "pp": {*NO_STACK, "deepseek_v32"},  # whose layers read the tokens that others choose
    "cp": {*NO_STACK, "chatglm", "chatglm2", "qwen", "qwen3_5", "qwen3_5_moe", "qwen3_next"},
}
CACHED = [f"{name}-cache" for name in ("chatglm", "deepseek", "gemma", "llama", "qwen2_vl")]  # one of each kind


@pytest.mark.parametrize(
    "kept", some(KEPT, *(k for k in KEPT if k.startswith("t5-") or k.endswith("-docs") or k in CACHED))
)
def test_family_keeps_the_contract(kept: str) -> None:
    name, _, group = kept.partition("-")
    assert not failed(check_family(name, groups=[group]))


@pytest.mark.parametrize("name", some(FAMILIES, "bert", "deepseek", "llama", "qwen2_vl", "t5"))
def test_each_switch_of_a_family_is_described_and_translated(name: str) -> None:
    """The properties that compute nothing, of one family of each kind in every run."""
    subject = Subject(installed()[name])
    proofs = its_anatomy_is_that_of_the_module, its_tables_are_bijections, its_anatomy_is_cut_as_its_blocks_declare
    found = [judged("", prove, subject) for prove in proofs]
    assert not failed(found)


def test_formats_that_come_back_and_those_that_are_not_written_are_told() -> None:
    (check,) = [c for c in check_family("mistral", groups=["weights"]) if c.detail.startswith("zoo")]
    kept, *others = check.detail.split("; ")
    assert kept == "zoo"
    assert any(part.startswith("hf") for part in others)
    assert any(part.startswith("gguf refuses: a GGUF file cannot store model.sliding_window") for part in others)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(installed().presets()))
def test_preset_survives_its_foreign_config(name: str) -> None:
    """What `zoo convert` writes for Hugging Face describes the model that the preset describes."""
    config = presets.config(name)  # tests/presets/test_presets.py: it is what Hydra composes
    family = installed()[config.family]
    if "hf" not in family.formats:
        pytest.skip(f"{family.name} has no hf format")
    if not config.hub:  # what was released on the hub can be said there; our own mixtures need not be
        pytest.skip("no checkpoint of it was released")
    raw = json.loads(json.dumps(family.dialect("hf").to_config(config)))
    back = family.dialect("hf").from_config(ForeignConfig(raw)).to_dict()
    expected = config.to_dict()
    assert {n: v for n, v in back.items() if n not in BOOKKEEPING} == {
        n: v for n, v in expected.items() if n not in BOOKKEEPING
    }, find_preset(name).file


def test_a_strangers_family_keeps_the_contract_whole(plant: Plant) -> None:  # noqa: F811
    plant()
    checks = check_family("stranger", groups=ALONE)
    assert not failed(checks)
    assert [check.name for check in checks if check.state == "skip"] == [
        "padding of the source changes nothing",
        "rotary layers see distances only",
        *([] if torch.cuda.is_available() else ["it computes on a gpu what the cpu computes"]),
        "an odd ratio of heads decodes as well",
    ]
    assert {check.group for check in checks} == set(ALONE)


@pytest.mark.long
@pytest.mark.slow
def test_every_family_over_two_ranks_is_the_model_of_one_process(plant: Plant, request: pytest.FixtureRequest) -> None:  # noqa: F811
    """Each cut within, run, trained, saved, and spread; in the other ways that it can be cut, one of each kind.

    With --every-way, all of them in all ways. The ranks start once for all.
    """
    plant()
    subjects = [Subject(installed()[name]) for name in (*FAMILIES, "stranger")]
    ways = dict.fromkeys((*FAMILIES, "stranger"), CUTS)
    if not request.config.getoption("every_way"):
        ways |= ways_of(subjects[:-1])
    told = told_over_ranks(subjects, ways=ways)
    assert all("gradients" in words and "FSDP2" in words for words in told)
    by_name = dict(zip((*FAMILIES, "stranger"), told, strict=True))
    assert {name: {way for way in CUTS if f"{way}: outputs" in words} for name, words in by_name.items()} == {
        name: {way for way in of_one if f"no {way}" not in by_name[name]} for name, of_one in ways.items()
    }
    del by_name["stranger"]
    experts = {
        n for n in FAMILIES if any(expert_share(w.shares) for w in Subject(installed()[n]).config.anatomy().weights)
    }
    for way, names in (NOT_CUT | {"ep": {*FAMILIES} - experts}).items():
        assert {name for name, words in by_name.items() if f"no {way}" in words} == names


def test_each_kind_of_what_a_cut_meets_is_cut_in_every_run() -> None:
    """A family of known kinds is cut in no more ways; one with a kind of its own in those that touch it."""
    llama, falcon, mixed = (Subject(installed()[name]) for name in ("llama", "falcon", "mixtral"))
    assert ways_of([llama, falcon, mixed]) == {
        "llama": ("tp", "sp", "pp", "cp"),
        "falcon": ("tp", "sp", "pp"),  # its layers are a class of their own, and attend as llama's do
        "mixtral": ("tp", "sp", "ep"),
    }
    again = Subject(installed()["llama"], replace(llama.config, num_layers=4, vocab_size=80))
    assert ways_of([llama, again, falcon])["llama"] == ("tp",)
    window = Subject(installed()["mistral"], replace(installed()["mistral"].config_class.tiny(), sliding_window=5))
    assert "cp" in ways_of([llama, window])["mistral"]


@pytest.mark.long
@pytest.mark.slow
def test_more_ranks_than_key_heads_share_them_and_a_vocabulary_need_not_divide() -> None:
    tiny = replace(installed()["qwen3"].config_class.tiny(), num_heads=4, num_kv_heads=2, vocab_size=61)
    assert told_over_ranks([Subject(installed()["qwen3"], tiny)], count=4)


@pytest.mark.parametrize("fault", one_in(6, FAULTS))
def test_the_contract_names_the_fault(fault: str, plant: Plant) -> None:  # noqa: F811
    planted = FAULTS[fault]
    plant(planted.file, planted.this, planted.that)
    (prove,) = [p for p in PROPERTIES[planted.group] if p.__name__.replace("_", " ") == planted.check]
    check = judged(planted.group, prove, Subject(installed()["stranger"]))
    assert (check.name, check.state) == (planted.check, "fail"), check
    assert planted.words in check.detail


@pytest.mark.slow
def test_a_config_or_a_presets_may_be_held_to_it_instead() -> None:
    tied = replace(installed()["llama"].config_class.tiny(), tie_embeddings=True)
    details = {check.name: check.detail for check in check_family("llama", config=tied, groups=["model"])}
    assert details["a tied head is the embedding"] == "embed.weight is lm_head.weight"
    details = {check.name: check.detail for check in check_family("gpt2", preset="gpt2", groups=["config"])}
    assert "vocab_size=50257, hidden_size=768" in details["the tiny config is lopsided"]


def test_an_unknown_family_or_group_is_a_wrong_call() -> None:
    with pytest.raises(UnknownName, match="no family is called 'lama'"):
        check_family("lama")
    with pytest.raises(UsageError, match="no group of checks is called 'speed'"):
        check_family("llama", groups=["speed"])


def test_a_check_prints_as_one_line() -> None:
    assert str(Check("model", "no token sees the future", "ok", "12 tokens")) == (
        "ok    model: no token sees the future (12 tokens)"
    )
