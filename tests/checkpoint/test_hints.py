"""What zoo advises it has tried, and nothing that carries numbers is offered away."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.breaking import TINY, Tensors, broken, logits, run, saved
from tools.fuzz_hints.__main__ import bases, walks
from zoo.errors import CheckpointError, ZooWarning

__all__ = ["broken", "saved"]  # fixtures
HEAD = "lm_head.weight"


# --- overrides ---


@pytest.mark.slow
@pytest.mark.parametrize("said", [False, None], ids=["the config denies it", "the config does not say"])
def test_a_head_that_is_the_embedding_is_offered_as_that(said: bool | None, broken: Callable[..., Path]) -> None:
    folder = broken("tiny", tie_word_embeddings=said)
    done = run("inspect", folder)
    assert done.exit_code == 1
    assert "tried: every tensor matches if the config says tie_word_embeddings: true" in done.stderr
    assert "model.tie_embeddings=true\n" in done.stderr
    assert "wrong if it is missing from the files" in done.stderr
    assert "--allow" not in done.stderr
    followed = run("inspect", folder, "model.tie_embeddings=true")
    assert followed.exit_code == 0
    assert "model.tie_embeddings=true was asked for; the files say false" in followed.stdout
    with pytest.warns(ZooWarning, match="tie_embeddings=true was asked for"):
        model = zoo.load(folder, "model.tie_embeddings=true")
    assert torch.equal(logits(model), logits(zoo.load(TINY)))


def more_rows(tensors: Tensors) -> None:
    name = "model.embed_tokens.weight"
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]])


@pytest.mark.slow
def test_a_row_more_than_the_vocabulary_is_read_as_that(broken: Callable[..., Path]) -> None:
    folder = broken("tiny", more_rows)
    assert "vocab_size: 2049:  model.vocab_size=2049\n" in run("inspect", folder).stderr
    with pytest.warns(ZooWarning):
        model = zoo.load(folder, "model.vocab_size=2049")
    assert torch.equal(logits(model)[..., :2048], logits(zoo.load(TINY)))


@pytest.mark.parametrize(
    ("name", "keys", "typed"),
    [
        ("llama", {"intermediate_size": 48}, "model.intermediate_size=40"),
        pytest.param("qwen3", {"attention_bias": True}, "model.attention_bias=false", marks=pytest.mark.slow),
        pytest.param("gpt2", {"tie_word_embeddings": False}, "model.tie_embeddings=true", marks=pytest.mark.slow),
        ("mistral", {"tie_word_embeddings": True}, ""),  # a head that differs from the embedding: either may be right
    ],
)
def test_a_key_that_was_changed_is_found_by_the_tensors(
    name: str, keys: dict[str, Any], typed: str, broken: Callable[..., Path], saved: Callable[[str], Path]
) -> None:
    folder = broken(name, **keys)
    found = zoo.inspect(folder)
    assert list(found.repair.overrides if found.repair else ()) == [typed] * bool(typed)
    if typed:
        with pytest.warns(ZooWarning):
            model = zoo.load(folder, typed)
        assert torch.equal(logits(model), logits(zoo.load(saved(name))))


@pytest.mark.slow
def test_one_override_is_not_offered_where_more_hangs_on_the_key(broken: Callable[..., Path]) -> None:
    """T5's key says that the head is the embedding, and that what enters it is scaled."""
    folder = broken("t5", tie_word_embeddings=False, scale_decoder_outputs=None)
    found = zoo.inspect(folder)
    assert found.repair is None or len(found.repair.overrides) == 2
    assert "model." not in run("inspect", folder).stderr.partition("do not match")[2]


def test_sizes_of_heads_are_not_guessed_where_two_models_would_fit(broken: Callable[..., Path]) -> None:
    """Twice the heads of half the width have the same matrices."""
    assert zoo.inspect(broken("llama", num_attention_heads=12, head_dim=None, hidden_size=24)).repair is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.pop("model.layers.0.mlp.up_proj.weight"),
        lambda t: t.pop("model.embed_tokens.weight"),
        lambda t: [t.pop(name) for name in list(t) if ".layers.1." in name],
        lambda t: t.update({"lm_head.weights": t.pop(HEAD)}),
        lambda t: t.update({"model.norm.weight": t["model.norm.weight"][:-1].clone()}),
        lambda t: t.update({HEAD: t[HEAD].to(torch.int8)}),
        lambda t: t.update({"score.weight": torch.ones(2, 24)}),
        lambda t: t.update({"v_head.summary.weight": torch.ones(1, 24)}),
    ],
    ids=[
        "a matrix lost",
        "the embedding lost",
        "a layer lost",
        "a head renamed",
        "a norm cut",
        "a head of whole numbers",
        "another head",
        "a value head",
    ],
)
def test_what_lost_numbers_or_has_others_is_offered_nothing(
    edit: Callable[[Tensors], object], broken: Callable[..., Path]
) -> None:
    told = run("inspect", broken("llama", edit)).stderr
    assert "no change that zoo tried makes them match" in told
    assert not any(word in told for word in ("--allow", "family=", "model.tie", "model.num"))


# --- keys ---


