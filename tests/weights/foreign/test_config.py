"""Foreign configs account for every key: used, inert, assumed, allowed, or refused with its name."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.anatomy.config import ModelConfig
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed
from zoo.weights import ForeignConfig, group, key, write_keys, write_tokens
from zoo.weights.foreign.bookkeeping import BOOKKEEPING, UNSLOTH
from zoo.weights.foreign.config import must_be

KEYS = (
    key("hidden_size", "n_embd", also=("d_model",)),
    key("num_heads", "n_head"),
    key("head_dim", default=lambda c: c["hidden_size"] // c["num_heads"]),
    key("norm_eps", default=1e-5),
    key("window", default=None),
    key("names", default=()),
)


@dataclass
class Sizes(ModelConfig):
    """A config of some family."""

    hidden_size: int = 8
    num_heads: int = 2
    head_dim: int = 4
    norm_eps: float = 1e-5
    window: int | None = None
    names: list[str] = field(default_factory=list)


def read(**raw: Any) -> dict[str, Any]:
    return ForeignConfig(raw).read(Sizes, KEYS)


def test_keys_are_read_in_either_spelling_and_defaults_follow_from_them() -> None:
    hf = ForeignConfig({"d_model": 12, "n_head": 3, "window": None})
    values = hf.read(Sizes, KEYS)
    assert values == {"hidden_size": 12, "num_heads": 3, "head_dim": 4, "norm_eps": 1e-5, "window": None, "names": []}
    assert hf.used == {"d_model", "n_head", "window"}
    assert hf.assumed == {"norm_eps": 1e-5, "names": ()}  # the shape of the tensors tells head_dim
    hf.check()


def test_null_means_absent_and_what_is_taken_in_its_place_is_noted() -> None:
    hf = ForeignConfig({"n_embd": 12, "n_head": 3, "norm_eps": None})
    assert hf.read(Sizes, KEYS)["norm_eps"] == 1e-5
    assert hf.assumed["norm_eps"] == 1e-5
    assert "norm_eps" in hf.used
    assert "norm_eps" not in hf


def test_a_present_value_is_never_overruled_by_another_spelling_or_a_default() -> None:
    hf = ForeignConfig({"n_embd": 12, "d_model": 99, "n_head": 0, "head_dim": 5})
    values = hf.read(Sizes, KEYS)
    assert (values["hidden_size"], values["head_dim"]) == (12, 5)
    with pytest.raises(CheckpointError, match=r"config\.json: d_model: the key is not known"):
        hf.check()


def test_a_missing_key_is_refused_with_the_field_it_feeds() -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: n_head: the key is missing\nit is model\.num_heads"):
        read(n_embd=12)
    with pytest.raises(CheckpointError, match=r"config\.json: n_head: the key is missing"):
        read(n_embd=12, n_head=None)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({"n_embd": "12"}, "n_embd"), ({"n_embd": 12.5}, "n_embd"), ({"n_embd": True}, "n_embd"),
        ({"n_embd": [12]}, "n_embd"), ({"n_embd": None, "d_model": "x"}, "d_model"), ({"window": "4"}, "window"),
        ({"window": False}, "window"), ({"norm_eps": "1e-5"}, "norm_eps"), ({"norm_eps": True}, "norm_eps"),
        ({"names": "abc"}, "names"), ({"names": [1]}, "names"), ({"n_embd": "???"}, "n_embd"),
        ({"names": ["???"]}, "names"), ({"n_head": 0}, "head_dim"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_the_name_the_file_uses(raw: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json: {name}: "):
        read(**{"n_embd": 12, "n_head": 3, **raw})


def test_an_integer_will_do_for_a_float() -> None:
    found = read(n_embd=12, n_head=3, norm_eps=1)["norm_eps"]
    assert (found, type(found)) == (1.0, float)


def test_every_key_is_used_inert_allowed_or_refused() -> None:
    raw = {"a": 1, "dropout": 0.1, "use_cache": True, "odd_one": 2, "odd_two": 3, "secret": 4}
    hf = ForeignConfig(raw, "folder/config.json")
    hf.get("a")
    hf.ignore("dropout", "not_there")
    with pytest.raises(CheckpointError) as error:
        hf.check(where="llama", allow=["sec*"])
    assert str(error.value) == (
        "folder/config.json: odd_one: the key is not known to llama, nor odd_two\n"
        "a key that is not read could change the model\n"
        "zoo does not know what they do. If you know that they may be left out: --allow 'odd_one,odd_two'"
    )
    hf.check(allow=["odd_*", "sec*"])
    columns = [hf.used, hf.inert, set(hf.allowed)]
    assert columns == [{"a"}, {"dropout", "use_cache"}, {"odd_one", "odd_two", "secret"}]
    assert set.union(*columns) == set(raw)


def test_a_key_that_is_read_is_not_called_inert() -> None:
    hf = ForeignConfig({"bos_token_id": 1})
    hf.tokens()
    hf.check()
    assert (hf.used, hf.inert) == ({"bos_token_id"}, set())


def test_text_from_the_file_is_made_safe_to_print() -> None:
    with pytest.raises(CheckpointError) as error:
        ForeignConfig({"\x1b[31mred": 1, "x" * 500: 2}).check()
    assert "\x1b" not in str(error.value)
    assert "x" * 100 not in str(error.value)


def test_required_values_and_known_words() -> None:
    hf = ForeignConfig({"hidden_act": "gelu", "mode": "a", "bad": ["list"], "null": None})
    hf.require(absent=True, null=False)
    assert hf.one_of("mode", {"a": "ours"}, "a") == "ours"
    assert hf.one_of("absent", {"a": "ours"}, "a") == "ours"
    with pytest.raises(CheckpointError, match="hidden_act: 'gelu' is not supported, only 'silu' is"):
        hf.require(hidden_act="silu")
    with pytest.raises(CheckpointError, match=r"hidden_act: 'gelu' is not known\ndid you mean: gelu_new"):
        hf.one_of("hidden_act", {"gelu_new": "gelu_tanh"}, "gelu_new")
    with pytest.raises(CheckpointError, match=r"bad: .* is not known"):
        hf.one_of("bad", {"a": "ours"}, "a")


def test_keys_are_written_as_they_are_read() -> None:
    config = Sizes(hidden_size=12, num_heads=3, head_dim=7, norm_eps=0.5, window=9, names=["x"])
    written = json.loads(json.dumps(write_keys(config, KEYS)))
    assert written["n_embd"] == 12
    assert "d_model" not in written
    assert Sizes(**ForeignConfig(written).read(Sizes, KEYS)) == config


TOKENS = [
    ({}, ("float32", None, [], None)),
    ({"torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}, ("bfloat16", 1, [2], 0)),
    ({"dtype": "torch.float16", "eos_token_id": [2, 3]}, ("float16", None, [2, 3], None)),
    ({"dtype": None, "torch_dtype": "bfloat16", "eos_token_id": None}, ("bfloat16", None, [], None)),
]


@pytest.mark.parametrize(("raw", "expected"), TOKENS)
def test_tokens_and_dtype_in_all_spellings(raw: dict[str, Any], expected: tuple[Any, ...]) -> None:
    hf = ForeignConfig(raw)
    t = hf.tokens()
    hf.check()
    assert (t["dtype"], t["bos_token_id"], t["eos_token_id"], t["pad_token_id"]) == expected
    again = ForeignConfig(json.loads(json.dumps(write_tokens(ModelConfig(**t)))))
    assert again.tokens() == t


@pytest.mark.parametrize(
    "raw",
    [{"bos_token_id": "1"}, {"eos_token_id": ["</s>"]}, {"eos_token_id": True}, {"pad_token_id": 1.5}, {"dtype": 16}],
)
def test_tokens_of_a_wrong_type_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=next(iter(raw))):
        ForeignConfig(raw).tokens()


JSON = st.recursive(
    st.sampled_from([None, True, False, -1, 0, 1, 7, 0.5, -2.5, 1e300, "", "???", "linear", "yarn"]),
    lambda inside: (
        st.lists(inside, max_size=2) | st.dictionaries(st.sampled_from(["type", "factor", "rope_theta"]), inside)
    ),
    max_leaves=4,
)
NAMES = "n_embd d_model n_head head_dim norm_eps window names bos_token_id eos_token_id dtype rope_theta rope_scaling"


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*NAMES.split(), "partial_rotary_factor", "odd"]), JSON, max_size=5))
def test_whatever_the_file_says_it_is_read_or_refused_but_never_breaks(raw: dict[str, Any]) -> None:
    hf = ForeignConfig({"n_embd": 8, "n_head": 2} | raw)
    with suppress(CheckpointError):
        Sizes(**hf.read(Sizes, KEYS), **hf.tokens())
        hf.rope()
        hf.check()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unsloth_version", "2024.9"), ("unsloth_fixed", True), ("model_max_length", 4096),
        ("tokenizer_padding_side", "right"), ("attn_implementation", "flash_attention_2"),
        ("_flash_attn_2_enabled", True), ("neftune_noise_alpha", 5.0), ("padding_side", "left"),
        ("_pre_quantization_dtype", "bfloat16"), ("gradient_checkpointing_kwargs", {"use_reentrant": False}),
    ],
)  # fmt: skip
def test_what_trainers_leave_for_themselves_is_inert_at_the_top_and_in_groups(key: str, value: Any) -> None:
    hf = ForeignConfig({key: value, "text": {key: value}})
    group(hf, "text")
    hf.check()
    assert (hf.inert, hf.groups[0].inert) == ({key}, {key})
    assert BOOKKEEPING.get(key) or key.startswith(UNSLOTH)


def test_unknown_keys_of_all_groups_are_named_at_once_and_one_word_allows_them() -> None:
    raw = {"my_note": 1, "text": {"my_other": 2}, "deep": {"my_third": 3, "x": 1}}
    hf = ForeignConfig(raw)
    group(hf, "text"), group(hf, "deep").get("x")
    with pytest.raises(CheckpointError) as error:
        hf.check()
    first, _, hint = str(error.value).splitlines()
    assert first == "config.json: my_note: the key is not known to this family, nor text.my_other, deep.my_third"
    assert hint.endswith("--allow 'my_note,my_other,my_third'")
    hf.check(allow="my_note,my_other,my_third".split(","))
    assert [part.allowed for part in (hf, *hf.groups)] == [["my_note"], ["my_other"], ["my_third"]]


def test_a_key_that_may_compute_keeps_the_others_from_being_waved_through() -> None:
    hf = ForeignConfig({"my_note": 1, "attention_magic": 2})
    with pytest.raises(CheckpointError, match="attention_magic, by name or value, may change") as error:
        hf.check()
    assert "nor my_note" in str(error.value)
    assert "--allow" not in str(error.value)


def test_an_unknown_key_that_is_null_sets_nothing() -> None:
    hf = ForeignConfig({"quantization_config": None, "twist": None, "turn": 0})
    with pytest.raises(CheckpointError, match="turn: the key is not known") as refused:
        hf.check()
    assert "twist" not in str(refused.value)
    assert hf.inert == {"quantization_config", "twist"}


def test_a_part_beside_the_model_may_be_left_out_and_no_other_value_is_advised() -> None:
    base = installed()["deepseek"].config_class.tiny()
    with pytest.raises(UsageError) as error:
        must_be(replace(base, num_mtp_layers=1), "a GGUF file", num_mtp_layers=0)
    assert error.value.hint == "leave that part out: model.num_mtp_layers=0"
    with pytest.raises(UsageError) as error:
        must_be(base, "a GGUF file", num_layers=base.num_layers + 1)
    assert error.value.hint == ""  # it would be another model
