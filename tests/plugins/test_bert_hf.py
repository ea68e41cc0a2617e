"""BERT and its kin in Hugging Face's files: which names and keys are read, and which refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import zoo
from tests.plugins.encoders import ALL, FAMILIES, config_of, model_of
from tests.some import some
from zoo.errors import CheckpointError
from zoo.registry import installed
from zoo.weights import ForeignConfig

Tensors = dict[str, Tensor]
PREFIX = {"xlm_roberta": "roberta"}  # of the trunk's names, where it is not the family's


def stored(folder: Path, config: Any, change: Callable[[Tensors], Tensors], **keys: Any) -> Path:
    """A checkpoint as zoo writes it, its tensors and config keys then changed."""
    zoo.save(model_of(config), folder)
    file = folder / "model.safetensors"
    tensors = change(load_file(file))
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, file)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    return folder


def assert_same(model: nn.Module, other: nn.Module) -> None:
    """The same weights under the same names, bit for bit."""
    ours, theirs = dict(model.named_parameters()), dict(other.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def read(family: str, **changes: Any) -> Any:
    """The config that the family reads from its own tiny masked-LM config.json with some keys changed."""
    dialect = installed()[family].dialect("hf")
    keys = ForeignConfig(dialect.to_config(config_of(family, "masked_lm")) | changes)
    config = dialect.from_config(keys)
    keys.check(where=family)
    return config


@pytest.mark.parametrize(("family", "head"), ALL)
@pytest.mark.parametrize("changes", [{}, {"activation": "gelu_tanh"}, {"tie_embeddings": False}], ids=str)
def test_configs_survive_the_round_trip(family: str, head: str, changes: dict[str, Any]) -> None:
    config = config_of(family, head, **changes)
    dialect = installed()[family].dialect("hf")
    keys = ForeignConfig(json.loads(json.dumps(dialect.to_config(config))))
    assert dialect.from_config(keys) == config
    keys.check(where=family)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm_roberta", "albert"])
@pytest.mark.parametrize("has_pooler", [True, False])
def test_the_pooler_of_a_base_model_survives_the_round_trip(family: str, has_pooler: bool) -> None:
    dialect = installed()[family].dialect("hf")
    config = config_of(family, "none", has_pooler=has_pooler)
    assert dialect.from_config(ForeignConfig(dialect.to_config(config))) == config


@pytest.mark.slow
@pytest.mark.parametrize(("family", "head"), ALL)
def test_saved_models_load_as_they_were(family: str, head: str, tmp_path: Path) -> None:
    model = model_of(config_of(family, head))
    zoo.save(model, tmp_path / "out")
    back = zoo.load(tmp_path / "out")
    assert back.config == replace(model.config, dtype="float64")
    assert_same(back, model)


def as_in_2018(tensors: Tensors) -> Tensors:
    old = {k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): t for k, t in tensors.items()}
    extra = {"cls.seq_relationship.weight": torch.zeros(2, 24), "bert.pooler.dense.weight": torch.zeros(24, 24)}
    copies = {
        "bert.embeddings.position_ids": torch.arange(50)[None],
        "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": tensors["cls.predictions.bias"],
    }
    return old | extra | copies


def test_files_of_2018_load_and_say_what_was_left_out(tmp_path: Path) -> None:
    config = config_of("bert", "masked_lm")
    model = zoo.load(stored(tmp_path / "old", config, as_in_2018))
    account = model.ledger.account
    unused = {"bert.embeddings.position_ids", "bert.pooler.dense.weight", "cls.seq_relationship.weight"}
    assert set(account.ignored) == unused
    assert account.tied == {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    assert_same(model, model_of(config))


@pytest.mark.slow  # builds transformers' models
@pytest.mark.parametrize(("family", "head"), [("bert", "cls.predictions"), ("roberta", "lm_head")])
def test_an_untied_head_adds_the_decoders_bias_as_transformers_does(family: str, head: str, tmp_path: Path) -> None:
    import transformers

    config = config_of(family, "masked_lm", tie_embeddings=False)

    def apart(tensors: Tensors) -> Tensors:
        return tensors | {f"{head}.bias": tensors[f"{head}.decoder.bias"] + 1}

    folder = stored(tmp_path / "apart", config, apart)
    model = zoo.load(folder)
    assert model.ledger.account.ignored == {
        f"{head}.bias": "an untied head adds decoder.bias, as in transformers, and not the bias beside it"
    }
    assert_same(model, model_of(config))
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = torch.arange(3, 11)[None]
    with torch.no_grad():  # float32 sums in another order
        torch.testing.assert_close(model.eval()(ids).logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "head"), [("bert", "cls.predictions"), ("roberta", "lm_head")])
def test_an_untied_heads_bias_that_stands_in_one_place_is_read_from_there(
    family: str, head: str, tmp_path: Path
) -> None:
    def beside(tensors: Tensors) -> Tensors:
        return tensors | {f"{head}.bias": tensors.pop(f"{head}.decoder.bias")}

    config = config_of(family, "masked_lm", tie_embeddings=False)
    assert_same(zoo.load(stored(tmp_path / "beside", config, beside)), model_of(config))


@pytest.mark.parametrize(
    ("family", "copy"),
    [
        ("bert", "cls.predictions.decoder.bias"),
        ("bert", "cls.predictions.decoder.weight"),
        ("roberta", "lm_head.decoder.bias"),
        ("roberta", "lm_head.decoder.weight"),
        ("distilbert", "vocab_projector.weight"),
    ],
)
def test_a_copy_that_differs_from_what_it_is_tied_to_is_an_error(family: str, copy: str, tmp_path: Path) -> None:
    shape = (61, 24) if copy.endswith("weight") else (61,)
    folder = stored(tmp_path / "bad", config_of(family, "masked_lm"), lambda t: t | {copy: torch.ones(shape).double()})
    with pytest.raises(CheckpointError, match="it differs from"):
        zoo.load(folder)


def test_the_bias_may_stand_in_the_decoder_alone(tmp_path: Path) -> None:
    def moved(tensors: Tensors) -> Tensors:
        return tensors | {"cls.predictions.decoder.bias": tensors.pop("cls.predictions.bias")}

    config = config_of("bert", "masked_lm")
    model = zoo.load(stored(tmp_path / "moved", config, moved))
    assert_same(model, model_of(config))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_base_models_load_with_and_without_prefix(family: str, tmp_path: Path) -> None:
    config = config_of(family, "none")

    def prefixed(tensors: Tensors) -> Tensors:
        return {f"{PREFIX.get(family, family)}.{name}": t for name, t in tensors.items()}

    bare = zoo.load(stored(tmp_path / "bare", config, lambda t: t))
    full = zoo.load(stored(tmp_path / "full", config, prefixed))
    assert not any(name.startswith(family) for name in bare.ledger.checkpoint.tensors)
    assert_same(bare, full)


@pytest.mark.parametrize(
    ("family", "head"), [("bert", "cls.predictions"), ("roberta", "lm_head"), ("distilbert", "vocab_transform")]
)
def test_a_base_model_leaves_a_pretraining_head_out_but_no_other(family: str, head: str, tmp_path: Path) -> None:
    config = config_of(family, "none")
    folder = stored(tmp_path / "lm", config, lambda t: t | {f"{head}.dense.bias": torch.zeros(24)})
    assert set(zoo.load(folder).ledger.account.ignored) == {f"{head}.dense.bias"}
    folder = stored(tmp_path / "classes", config, lambda t: t | {"classifier.bias": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"classifier\.bias"):
        zoo.load(folder)


@pytest.mark.parametrize("family", some(FAMILIES, "roberta"))
def test_files_of_an_embedder_hold_the_trunk_of_the_class_that_they_name(family: str, tmp_path: Path) -> None:
    config = config_of(family, "none", **({} if family in ("distilbert", "electra") else {"has_pooler": True}))
    dialect = installed()[family].dialect("hf")
    named = dialect.to_config(config_of(family, "masked_lm"))["architectures"]
    model = zoo.load(stored(tmp_path / "trunk", config, lambda t: t, architectures=named))
    assert_same(model, model_of(config))
    assert "head that is not in the files" in model.ledger.keys.told["architectures"]
    part = dialect.mapping(config_of(family, "masked_lm")).plan(["lm_head.dense.bias"])[0][0].theirs[0]
    folder = stored(tmp_path / "half", config, lambda t: t | {part: torch.zeros(24)}, architectures=named)
    with pytest.raises(CheckpointError, match="missing"):
        zoo.load(folder)


def test_a_trunk_whose_files_have_no_pooler_has_none_and_says_so(tmp_path: Path) -> None:
    config = config_of("xlm_roberta", "none", has_pooler=True)
    folder = stored(tmp_path / "bare", config, lambda t: {k: v for k, v in t.items() if "pooler" not in k})
    model = zoo.load(folder)
    assert not model.config.has_pooler
    assert "no pooler" in model.ledger.keys.told["add_pooling_layer"]


def test_a_missing_pooler_is_an_error(tmp_path: Path) -> None:
    config = config_of("bert", "none", has_pooler=True)
    folder = stored(tmp_path / "half", config, lambda t: {k: v for k, v in t.items() if "pooler" not in k})
    with pytest.raises(CheckpointError, match=r"pooler\.dense"):
        zoo.load(folder)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type.*'relative_key'"),
        ("bert", {"is_decoder": True}, "is_decoder: True"),
        ("bert", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ("bert", {"architectures": ["BertLMHeadModel"]}, "BertLMHeadModel"),
        ("bert", {"architectures": ["BertModel", "BertForMaskedLM"]}, "architectures"),
        ("bert", {"architectures": ["RobertaForMaskedLM"]}, "RobertaForMaskedLM"),
        ("bert", {"hidden_act": "gelu_fast"}, "hidden_act: 'gelu_fast' is not known"),
        ("bert", {"pooler_type": "last_token"}, "pooler_type"),
        ("bert", {"embedding_size": 8}, "embedding_size: the key is not known"),
        ("distilbert", {"activation": "elu"}, "activation: 'elu' is not known"),
        ("roberta", {"position_embedding_type": "relative_key_query"}, "position_embedding_type"),
        ("roberta", {"pad_token_id": "<pad>"}, "pad_token_id"),
    ],
)
def test_keys_that_make_another_model_are_refused(family: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(family, **changes)


def test_labels_come_from_id2label_or_their_number() -> None:
    def labels(**changes: Any) -> tuple[int, list[str]]:
        config = read("bert", architectures=["BertForSequenceClassification"], **changes)
        return config.num_labels, config.labels

    assert labels() == (2, [])
    assert labels(num_labels=5) == (5, [])
    assert labels(id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}) == (3, [])
    assert labels(id2label={"1": "up", "0": "down"}, num_labels=2) == (2, ["down", "up"])
    with pytest.raises(CheckpointError, match="does not number the classes"):
        labels(id2label={"0": "down", "2": "up"})
    with pytest.raises(CheckpointError, match="5 classes, but id2label has 1"):
        labels(id2label={"0": "down"}, num_labels=5)


def test_roberta_knows_fewer_tokens_than_its_table_has_rows() -> None:
    assert read("roberta", max_position_embeddings=514, pad_token_id=1).max_seq_len == 512
