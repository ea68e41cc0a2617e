"""Encoders give sentence-transformers' vectors and transformers' classes: 1e-5 in float32 (measured 3e-7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo

pytestmark = pytest.mark.slow

WORDS = "one day a girl went to the park with her small red dog and it ran far away from big old trees".split()
TEXTS = ["one day a girl went to the park", "the dog", " ".join(WORDS), "a red dog ran to her unknown park"]
SIZES: dict[str, Any] = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 80, "vocab_size": 40,
    "max_position_embeddings": 34,
}  # fmt: skip


def tokenizer() -> Any:
    """Words between <s> and </s>, with the ids that RoBERTa and MPNet give them and padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]  # a setter that takes any of them
    ends = [("<s>", 0), ("</s>", 2)]
    built.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)  # type: ignore[assignment]
    named = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=built, model_max_length=32, **named)


@torch.no_grad()
def random_model(name: str, head: str, **keys: Any) -> Any:
    """A small model of transformers whose attention is peaked."""
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    model = getattr(transformers, name + head)(getattr(transformers, f"{name}Config")(**SIZES, **keys)).eval()
    generator = torch.Generator().manual_seed(0)
    for key, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        p.copy_(1 + 0.2 * noise if "norm.weight" in key.lower() else 0.3 * noise)
    return model


def sentences(name: str, mode: str, folder: Path) -> Any:
    """A model of sentence-transformers over random weights, and the folder that it writes."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import models

    random_model(name, "Model").save_pretrained(folder / "trunk")
    tokenizer().save_pretrained(folder / "trunk")
    trunk = models.Transformer(str(folder / "trunk"))
    theirs = library.SentenceTransformer(
        modules=[trunk, models.Pooling(SIZES["hidden_size"], pooling_mode=mode), models.Normalize()], device="cpu"
    )
    theirs.save(str(folder / "saved"))
    return theirs


@pytest.mark.parametrize(("name", "labels"), [("XLMRoberta", 1), ("Electra", 3)])
@torch.no_grad()
def test_classes_equal_transformers(name: str, labels: int, tmp_path: Path) -> None:
    theirs, read = random_model(name, "ForSequenceClassification", num_labels=labels, pad_token_id=1), tokenizer()
    theirs.save_pretrained(tmp_path)
    read.save_pretrained(tmp_path)
    for text, found in zip(TEXTS, zoo.classify(tmp_path, texts=TEXTS).inputs, strict=True):
        logits = theirs(**read(text, return_tensors="pt", return_token_type_ids=False)).logits[0]
        expected = logits.softmax(-1) if labels > 1 else logits  # of one class, as a reranker's, the score itself
        scores = torch.tensor([found.scores[f"LABEL_{i}"] for i in range(labels)])
        assert (scores - expected).abs().max().item() < 1e-5


@pytest.mark.parametrize(("name", "mode"), [("MPNet", "mean"), ("XLMRoberta", "cls"), ("XLMRoberta", "mean")])
def test_vectors_equal_sentence_transformers(name: str, mode: str, tmp_path: Path) -> None:
    expected = torch.from_numpy(sentences(name, mode, tmp_path).encode(TEXTS))
    file = tmp_path / "saved" / "config.json"
    keys = json.loads(file.read_text())
    assert keys["architectures"] == [f"{name}Model"]
    for architecture in (f"{name}Model", f"{name}ForMaskedLM"):  # as all-mpnet-base-v2 names what it was trained from
        file.write_text(json.dumps(keys | {"architectures": [architecture]}))
        found = zoo.embed(tmp_path / "saved", texts=TEXTS, batch_size=3)
        assert (found.vectors - expected).abs().max().item() < 1e-5
