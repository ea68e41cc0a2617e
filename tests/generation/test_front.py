"""What a model that was loaded brings along: its tokenizer, and how its owners want it to generate."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CheckpointError, UnknownName, UsageError, ZooWarning
from zoo.generation import GenerationConfig, generate, stream
from zoo.registry import installed

from .models import LetterTokenizer, TableModel

BOX = Path(zoo.__file__).parent / "box" / "tiny"


@pytest.fixture(scope="module")
def tiny() -> Any:
    return zoo.load("tiny")


def copied(folder: Path, settings: dict[str, Any] | None, **config: Any) -> Path:
    """The model in the box with a generation_config.json of these settings, or none, and keys in its config.json."""
    shutil.copytree(BOX, folder, dirs_exist_ok=True)
    (folder / "generation_config.json").unlink()
    if settings is not None:
        (folder / "generation_config.json").write_text(json.dumps(settings))
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def test_a_loaded_model_brings_its_tokenizer_and_its_settings(tiny: Any) -> None:
    text = zoo.generate(tiny, "One day", max_new_tokens=8).text
    assert text == tiny.generate("One day", max_new_tokens=8).text
    same = generate(tiny, "One day", tokenizer=tiny.tokenizer, config=tiny.generation_config, max_new_tokens=8)
    assert text == same.text
    assert tiny.generation_config == GenerationConfig(repetition_penalty=1.2, eos_token_id=[2])
    plain = generate(tiny, "One day", config=GenerationConfig(max_new_tokens=8))
    assert plain.new_tokens == generate(tiny, "One day", max_new_tokens=8, repetition_penalty=1.0).new_tokens
    assert "".join(stream(tiny, "One day", max_new_tokens=8)) == text
    assert tiny.tokenizer is tiny.tokenizer
    assert copy.deepcopy(tiny).generate("One day", max_new_tokens=8).text == text


def test_a_built_model_brings_neither() -> None:
    model = zoo.build(installed()["llama"].config_class.tiny(), device="cpu")
    for name in ("tokenizer", "generation_config"):
        with pytest.raises(UsageError, match=f"the model was built, not loaded, and brings no {name}"):
            getattr(model, name)
    with pytest.raises(UsageError, match="text prompts need a tokenizer"):
        model.generate("One day")
    assert len(model.generate([3], max_new_tokens=2, eos_token_id=[]).new_tokens[0]) == 2


@torch.inference_mode()
@pytest.mark.parametrize("family", ["llama", "t5", "bert", "chatglm"])
def test_input_ids_are_another_name_of_the_first_argument(family: str) -> None:
    model: Any = zoo.build(installed()[family].config_class.tiny(), device="cpu").eval()
    tokens = torch.tensor([[3, 4, 5]])
    if family == "chatglm":
        tokens = torch.tensor([[3, model.config.gmask_token_id, model.config.bos_token_id]])
    more = {"decoder_tokens": tokens} if family == "t5" else {}
    expected = model(tokens, **more)
    for found in (model(input_ids=tokens, **more), model.forward(input_ids=tokens, **more)):
        for a, b in zip(_tensors(found), _tensors(expected), strict=True):
            assert torch.equal(a, b)
    for twice in ({"tokens": tokens}, {}):
        with pytest.raises(UsageError, match="tokens and input_ids are two names of one argument"):
            model(*([] if twice else [tokens]), input_ids=tokens, **twice, **more)


def _tensors(found: Any) -> list[torch.Tensor]:
    """What a model gives: logits, or a record of several tensors."""
    return [found] if isinstance(found, torch.Tensor) else [v for v in vars(found).values() if v is not None]


def test_generate_takes_input_ids(tiny: Any) -> None:
    tokens = torch.tensor([[1, 49, 422]])
    expected = tiny.generate(tokens, max_new_tokens=3).tokens
    assert tiny.generate(input_ids=tokens, max_new_tokens=3).tokens == expected
    with pytest.raises(UsageError, match="two names of one argument"):
        tiny.generate(tokens, input_ids=tokens)
    with pytest.raises(UsageError, match="two names of one argument"):
        tiny.generate()


@pytest.mark.parametrize(
    ("settings", "config", "total"),
    [
        (None, {"max_new_tokens": 11}, 14),
        pytest.param({"max_length": 30}, {}, 30, marks=pytest.mark.slow),
        ({"max_length": 30, "max_new_tokens": 9}, {}, 12),
        pytest.param(None, {"max_length": 21}, 21, marks=pytest.mark.slow),
        pytest.param({}, {"max_length": 21}, 131, marks=pytest.mark.slow),
        ({"max_length": 30}, {"max_length": 21}, 30),
    ],
    ids=str,
)
def test_max_length_is_of_prompt_and_text_together(
    settings: dict[str, Any] | None, config: dict[str, Any], total: int, tmp_path: Path
) -> None:
    model = zoo.load(copied(tmp_path / "m", settings, **config))
    tokens = [1, 49, 422]
    assert len(model.generate(tokens, eos_token_id=[]).tokens[0]) == total
    assert len(model.generate(tokens, eos_token_id=[], max_new_tokens=4).tokens[0]) == 7


def test_without_an_end_token_in_the_file_texts_end_by_their_length_as_in_transformers(tmp_path: Path) -> None:
    model = zoo.load(copied(tmp_path / "m", {"max_new_tokens": 5}))
    with pytest.warns(ZooWarning, match="eos_token_id is not given: texts end by their length"):
        found = model.generate([1, 49, 422], suppress_tokens=list(range(3, 2048)))  # the end token remains
    assert len(found.new_tokens[0]) == 5
    assert zoo.load(copied(tmp_path / "n", None)).generation_config.eos_token_id is None  # config.json's own is read


def test_what_is_not_known_is_refused_or_ignored(tmp_path: Path) -> None:
    model = zoo.load(copied(tmp_path / "m", {"max_time": 3, "max_new_tokens": 5, "eos_token_id": 2}))
    with pytest.raises(CheckpointError, match=r"generation_config.json: max_time: zoo does not support max_time=3"):
        model.generate("One day")
    with pytest.warns(ZooWarning, match="max_time=3 is ignored: zoo does not support"):
        found = model.generate("One day", ignore_settings=True)
    assert len(found.new_tokens[0]) == 5
    assert len(model.generate("One day", config=GenerationConfig(), max_new_tokens=3).new_tokens[0]) == 3
    with pytest.raises(UnknownName, match="there is no setting 'top_kk' of generation\ndid you mean: top_k"):
        model.generate("One day", config=GenerationConfig(), top_kk=3)


def test_several_texts_of_each_prompt_stand_side_by_side() -> None:
    model = TableModel(scale=1.0, eos_token_id=[])
    settings: dict[str, Any] = {"max_new_tokens": 8, "temperature": 1.0, "seed": 3}
    found = generate(model, [[3, 4], [5]], num_return_sequences=3, **settings)
    assert found.prompts == [[3, 4]] * 3 + [[5]] * 3
    assert found.new_tokens == generate(model, [[3, 4]] * 3 + [[5]] * 3, **settings).new_tokens
    beams = generate(model, [[3, 4], [5]], max_new_tokens=8, num_beams=3, num_return_sequences=2)
    best = generate(model, [[3, 4], [5]], max_new_tokens=8, num_beams=3)
    assert beams.new_tokens[::2] == best.new_tokens
    assert beams.scores is not None
    assert beams.scores[0] > beams.scores[1]
    assert beams.scores[2] > beams.scores[3]


def test_counts_of_what_was_said_are_taken_from_the_logits() -> None:
    """By the definition of OpenAI's API: c * frequency + (c > 0) * presence, of generated tokens alone."""
    model, new = TableModel(eos_token_id=[], scale=1.0), []
    for _ in range(12):
        scores = model(torch.tensor([[3, 4, 5, *new]]))[0, -1].tolist()
        for token in set(new):
            scores[token] -= 0.3 * new.count(token) + 0.5
        new.append(max(range(len(scores)), key=scores.__getitem__))
    found = generate(model, [3, 4, 5], max_new_tokens=12, frequency_penalty=0.3, presence_penalty=0.5)
    assert found.new_tokens == [new]
    assert new != generate(model, [3, 4, 5], max_new_tokens=12).new_tokens[0]


