"""Pairs of texts and labels of anybody's: `zoo.classify` against transformers and sentence-transformers.

Probabilities in float32 are held to 1e-5 (measured below 1e-6).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

import zoo
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError
from zoo.testing.subject import peaked
from zoo.text.pairs import frame_of, joined, shared

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a dog cat ran slept is it this example . sport food the in park one two".split()
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "pad_token_id": 0,
}
SIZES |= {"intermediate_size": 40, "max_position_embeddings": 48}
NLI = {0: "contradiction", 1: "entailment", 2: "neutral"}
PAIRS = [("the dog ran in the park .", "a dog ran"), ("it is food", "the cat slept in the park this one"), ("a", "cat")]
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {  # the model's classes begin so, the tokenizer's too
    "bert": ("Bert", "Bert", {}),
    "electra": ("Electra", "Bert", {"embedding_size": 24}),
    "deberta-v2": ("DebertaV2", "DebertaV2", {"type_vocab_size": 2, "relative_attention": True, "position_buckets": 4,
                                              "pos_att_type": ["p2c", "c2p"], "max_relative_positions": -1}),
    "albert": ("Albert", "Albert", {"embedding_size": 16}),
    "roberta": ("Roberta", "Roberta", {"type_vocab_size": 2}),
    "bert with RoBERTa's tokenizer": ("Bert", "XLMRoberta", {}),
    "distilbert": ("DistilBert", "DistilBert", {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40,
                                                "intermediate_size": None}),
}  # fmt: skip


def backend(*, typed: bool = True) -> Backend:
    """Whole words as BERT frames them, or with two separators and one type."""
    made = Backend(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1" if typed else "[CLS] $A [SEP] [SEP] $B [SEP]"
    made.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def folder_of(folder: Path, kind: str = "bert", labels: dict[int, str] | None = None, **keys: Any) -> Path:
    """A classifier of transformers with random weights that are wide enough to tell pairs apart."""
    stem, words, more = KINDS[kind]
    labels = NLI if labels is None else labels
    config = getattr(transformers, f"{stem}Config")(
        **{name: value for name, value in {**SIZES, **more, **keys}.items() if value is not None},
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{stem}ForSequenceClassification")(config)
    peaked(model).save_pretrained(folder)
    backend(typed=words in ("Albert", "Bert", "DebertaV2", "DistilBert")).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": f"{words}Tokenizer", "model_max_length": 40, "cls_token": "[CLS]"}
    settings |= {"sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def by_vocab(folder: Path) -> Path:
    """The same words in vocab.txt, which both libraries read by BERT's rules."""
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def tokenizer_of(folder: Path) -> Any:
    """transformers' tokenizer of the file as it is, with the inputs that the folder's class gives."""
    words = json.loads((folder / "tokenizer_config.json").read_text())
    names = getattr(transformers, words["tokenizer_class"]).model_input_names
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Backend.from_file(str(folder / "tokenizer.json")), model_input_names=names,
        model_max_length=40, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
    )  # fmt: skip


def logits_of(folder: Path, pairs: list[tuple[str, str]]) -> torch.Tensor:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = tokenizer_of(folder)
    with torch.inference_mode():
        return torch.cat([model(**tokenizer(*pair, truncation=True, return_tensors="pt")).logits for pair in pairs])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "albert"])