@pytest.mark.parametrize("new", ["rms_norm_epss", "RMS_NORM_EPS", "rms-norm-eps", "my_rms_norm_eps", "rmsnormeps"])
def test_a_misspelt_key_is_named_rightly_and_never_let_pass(new: str, broken: Callable[..., Path]) -> None:
    told = run("inspect", broken("llama", rms_norm_eps=None, **{new: 1e-3})).stderr
    assert f"did you mean rms_norm_eps for {new}?" in told
    assert "--allow" not in told


@pytest.mark.parametrize(
    ("key", "value"),
    [("logit_scale", 0.5), ("embeddingMultiplier", 2.0), ("rotary_base", 500), ("qk_norm", True), ("a key", "x")],
)
def test_a_key_that_may_be_computed_with_is_not_offered_to_allow(
    key: str, value: Any, broken: Callable[..., Path]
) -> None:
    told = run("inspect", broken("llama", **{key: value})).stderr
    assert "zoo does not know what it does" in told
    assert "--allow" not in told


def test_a_renamed_key_is_not_let_pass_where_its_kind_of_value_was_assumed(broken: Callable[..., Path]) -> None:
    assert "--allow" not in run("inspect", broken("llama", rms_norm_eps=None, zzz=1e-3)).stderr


def test_keys_that_nobody_knows_are_all_named_with_one_word_that_lets_them_pass(broken: Callable[..., Path]) -> None:
    folder = broken("tiny", wandb_run="x1", my_notes="left")
    told = run("inspect", folder).stderr
    assert "my_notes: the key is not known to llama, nor wandb_run" in told
    assert "zoo does not know what they do" in told
    assert "--allow 'my_notes,wandb_run'\n" in told
    assert "looks like" not in told
    assert "names are those of" not in told
    with pytest.warns(ZooWarning, match="my_notes, wandb_run not known, but allowed"):
        assert torch.equal(logits(zoo.load(folder, allow=["my_notes,wandb_run"])), logits(zoo.load(TINY)))


def test_keys_of_trainers_need_no_leave(broken: Callable[..., Path]) -> None:
    folder = broken("tiny", unsloth_version="2024.9", tokenizer_padding_side="left", _flash_attn_2_enabled=True)
    assert torch.equal(logits(zoo.load(folder)), logits(zoo.load(TINY)))


# --- families ---


def test_names_of_tensors_are_no_proof_of_arithmetic(broken: Callable[..., Path], tmp_path: Path) -> None:
    """Arcee has LLaMA's names and keys, and squares what a ReLU leaves."""
    folder = broken("llama", model_type="arcee")
    told = run("inspect", folder).stderr
    line = r"its tensor names are those of .*\bllama, mistral\b.*; that does not prove that it computes in the same way"
    assert re.search(line, told)
    assert "family=" not in told
    assert "looks like" not in told
    line = "read as family=llama, although config.json says model_type 'arcee'"
    assert line in run("inspect", folder, "family=llama").stdout
    assert line in run("convert", folder, tmp_path / "out", "family=llama").stderr
    with pytest.warns(ZooWarning, match=line):
        zoo.load(tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZooWarning)
        zoo.load(TINY, family="llama")  # its own word


def test_a_family_that_would_do_without_is_not_offered(broken: Callable[..., Path]) -> None:
    """A Qwen3 that has lost its norms is no LLaMA for it."""
    folder = broken("qwen3", lambda t: [t.pop(name) for name in list(t) if "_norm.weight" in name and "attn" in name])
    ledger = zoo.inspect(folder)
    assert ledger.looks_like is None
    assert "family=" not in run("inspect", folder).stderr


def test_frequencies_that_differ_are_not_waved_through(broken: Callable[..., Path]) -> None:
    """The config or the file is of another base: nothing says which."""

    def keep(tensors: Tensors) -> None:
        for i in range(3):
            tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = 500.0 ** -(torch.arange(0, 10, 2) / 10)

    with pytest.raises(CheckpointError, match="the file has the base 500: compare rope_theta") as error:
        zoo.load(broken("llama", keep, head_dim=10))
    assert "--allow" not in str(error.value)


# --- the fuzz ---


def walked(folder: Path, count: int, seed: int, families: tuple[str, ...]) -> list[str]:
    """What went wrong: a hint that leads to another model, or an error of zoo's own."""
    (work := folder / "broken").mkdir()
    bad = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, ends in walks(bases(folder, families), work, count=count, seed=seed):
            bad += [f"{what}: {end.said}" for end in ends[:1] if end.verdict == "bug"]
            bad += [f"{what}: {end.words}" for end in ends[1:] if end.verdict == "bug"]
            bad += [f"{what}: {end.words}" for end in ends[1:] if end.verdict == "other" and not end.is_warned]
    return bad


@pytest.mark.slow
def test_no_hint_leads_to_another_model(tmp_path: Path) -> None:
    assert walked(tmp_path, 12, 7, ("llama", "t5")) == []


@pytest.mark.long
@pytest.mark.slow
def test_no_hint_of_two_hundred_broken_folders_leads_to_another_model(tmp_path: Path) -> None:
    families = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gpt2", "t5", "bert", "mixtral", "glm")
    assert walked(tmp_path, 200, 11, families) == []
