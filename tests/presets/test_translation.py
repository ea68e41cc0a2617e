"""What Hydra and OmegaConf complain of, error by error, in the words of zoo; and what a composed config must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf, errors

from zoo.errors import ConfigError, UsageError, ZooError
from zoo.presets import composition, translation
from zoo.presets.composition import checked, translated
from zoo.presets.translation import translate
from zoo.registry import installed


@dataclass
class Part:
    theta: float = 1.0  # base of the angles


@dataclass
class Model:
    size: int = 1  # of a vector
    needed: int = MISSING
    part: Part = field(default_factory=Part)


def raised(work: Any) -> Exception:
    with pytest.raises(errors.OmegaConfBaseException) as caught:
        work(OmegaConf.structured({"model": Model()}))
    return caught.value


def told(error: Exception) -> Any:
    found = translate(error)
    return found.what, found.why, found.hint


def missing_file(file: str | None, *options: str) -> Exception:
    return MissingConfigException("said", file, options)  # type: ignore[arg-type]  # Hydra passes None too


def test_a_config_that_is_not_there_is_met_with_the_nearest_of_its_group() -> None:
    assert told(missing_file("rope/yarm", "yarn", "linear"))[:2] == (
        "rope has no option 'yarm'",
        "did you mean: yarn?",
    )
    what, why, _ = told(missing_file("model/decoder/lama3"))
    assert what == "no model is called 'decoder/lama3'"
    assert "decoder/llama3" in why
    assert told(missing_file("model/llama33"))[0] == "no model is called 'llama33'"
    assert told(missing_file(None))[0] == "nothing is called ''"
    assert told(missing_file("modelx/a"))[0] == "modelx has no option 'a'"


def test_a_family_that_is_not_there_repeats_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(translation.UNREADABLE, "beast", "on a Monday")
    assert told(missing_file("schema/beast"))[:2] == ("the config of family 'beast' cannot be read", "on a Monday")
    assert told(missing_file("schema/lama"))[0] == "no family is called 'lama'"
    assert told(missing_file("schema/llama", "llama"))[0] == "schema has no option 'llama'"
    assert told(missing_file("rope/beast", "beast"))[0] == "rope has no option 'beast'"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("Error parsing override 'a='\nodd input expecting {x}\nSee https://x", "odd input"),
        ("See http\nError parsing", ""),
        ("plain", "plain"),
    ],
)
def test_an_override_that_cannot_be_read_keeps_the_reason(message: str, why: str) -> None:
    what, said, _ = told(OverrideParseException("a=b]", message))
    assert (what, said) == ("cannot read 'a=b]'", why)


def test_a_key_that_is_no_field_is_met_with_the_nearest_field() -> None:
    for set_, key, near in (
        (lambda c: OmegaConf.update(c, "model.sise", 2), "model.sise", "model.size"),
        (lambda c: OmegaConf.update(c, "model.part.teta", 2), "model.part.teta", "model.part.theta"),
        (lambda c: c.model.part.teta, "model.part.teta", "model.part.theta"),
    ):
        what, why, hint = told(raised(set_))
        assert (what, hint) == (f"no key '{key}'", "")
        assert f"did you mean: {near}?" in why
    plain = OmegaConf.create({"model": {"size": 1}})
    OmegaConf.set_struct(plain, True)
    with pytest.raises(errors.OmegaConfBaseException) as caught:
        _ = plain.model.sise
    assert told(caught.value)[:2] == ("no key 'model.sise'", "did you mean: model.size?")


def test_a_value_of_the_wrong_type_says_what_the_field_means() -> None:
    what, why, _ = told(raised(lambda c: OmegaConf.update(c, "model.size", "many")))
    assert "many" in what
    assert "\n" not in what
    assert why == "model.size: of a vector"
    assert (
        told(raised(lambda c: OmegaConf.update(c, "model.part.theta", "x")))[1]
        == "model.part.theta: base of the angles"
    )
    assert told(raised(lambda c: c.model.needed))[0] == "model.needed has no value"


def wrapped(text: str, cause: Exception | None = None) -> Exception:
    error = HydraException(text)
    error.__cause__ = cause
    return error


def test_the_cause_of_an_error_is_told_with_the_preset_that_it_stands_in() -> None:
    cause = raised(lambda c: OmegaConf.update(c, "model.sise", 2))
    what, _, hint = told(wrapped("In 'model/mine': ConfigKeyError raised while composing config", cause))
    assert what == "no key 'model.sise'"
    assert "model/mine.yaml" in hint
    context = HydraException("x")
    context.__context__ = raised(lambda c: c.model.needed)
    assert told(context)[0] == "model.needed has no value"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Ambiguous value for argument 'a=1,2'\nx", "two values for a"),
        ("Sweep parameters 'a=1,2,3' requires --multirun", "three values for a"),
        ("Sweep parameters 'a=range(1,9)' requires --multirun", "8 values for a"),
        ("Sweep parameters 'a=interval(1,9)' requires --multirun", "a range of values for a"),
        ("Error merging override ~model.size", "'~model.size': "),
        ("something else\nand more", "something else"),
    ],
)
def test_other_errors_are_known_by_their_first_line(text: str, what: str) -> None:
    assert told(wrapped(text))[0].startswith(what)
    assert "\n" not in told(wrapped(text))[0]


def test_an_error_without_words_has_those_of_its_cause() -> None:
    assert told(wrapped("", ValueError("odd\nx")))[0] == "odd"
    assert "rope/a.yaml" in told(wrapped("In 'rope/a': X raised while composing"))[1]


def test_a_part_that_a_family_has_not_is_offered_where_it_is() -> None:
    kind: Any = installed()["gpt2"].config_class
    config = OmegaConf.create({"model": OmegaConf.structured(kind)})
    OmegaConf.set_struct(config, True)
    with pytest.raises(errors.OmegaConfBaseException) as caught:
        OmegaConf.update(config, "model.rope", {"theta": 1.0})
    hint = told(wrapped("In 'rope/yarn': ConfigKeyError raised while composing config", caught.value))[2]
    assert "rope=yarn" in hint or "rope/yarn.yaml" in hint
    assert told(wrapped("x", caught.value))[2] == ""


# What was composed.


def composed(**more: Any) -> DictConfig:
    kind: Any = installed()["llama"].config_class
    node = OmegaConf.structured(kind.tiny())
    OmegaConf.set_struct(node, False)
    for name, value in more.items():
        OmegaConf.update(node, name, value, force_add=True)
    return OmegaConf.create({"model": node})


def test_a_composed_config_is_its_familys_dataclass() -> None:
    found: Any = checked(composed())
    assert found == installed()["llama"].config_class.tiny()
    for wrong in ({}, {"model": None}, {"model": {"a": 1}}, {"model": OmegaConf.structured(Part)}):
        with pytest.raises(UsageError, match="names no family"):
            checked(OmegaConf.create(wrong))
    with pytest.raises(ConfigError, match=r"model.family='gpt2' is not the family of"):
        checked(composed(family="gpt2"))


@pytest.mark.parametrize(("count", "hint"), [(1, ""), (3, ""), (4, "and 1 more"), (6, "and 3 more")])
def test_keys_that_are_no_fields_are_told_three_at_a_time(count: int, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(composed(**{f"odd{i}": i for i in range(count)}))
    assert caught.value.what.count("is not a field of") == min(count, 3)
    assert caught.value.hint == hint


def test_keys_of_a_part_are_looked_at_too() -> None:
    with pytest.raises(UsageError, match=r"'model.rope.odd' is not a field of"):
        checked(composed(**{"rope.odd": 1}))


def test_only_what_is_known_is_translated() -> None:
    with pytest.raises(UsageError, match="odd"), translated():
        raise HydraException("odd")
    with pytest.raises(UsageError, match="the part is null"), translated():
        raise AssertionError("Unexpected type for root: NoneType")
    with pytest.raises(AssertionError, match="mine"), translated():
        raise AssertionError("mine")


def test_an_application_around_us_is_left_as_it_was() -> None:
    state = Singleton._instances
    before = dict(state)
    state[JobRuntime] = outer = object()
    try:
        with composition._apart():
            assert JobRuntime not in state
            state[JobRuntime] = object()
        assert state[JobRuntime] is outer
        del state[JobRuntime]
        with composition._apart():
            state[JobRuntime] = object()
        assert JobRuntime not in state
    finally:
        state.clear()
        state.update(before)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"a": "${x}"}, "model.a"),
        ({"a": {"b": ["x", "${oc.env:HOME}"]}}, r"model.a.b.1"),
        ({"a": [{"b": "x${"}]}, "model.a.0.b"),
    ],
)
def test_what_a_checkpoint_says_is_not_looked_up(values: Any, path: str) -> None:
    composition._refuse_look_ups({"a": "$x {}", "b": [1, None]}, "model")
    with pytest.raises(ConfigError, match=f"^{path}='"):
        composition._refuse_look_ups(values, "model")


@pytest.mark.parametrize(
    ("word", "told_"),
    [
        ("model=gpt2", "names another model"),
        ("+model=gpt2", "names another model"),
        ("model@x=gpt2", "names another model"),
        ("gpt2", "names another model"),
        ("model.num_layers=1,2", "several values for model.num_layers"),
        ("model.num_layers=[", "cannot read"),
    ],
)
def test_an_override_of_a_checkpoint_keeps_its_model(word: str, told_: str) -> None:
    config = checked(composed())
    with pytest.raises(ZooError, match=told_):
        composition.override(config, word)
