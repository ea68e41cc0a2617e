"""A config.json is read before it is written: what it would say is what the model is, or nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.checkpoint.target import foreign_config
from zoo.errors import UsageError
from zoo.registry import installed


def said(name: str, **changes: Any) -> dict[str, Any]:
    family = installed()[name]
    return foreign_config(family, "hf", replace(family.config_class.tiny(), **changes))


def test_a_dialect_that_forgets_a_field_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = installed()["llama"]
    dialect = family.dialect("hf")
    forgetful = replace(dialect, to_config=lambda c: {**dialect.to_config(c), "rms_norm_eps": 1e-6})
    monkeypatch.setattr(type(family), "dialect", lambda self, format: forgetful)
    model = zoo.build("llama3", "model.num_layers=1", "model.hidden_size=32", "model.vocab_size=64", device="cpu")
    with pytest.raises(UsageError, match=r"read again, it says another: model\.norm_eps: found 1e-06, expected 1e-05"):
        zoo.save(model, tmp_path / "out", format="hf")
    assert not (tmp_path / "out").exists()


def test_one_that_writes_what_it_would_refuse_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    family = installed()["llama"]
    dialect = family.dialect("hf")
    odd = replace(dialect, to_config=lambda c: {**dialect.to_config(c), "hidden_act": "gelu"})
    monkeypatch.setattr(type(family), "dialect", lambda self, format: odd)
    with pytest.raises(UsageError, match=r"zoo would refuse it: .*hidden_act"):
        said("llama")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("t5", {"is_gated": True, "activation": "gelu"}),  # gated-gelu means the tanh form
        ("t5", {"flavour": "mt5"}),  # transformers never scales what enters its head
        ("t5", {"flavour": "umt5", "has_bias_per_layer": True, "scale_outputs": False}),  # and there always, if tied
    ],
)
def test_what_a_format_has_no_words_for_is_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot store"):
        said(name, **changes)


def test_windows_of_a_shortened_gemma_keep_their_period() -> None:
    """Of two layers, neither of which sees all, the types of layers tell no period."""
    assert "sliding_window_pattern" not in said("gemma", num_layers=4, local_per_global=3, attn_softcap=None)
    assert said("gemma", num_layers=2, local_per_global=3)["sliding_window_pattern"] == 4
    assert "sliding_window_pattern" not in said("gemma", num_layers=2, local_per_global=5)  # what a file without says


def test_all_layers_with_a_window_are_written_as_one_that_names_none() -> None:
    assert said("mistral", sliding_layers=[0, 1]) == said("mistral", sliding_layers=None)
    assert said("mistral", sliding_window=None, sliding_layers=[]) == said("mistral", sliding_window=None)


def test_a_period_longer_than_the_model_is_read() -> None:
    assert said("exaone4", num_layers=2, sliding_window=5, sliding_layers=[0, 1])["layer_types"]


def test_a_context_that_was_not_stretched_is_written_as_the_length_that_it_means() -> None:
    tiny: Any = installed()["phi3"].config_class.tiny()
    factors = [1.5] * (tiny.head_dim // 2)
    rope = RopeConfig(scaling="longrope", short_factor=factors, long_factor=factors, original_max_seq_len=None)
    raw = said("phi3", rope=rope)
    assert raw["original_max_position_embeddings"] == raw["max_position_embeddings"] == tiny.max_seq_len


def test_a_context_that_none_means_is_the_same_for_a_rotation_and_not_for_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rotation is stretched from the model's own context where none is said; chunks then have no temperature."""
    family = installed()["qwen2"]
    dialect, tiny = family.dialect("hf"), family.config_class.tiny()
    chunks = replace(tiny.dual_chunk, chunk_size=6, local_size=2)
    plain: dict[str, Any] = {"sliding_window": None, "sliding_layers": None}
    assert said("qwen2", **plain, rope=replace(tiny.rope, scaling="yarn", factor=4.0))
    assert said("qwen2", **plain, dual_chunk=chunks)

    def with_a_length(c: Any) -> dict[str, Any]:
        raw = dialect.to_config(c)
        raw["dual_chunk_attention_config"]["original_max_position_embeddings"] = c.max_seq_len
        return raw

    monkeypatch.setattr(type(family), "dialect", lambda self, format: replace(dialect, to_config=with_a_length))
    with pytest.raises(UsageError, match=r"model\.dual_chunk\.original_max_seq_len: found 64, expected None"):
        said("qwen2", **plain, dual_chunk=chunks)