def test_top_n_sigma_keeps_what_is_near_the_best() -> None:
    """Logits 0, 1, 2, 3 have a deviation of sqrt(1.25): one of them reaches to 1.88, two to 0.76 (arXiv:2411.07641)."""
    from zoo.generation.history import History
    from zoo.generation.processors import Temperature, TopNSigma

    nothing, scores = History([[1]], [1]), torch.tensor([[0.0, 1.0, 2.0, 3.0, -torch.inf]])
    for n, kept in ((0.5, 1), (1.0, 2), (2.0, 3), (3.0, 4)):
        for temperature in (1.0, 0.3, 5.0):  # which does not change what is kept
            assert TopNSigma(n)(nothing, Temperature(temperature)(nothing, scores)).isfinite().sum() == kept


def test_guidance_moves_away_from_what_is_said_without_the_prompt() -> None:
    """Against the definition: log p(t | last) + scale * (log p(t | all) - log p(t | last)), rows of unequal length."""
    model = TableModel(eos_token_id=[], scale=1.0)
    prompts = [[3, 4, 5], [6], [7, 8]]
    found = generate(model, prompts, max_new_tokens=6, guidance_scale=2.5)
    for prompt, row in zip(prompts, found.new_tokens, strict=True):
        new: list[int] = []
        for _ in range(6):
            whole = model(torch.tensor([prompt + new]))[0, -1].log_softmax(-1)
            alone = model(torch.tensor([prompt[-1:] + new]))[0, -1].log_softmax(-1)
            new.append(int((alone + 2.5 * (whole - alone)).argmax()))
        assert row == new
    with pytest.raises(UsageError, match="guidance_scale cannot be used with num_beams=2"):
        generate(model, [3], num_beams=2, guidance_scale=2.0)