def test_classes_of_pairs_equal_the_reference(kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", kind)
    long = ("the dog ran in the park " * 9, "it is food " * 4)
    found = zoo.classify(folder, pairs=[*PAIRS, long], batch_size=3)
    expected = logits_of(folder, [*PAIRS, long]).softmax(-1)
    for row, one in zip(expected, found.inputs, strict=True):
        assert max(abs(one.scores[name] - row[i].item()) for i, name in NLI.items()) < 1e-5
    swapped = zoo.classify(folder, pairs=PAIRS[0][::-1]).inputs[0]
    assert abs(swapped.scores["entailment"] - found.inputs[0].scores["entailment"]) > 1e-3
    assert (swapped.kind, swapped.pair) == ("pair", PAIRS[0][::-1])


def test_token_types_are_given_where_the_tokenizer_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a")
    typed = zoo.classify(folder, pairs=PAIRS[0]).inputs[0].scores
    file = folder / "tokenizer_config.json"
    raw = json.loads(file.read_text())
    file.write_text(json.dumps(raw | {"model_input_names": ["input_ids", "attention_mask"]}))
    plain = zoo.classify(folder, pairs=PAIRS[0]).inputs[0].scores
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([backend().encode(*PAIRS[0]).ids])
    with torch.inference_mode():
        row = model(ids).logits[0].softmax(-1)
    assert abs(plain["neutral"] - row[2].item()) < 1e-5
    assert abs(plain["neutral"] - typed["neutral"]) > 1e-3


def test_ALBERT_is_told_the_second_text(tmp_path: Path) -> None:
    """As transformers 4 told it, by which its classifiers of pairs were trained; 5.23 does not."""
    folder = folder_of(tmp_path / "a", "albert")
    found = zoo.classify(folder, pairs=PAIRS[0]).inputs[0].scores
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    given = backend().encode(*PAIRS[0])
    with torch.inference_mode():
        row = model(torch.tensor([given.ids]), token_type_ids=torch.tensor([given.type_ids])).logits[0].softmax(-1)
        plain = model(torch.tensor([given.ids])).logits[0].softmax(-1)
    assert abs(found["neutral"] - row[2].item()) < 1e-5
    assert abs(found["neutral"] - plain[2].item()) > 1e-3


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2"])
def test_labels_of_yours_score_as_in_the_pipeline(kind: str, several: bool, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", kind)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    pipeline = transformers.ZeroShotClassificationPipeline(model=model, tokenizer=tokenizer_of(folder))
    texts = ["the dog ran in the park", "it is food", "a cat slept in the park " * 9]
    long = "it is {} in the park and one dog ran and two cat slept in this example ."  # longer than half of a row
    for template, labels in (("This example is {}.", ["sport", "food", "cat"]), (long, ["the park", "dog"])):
        found = zoo.classify(
            folder, texts=texts, labels=labels, template=template, is_multi_label=several, batch_size=4
        )
        for text, one in zip(texts, found.inputs, strict=True):
            theirs = pipeline(text, labels, hypothesis_template=template, multi_label=several)
            assert [*one.scores] == theirs["labels"]
            for name, score in zip(theirs["labels"], theirs["scores"], strict=True):
                assert abs(one.scores[name] - score) < 1e-5
    assert found.how == ("sigmoid" if several else "softmax")


def test_one_label_is_held_to_its_contradiction(tmp_path: Path) -> None:
    for labels in ({0: "entailment", 1: "neutral", 2: "contradiction"}, {0: "neutral", 1: "contradiction", 2: "ENTAIL"},
                   {0: "entailment", 1: "not_entailment"}):  # fmt: skip
        folder = folder_of(tmp_path / str(len(labels)) / labels[0], labels=labels)
        (one,) = zoo.classify(folder, texts="the dog ran", labels=["sport"]).inputs
        (row,) = logits_of(folder, [("the dog ran", "This example is sport.")])
        ids = {name.lower()[:5]: i for i, name in labels.items()}
        pair = row[[ids.get("contr", ids.get("not_e", -1)), ids["entai"]]]
        assert abs(one.scores["sport"] - pair.softmax(-1)[1].item()) < 1e-5


def test_what_no_label_can_be_held_to_is_refused(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "a", labels={0: "good", 1: "bad"})
    with pytest.raises(UsageError, match="has its own labels"):
        zoo.classify(own, texts="a dog", labels=["cat", "dog"])
    alone = folder_of(tmp_path / "b", labels={0: "entailment", 1: "neutral"})
    with pytest.raises(UsageError, match="none is for a contradiction"):
        zoo.classify(alone, texts="a dog", labels=["cat", "dog"], is_multi_label=True)
    assert zoo.classify(alone, texts="a dog", labels=["cat", "dog"]).how == "softmax"
    twice = folder_of(tmp_path / "c", labels={0: "entailment", 1: "entailed"})
    with pytest.raises(UsageError, match="not clear"):
        zoo.classify(twice, texts="a dog", labels=["cat", "dog"])
    for wrong, message in (
        ({"texts": "a", "labels": ["cat", "cat"]}, "twice"), ({"texts": "a", "labels": ["cat", " "]}, "empty"),
        ({"pairs": ("a", "dog"), "labels": ["cat", "dog"]}, "texts alone"),
        ({"pairs": ["a dog", "a", "b"]}, "not a pair"), ({"pairs": [("a", "b", "c")]}, "not a pair"),
        ({"texts": "a", "template": "no place"}, "labels of yours"),
        ({"texts": "a", "labels": ["cat", "dog"], "template": "no place"}, "has no place"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            zoo.classify(alone, **wrong)


@pytest.mark.parametrize("said", [None, "Identity", "Sigmoid"])
def test_a_reranker_scores_as_sentence_transformers(said: str | None, tmp_path: Path) -> None:
    cross = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed").CrossEncoder
    keys = {} if said is None else {"sbert_ce_default_activation_function": f"torch.nn.modules.linear.{said}"}
    if said == "Sigmoid":
        keys = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.1.0"}}
    folder = by_vocab(folder_of(tmp_path / "a", labels={0: "LABEL_0"}, **keys))
    theirs = cross(str(folder), activation_fn=torch.nn.Identity() if said is None else None)
    pairs = [*PAIRS, ("the dog ran in the park " * 9, "it is food " * 4)]
    found = zoo.classify(folder, pairs=pairs)
    expected = theirs.predict(pairs)
    assert max(abs(one.scores["LABEL_0"] - x) for one, x in zip(found.inputs, expected, strict=True)) < 1e-5
    assert found.how == ("sigmoid" if said == "Sigmoid" else "score")


def test_what_a_cross_encoders_files_say_and_zoo_does_not_do_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", labels={0: "LABEL_0"}, sbert_ce_default_activation_function="theirs.Odd")
    with pytest.raises(CheckpointError, match="not an activation that zoo knows"):
        zoo.classify(folder, pairs=PAIRS)
    beside = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Sigmoid"}
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps(beside))
    assert zoo.classify(folder, pairs=PAIRS).how == "sigmoid"
    file.write_text(json.dumps(beside | {"default_prompt_name": "query", "prompts": {"query": "q: "}}))
    with pytest.raises(CheckpointError, match="no prompt before pairs"):
        zoo.classify(folder, pairs=PAIRS)


def test_the_command_reads_pairs_queries_and_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a")
    lines = tmp_path / "lines.txt"
    lines.write_text("a dog ran\nit is food\n")

    def scores(*words: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(main, ["classify", str(folder), *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["inputs"]

    asked = scores("--query", "the dog", str(lines), "--pair", "a", "cat")
    assert [one["pair"] for one in asked] == [["a", "cat"], ["the dog", "a dog ran"], ["the dog", "it is food"]]
    python = zoo.classify(folder, pairs=[("the dog", "it is food")]).inputs[0].scores
    assert asked[2]["scores"] == pytest.approx(python, abs=1e-6)
    assert set(scores("-p", "a dog", "--labels", "sport, the park")[0]["scores"]) == {"sport", "the park"}
    assert CliRunner().invoke(main, ["classify", str(folder), "--query", "a"]).exit_code == 2


def test_a_tokenizer_that_does_not_say_how_joins_nothing(tmp_path: Path) -> None:
    folder = by_vocab(folder_of(tmp_path / "a"))
    tokenizer = zoo.text.Tokenizer.from_folder(folder)
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"))
    row = joined(tokenizer, frame_of(tokenizer), PAIRS[0], limit=None)
    given = theirs(*PAIRS[0])
    assert (row.ids, row.types) == (given["input_ids"], given["token_type_ids"])
    tokenizer.joins = False
    with pytest.raises(CheckpointError, match="how two texts become one row"):
        frame_of(tokenizer)


def test_texts_are_shared_out_as_tokenizers_do() -> None:
    made = backend()
    for first in range(1, 9):
        for second in range(1, 9):
            for room in range(2, first + second):
                made.enable_truncation(room + 3, strategy="longest_first")
                ids = made.encode("dog " * first, "cat " * second).ids
                assert shared(first, second, room) == (ids.count(6), ids.count(7))


def test_classes_of_one_name_keep_their_own_scores(tmp_path: Path) -> None:
    """ImageNet's two cranes: the bird and the machine."""
    folder = folder_of(tmp_path / "a", labels={0: "crane", 1: "dog", 2: "crane"})
    found = zoo.classify(folder, texts="a dog").inputs[0].scores
    plain = zoo.classify(folder_of(tmp_path / "b", labels={0: "x", 1: "y", 2: "z"}), texts="a dog").inputs[0].scores
    assert found == {"crane (class 0)": plain["x"], "dog": plain["y"], "crane (class 2)": plain["z"]}


def test_a_template_with_double_braces_is_refused(tmp_path: Path) -> None:
    """transformers fills templates by Python's format, to which two braces are one."""
    folder = folder_of(tmp_path / "a", labels=NLI)
    for template in ("it is {{}} .", "it is {} {{one}}"):
        with pytest.raises(UsageError, match="has double braces"):
            zoo.classify(folder, texts="a dog", labels=["sport", "food"], template=template)


def test_a_class_of_two_numbers_is_refused_for_labels_of_yours(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", labels=NLI)
    raw = json.loads((folder / "config.json").read_text())
    raw["label2id"] = {"entailment": 0, "contradiction": 1, "neutral": 2}
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="label2id: 'entailment' is class 0, but id2label says 1"):
        zoo.classify(folder, texts="a dog", labels=["sport", "food"])


def test_a_model_without_the_tokenizers_second_type_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", type_vocab_size=1)
    assert zoo.classify(folder, texts="a dog").inputs
    with pytest.raises(
        CheckpointError, match="type_vocab_size: 1, but the tokenizer gives a token of a pair the type 1"
    ):
        zoo.classify(folder, pairs=("a dog", "a cat"))


@pytest.mark.parametrize("word", ["nofile.txt", "~/nofile.txt", "hello"])
def test_a_file_that_is_not_there_is_said_to_be_none(word: str) -> None:
    done = CliRunner().invoke(main, ["classify", "tiny", word])
    assert (done.exit_code, done.stderr) == (2, f"error: {word}: is no file\na text itself stands behind -p\n")
