"""Videos in prompts: their places and times, generation equal to full passes, and what is refused.

Shapes: T tokens.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from tokenizers import AddedToken

import zoo
from tests.text.tiny import byte_level, write
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.text import Tokenizer

from .films import write_film

pytest.importorskip("av", reason="the video extra is not installed")
image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
START, PAD, END, FILM = "<start>", "<pad>", "<end>", "<film>"  # at ids 348 to 351
SETTINGS = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 4096}}
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'image' %}<start><pad><end>{% elif part.type == 'video' %}"
    "<start><film><end>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<s>model\n{% endif %}"
)


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer, and beside it a picture and two videos of 10 frames a second."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    ids = {"vision_start_token_id": 348, "image_token_id": 349, "vision_end_token_id": 350, "video_token_id": 351}
    tiny = installed()[request.param].config_class.tiny()
    zoo.save(peaked(zoo.build(replace(tiny, vocab_size=352, max_seq_len=512, **ids), device="cpu")), folder)
    tokenizer = byte_level()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (START, PAD, END, FILM)]
    )
    write(folder, tokenizer)
    (folder / "video_preprocessor_config.json").write_text(json.dumps(SETTINGS))
    pictured = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "min_pixels": 64, "max_pixels": 256}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictured))
    write_film(folder.parent / "one.mkv", 25, height=16, width=24)
    write_film(folder.parent / "two.mkv", 10, height=24, width=16)
    image.new("RGB", (16, 16), (9, 99, 199)).save(folder.parent / "cat.png")
    return folder


def opened(folder: Path) -> tuple[Any, Tokenizer, list[str]]:
    """Model, tokenizer and the videos."""
    films = [str(folder.parent / f"{name}.mkv") for name in ("one", "two")]
    return zoo.load(folder, dtype="float64"), Tokenizer.from_folder(folder), films


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=stdin, catch_exceptions=False)


def test_places_and_times_are_those_of_the_processors(folder: Path) -> None:
    """By hand: 16 x 24 pixels are 2 x 3 squares of 8; of 2.5 s four frames are taken, or five, and of 1 s four."""
    model, tokenizer, films = opened(folder)
    made = zoo.illustrate(model, "hi", videos=films, tokenizer=tokenizer)
    if model.config.family == "qwen3_vl":  # frames 0, 6, 12, 18, 24, the last twice, and 0, 3, 6, 9
        steps = (("0.3", "1.5", "2.4"), ("0.1", "0.8"))  # of 0.15 the float is a little less
        texts = ["".join(f"<{t} seconds>{START}{FILM * 6}{END}" for t in at) for at in steps]
        assert made.tokens == tokenizer.encode("".join(texts) + "hi")
        assert "seconds_per_grid" not in made.inputs
        assert made.inputs["video_grid"].tolist() == [[3, 4, 6], [2, 6, 4]]
        return
    assert made.tokens == tokenizer.encode(f"{START}{FILM * 12}{END}" * 2 + "hi")
    assert made.inputs["video_grid"].tolist() == [[2, 4, 6], [2, 6, 4]]
    if model.config.family == "qwen2_5_vl":  # two frames each: of 4 in 2.5 s and of 4 in 1 s
        assert made.inputs["seconds_per_grid"].tolist() == [1.25, 0.5]
    assert made.inputs["video_pixels"].shape == (2 * 48, 3 * 2 * 16)


@torch.inference_mode()
def test_generation_with_videos_equals_full_passes(folder: Path) -> None:
    model, tokenizer, films = opened(folder)
    picture = str(folder.parent / "cat.png")
    made = zoo.illustrate(model, " the town", [picture], videos=films, tokenizer=tokenizer)
    assert {"pixels", "grid", "video_pixels", "video_grid"} <= made.inputs.keys()
    out = zoo.generate(model, made.tokens, inputs=made.inputs, max_new_tokens=6, eos_token_id=[])
    text = list(made.tokens)
    for _ in range(6):
        text.append(int(model(torch.tensor([text]), **made.inputs)[0, -1].argmax()))
    assert out.new_tokens[0] == text[len(made.tokens) :]
    drafted = zoo.generate(
        model, made.tokens, inputs=made.inputs, max_new_tokens=6, eos_token_id=[], draft="ngram"
    )  # fmt: skip
    assert drafted.new_tokens == out.new_tokens
    still = zoo.illustrate(model, " the town", [picture], videos=films[:1], tokenizer=tokenizer)
    seen, less = (model(torch.tensor([m.tokens]), **m.inputs)[0, -1] for m in (made, still))
    assert (seen - less).abs().max() > 1e-3


def test_a_prompt_or_a_template_may_say_where_videos_belong(folder: Path, tmp_path: Path) -> None:
    model, tokenizer, films = opened(folder)
    mark = f"{START}{FILM}{END}"
    made = zoo.illustrate(model, f"a{mark}b{mark}c", videos=films, tokenizer=tokenizer)
    assert made.tokens[0] == tokenizer.encode("a")[0]
    with pytest.raises(UsageError, match="the prompt has 1 places for videos, 2 are given"):
        zoo.illustrate(model, f"a{mark}b", videos=films, tokenizer=tokenizer)
    with pytest.raises(UsageError, match="there are no pictures and no videos"):
        zoo.illustrate(model, "a", tokenizer=tokenizer)
    chat = tmp_path / "chat"
    chat.mkdir()
    for file in folder.iterdir():
        (chat / file.name).write_bytes(file.read_bytes())
    (chat / "chat_template.jinja").write_text(TEMPLATE)
    wording = Tokenizer.from_folder(chat)
    picture = str(folder.parent / "cat.png")
    worded = zoo.illustrate(model, "hi", [picture], videos=films[:1], tokenizer=wording)
    plain = f"<s>user\n{START}{PAD}{END}{mark}hi<|end|><s>model\n"
    assert worded.tokens == zoo.illustrate(model, plain, [picture], videos=films[:1], tokenizer=wording).tokens
    done = run("chat", str(chat), "--video", films[0], "--tokens", "3", stdin="hi\nmore\n")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(" tok, ") == 2


def test_the_command_says_what_the_function_does(folder: Path) -> None:
    _, tokenizer, films = opened(folder)
    model = zoo.load(folder)
    made = zoo.illustrate(model, "it's", videos=films, tokenizer=tokenizer)
    expected = zoo.generate(model, made.tokens, inputs=made.inputs, max_new_tokens=5, eos_token_id=[]).new_tokens[0]
    words = ("generate", str(folder), "--video", films[0], "--video", films[1], "-p", "it's", "--tokens", "5")
    done = run(*words, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)[0]["tokens"] == expected
    assert run(*words).exit_code == 0
    assert run(*words, "-p", "more").exit_code == 2


def test_what_is_no_video_or_cannot_be_seen_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, films = opened(folder)
    (tmp_path / "not.mp4").write_text("a letter")
    done = run("generate", str(folder), "--video", str(tmp_path / "not.mp4"), "-p", "hi")
    assert (done.exit_code, "cannot be read as a video" in done.stderr) == (1, True)
    done = run("generate", "tiny", "--video", films[0], "-p", "hi")
    assert (done.exit_code, "a llama does not read videos" in done.stderr) == (2, True)
    assert "qwen2_5_vl, qwen2_vl, qwen3_vl, qwen3_vl_moe" in done.stderr
    (tmp_path / "video_preprocessor_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"patch_size: 1[46], but the model is made for 4"):
        zoo.illustrate(model, "hi", videos=films, tokenizer=tokenizer, folder=tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    done = run("generate", str(folder), "--video", films[0], "-p", "hi")
    assert (done.exit_code, "zoo-lm[video]" in done.stderr) == (3, True)
