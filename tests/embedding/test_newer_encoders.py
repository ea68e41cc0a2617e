"""ModernBERT's embedders and DeBERTa's classifiers, by their references: 1e-5 in float32 (measured 4e-7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.embedding.test_encoders import SIZES, TEXTS, tokenizer

pytestmark = pytest.mark.slow

IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
MODERN = SIZES | IDS | {"cls_token_id": 0, "sep_token_id": 2, "local_attention": 6}
DEBERTA = SIZES | IDS | {
    "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
    "id2label": {0: "contradiction", 1: "entailment", 2: "neutral"},
}  # fmt: skip


@torch.no_grad()
def made(name: str, keys: dict[str, Any], folder: Path) -> Any:
    """A model of transformers with weights for which a misplaced one shows, stored with its tokenizer."""
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**keys)).eval()
    generator = torch.Generator().manual_seed(0)
    for key, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        p.copy_(1 + 0.2 * noise if "norm.weight" in key.lower() else 0.3 * noise)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return model


@pytest.mark.parametrize("mode", ["mean", "cls"])  # of Nomic's and of GTE's
def test_vectors_on_ModernBERT_equal_sentence_transformers(mode: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import models

    made("ModernBertModel", MODERN, tmp_path / "trunk")
    trunk = models.Transformer(str(tmp_path / "trunk"))
    pooling = models.Pooling(SIZES["hidden_size"], pooling_mode=mode)
    theirs = library.SentenceTransformer(modules=[trunk, pooling, models.Normalize()], device="cpu")
    theirs.save(str(tmp_path / "saved"))
    found = zoo.embed(tmp_path / "saved", texts=TEXTS, batch_size=3)
    assert (found.vectors - torch.from_numpy(theirs.encode(TEXTS))).abs().max().item() < 1e-5


@torch.inference_mode()
def test_classes_of_a_DeBERTa_equal_the_reference(tmp_path: Path) -> None:
    theirs = made("DebertaV2ForSequenceClassification", DEBERTA, tmp_path)
    found = zoo.classify(tmp_path, texts=TEXTS, batch_size=3)
    assert (found.family, found.how) == ("deberta", "softmax")
    for text, one in zip(TEXTS, found.inputs, strict=True):
        ids = torch.tensor([tokenizer()(text)["input_ids"]])
        expected = dict(zip(DEBERTA["id2label"].values(), theirs(ids).logits[0].softmax(-1).tolist(), strict=True))
        assert one.scores == pytest.approx(expected, abs=1e-5)