def test_logits_that_are_not_numbers_are_mended_where_that_is_asked() -> None:
    class Breaking(TableModel):
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            logits = super().forward(*args, **kwargs)
            logits[..., 7] = torch.nan  # counts as 0
            logits[..., 9] = torch.inf
            return logits

    found = generate(Breaking(eos_token_id=[]), [3], max_new_tokens=3, remove_invalid_values=True)
    assert found.new_tokens == [[9, 9, 9]]
    beams = generate(Breaking(eos_token_id=[]), [3], max_new_tokens=3, num_beams=2, remove_invalid_values=True)
    assert len(beams.new_tokens[0]) == 3


@pytest.mark.slow
def test_drawn_beams_come_with_their_probabilities() -> None:
    """Two beams of one token are two draws without replacement, and the better of them is what is told."""
    model = TableModel(scale=0.4, eos_token_id=[])
    shares = model(torch.tensor([[3]]))[0, -1].softmax(-1)
    best = int(shares.argmax())
    p = shares[best].item()
    # The likeliest token is drawn first, or second after any other.
    expected = p + sum((q * p / (1 - q)).item() for i, q in enumerate(shares) if i != best)
    runs = 250
    hits = sum(
        generate(model, [3], max_new_tokens=1, num_beams=2, temperature=1.0, seed=seed).new_tokens[0] == [best]
        for seed in range(runs)
    )
    spread = (expected * (1 - expected) / runs) ** 0.5
    assert abs(hits / runs - expected) < 4 * spread  # once in 16,000 runs by chance, and the seeds are fixed


def test_the_same_seed_gives_the_same_drawn_beams() -> None:
    model = TableModel(scale=1.0)
    settings: dict[str, Any] = {"max_new_tokens": 9, "num_beams": 3, "temperature": 1.0, "top_k": 5}
    runs = [generate(model, [[3], [4, 5]], seed=seed, **settings).new_tokens for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert generate(model, [[3], [9]], seed=1, **settings).new_tokens[0] == runs[0][0]


def test_groups_without_a_penalty_are_one_search_each() -> None:
    model = TableModel(scale=1.0)
    groups = generate(model, [[3, 4], [5]], max_new_tokens=8, num_beams=6, num_beam_groups=2, num_return_sequences=6)
    alone = generate(model, [[3, 4], [5]], max_new_tokens=8, num_beams=3, num_return_sequences=3)
    assert [row for row in groups.new_tokens[::2]] == alone.new_tokens
    assert groups.new_tokens[::2] == groups.new_tokens[1::2]


def test_a_stop_text_is_spelt_by_the_models_own_tokenizer(tiny: Any) -> None:
    free = tiny.generate("One day", max_new_tokens=12).text
    stop = free[6:9]
    assert tiny.generate("One day", max_new_tokens=12, stop=stop).text == free[: free.index(stop)]
    assert generate(tiny, [1, 5], tokenizer=LetterTokenizer(), max_new_tokens=1, eos_token_id=[]).texts is not None


def test_settings_of_a_config_go_along_when_a_model_is_saved_or_converted(tmp_path: Path) -> None:
    source = copied(tmp_path / "m", None, max_length=9, bad_words_ids=[[14]])
    zoo.save(zoo.load(source), tmp_path / "saved")
    zoo.convert(source, tmp_path / "converted", format="hf")
    for name in ("saved", "converted"):
        config = zoo.load(tmp_path / name).generation_config
        assert config == GenerationConfig(max_length=9, bad_words_ids=[[14]])


@pytest.mark.parametrize("prompts", [[[3, 4, 5, 6]], [[3, 4, 5, 6], [7]]], ids=["alone", "padded"])
@pytest.mark.parametrize(
    "settings",
    [{"num_beams": 3}, {"num_beams": 4, "num_beam_groups": 2, "num_return_sequences": 4},
     {"temperature": 1.0, "num_return_sequences": 5},
     {"temperature": 1.0, "num_return_sequences": 5, "draft": "ngram"}],
    ids=["beams", "groups", "samples", "drafted"],
)  # fmt: skip
def test_a_prompt_is_read_once_however_many_texts_go_on_from_it(prompts: Any, settings: dict[str, Any]) -> None:
    model = TableModel(eos_token_id=[])
    generate(model, prompts, max_new_tokens=4, **settings)
    first, *others = model.passes
    assert first == (len(prompts), 4)
    rows = len(prompts) * settings.get("num_beams", settings.get("num_return_sequences"))
    assert {count for count, _ in others} == {rows}
    assert "draft" in settings or {width for _, width in others} == {1}
