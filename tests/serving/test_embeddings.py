"""Vectors by the interface are those of `zoo embed`, of whatever it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

import zoo
from tests.embedding.folders import sentence_folder
from tests.serving.serve import served
from zoo.errors import UsageError
from zoo.registry import installed
from zoo.serving.opening import open_volume

TEXTS = ["One day a girl went", "The dog", "the dog was " * 12]  # the last is longer than what is read of it


def encoder(folder: Path) -> str:
    """A tiny BERT with random weights, and a tokenizer of whole words."""
    config = installed()["bert"].config_class.tiny()
    zoo.save(zoo.build(config, device="cpu", seed=1), folder)
    words = ["[UNK]", "[PAD]", "One", "day", "a", "girl", "went", "the", "The", "dog", "was"]
    tokenizer = Backend(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyrefly: ignore[bad-assignment]  # its stubs
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.mark.slow
def test_sentences_and_encoders_are_served_as_they_are_embedded(tmp_path: Path) -> None:
    sentences = str(sentence_folder(tmp_path / "sentences", "last", prompts={"q": "Find: "}, default_prompt_name="q"))
    bert = encoder(tmp_path / "bert")
    with served([sentences, bert, "tiny"], pooling="max") as (client, _):
        for name, source, pooling in (("sentences", sentences, None), ("bert", bert, "max"), ("tiny", "tiny", "max")):
            # A text is read by itself: beside others its last bits would be others.
            one_by_one = [
                zoo.embed(source, texts=[text], pooling=pooling, dtype="float32").vectors for text in TEXTS[:2]
            ]
            answer = client.post("/v1/embeddings", json={"model": name, "input": TEXTS[:2]})
            assert answer.status_code == 200, answer.text
            found = torch.tensor([row["embedding"] for row in answer.json()["data"]])
            torch.testing.assert_close(found, torch.cat(one_by_one))
        answer = client.post("/v1/embeddings", json={"model": "sentences", "input": TEXTS[2]})
        expected = zoo.embed(sentences, texts=TEXTS[2], dtype="float32").vectors[0]
        torch.testing.assert_close(torch.tensor(answer.json()["data"][0]["embedding"]), expected)
        assert answer.json()["usage"]["prompt_tokens"] == 20  # max_seq_length
        for path, asked in (("completions", {"prompt": "a"}), ("chat/completions", {"messages": []})):
            answer = client.post(f"/v1/{path}", json={"model": "sentences", **asked})
            assert answer.status_code == 400
            assert "sentences writes no text" in answer.json()["error"]["message"]
        wrong = client.post("/v1/embeddings", json={"model": "bert", "input": [5, 10**6]})
        assert (wrong.status_code, "outside the model's vocabulary" in wrong.text) == (400, True)
        page = client.get("/").text
        assert '"tiny"' in page
        assert '"sentences"' not in page


def test_an_encoder_that_does_not_say_how_is_refused_before_it_is_served(tmp_path: Path) -> None:
    bert = encoder(tmp_path / "bert")
    with pytest.raises(UsageError, match="does not say how states become one vector"):
        open_volume(bert)
    with pytest.raises(UsageError, match="pooling='meen' is not known"):
        open_volume("tiny", pooling="meen")
