"""Pictures in prompts: each family's places for them, generation equal to decoding by hand, and what is refused.

Shapes: T tokens.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tokenizers import AddedToken

import zoo
from tests.some import some
from tests.text.tiny import byte_level, write
from zoo.cli import main
from zoo.errors import CheckpointError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.text import Tokenizer

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
EVERY = ("gemma3_vl", "gemma4_vl", "llama4_vl", "qwen_vl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
FAMILIES = some(EVERY, "qwen_vl", "qwen2_vl")
START, SOFT, END = "<start>", "<soft>", "<end>"  # tokens around and of a picture, at ids 348 to 350
WHOLE, BESIDE, BELOW = "<|image|>", "<|tile_x_separator|>", "<|tile_y_separator|>"  # Llama 4's, at ids 351 to 353
QWEN2 = {  # small pictures: from 4 x 4 to 8 x 8 patches of 4 pixels
    "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "merge_size": 2, "min_pixels": 256,
    "max_pixels": 1024,
}  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'image' %}MARK{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<s>model\n{% endif %}"
)
GEMMA4 = {
    "image_processor_type": "Gemma4ImageProcessor",
    "patch_size": 2,
    "pooling_kernel_size": 2,
    "max_soft_tokens": 70,
}
SEEN_BY_SQUARES = dict.fromkeys(("gemma4_vl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"), SOFT)
MARKS = {"gemma3_vl": START, "llama4_vl": WHOLE, "qwen_vl": START + SOFT, **SEEN_BY_SQUARES}


def config_of(family: str) -> Any:
    """The tiny config, whose ids for pictures are now in a vocabulary of 351, or of 354."""
    size = 354 if family == "llama4_vl" else 351
    c = replace(installed()[family].config_class.tiny(), vocab_size=size, max_seq_len=512)
    if family in ("gemma3_vl", "llama4_vl"):
        return replace(c, image_start_id=348, image_token_id=349, image_end_id=350)
    if family == "gemma4_vl":
        ids = {"image_start_id": 348, "image_token_id": 349, "image_end_id": 350}
        return replace(c, vision=replace(c.vision, num_positions=24), **ids)
    if family == "qwen_vl":
        return replace(c, vision=replace(c.vision, image_start_id=348), trained_seq_len=512)
    ids = {"vision_start_token_id": 348, "image_token_id": 349, "vision_end_token_id": 350, "video_token_id": 351}
    return replace(c, **ids)


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer, and two pictures beside it."""
    family = request.param
    folder = tmp_path_factory.mktemp(family) / "model"
    zoo.save(peaked(zoo.build(config_of(family), device="cpu")), folder)
    tokenizer = byte_level()
    special = (START, SOFT, END, *((WHOLE, BESIDE, BELOW) if family == "llama4_vl" else ()))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    assert tokenizer.token_to_id(END) == 350
    write(folder, tokenizer)
    if family.startswith(("qwen2", "qwen3")):
        (folder / "preprocessor_config.json").write_text(json.dumps(QWEN2))
    if family == "gemma4_vl":
        (folder / "preprocessor_config.json").write_text(json.dumps(GEMMA4))
    draw = np.random.default_rng(0)
    for name, shape in (("cat", (22, 30, 3)), ("dog", (32, 18, 3))):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(folder.parent / f"{name}.png")
    return folder


def pictures(folder: Path, *names: str) -> list[str]:
    return [str(folder.parent / f"{name}.png") for name in names]


def with_template(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "chat"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    family = zoo.inspect(folder).family.name
    (copy / "chat_template.jinja").write_text(TEMPLATE.replace("MARK", MARKS.get(family, SOFT)))
    return copy


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=stdin, catch_exceptions=False)


@torch.inference_mode()
def by_hand(model: Any, tokens: list[int], inputs: dict[str, Any], steps: int) -> list[int]:
    """Greedy decoding with a full pass, pictures and all, for every token."""
    text = list(tokens)
    for _ in range(steps):
        text.append(int(model(torch.tensor([text]), **inputs)[0, -1].argmax()))
    return text[len(tokens) :]


def test_generation_with_pictures_equals_full_passes(folder: Path) -> None:
    model, tokenizer = zoo.load(folder, dtype="float64"), Tokenizer.from_folder(folder)
    made = zoo.illustrate(model, " the town", pictures(folder, "cat", "dog"), tokenizer=tokenizer)
    out = zoo.generate(model, made.tokens, inputs=made.inputs, max_new_tokens=6, eos_token_id=[])
    assert out.new_tokens[0] == by_hand(model, made.tokens, made.inputs, 6)
    shared = zoo.generate(
        model, made.tokens, inputs=made.inputs, max_new_tokens=6, eos_token_id=[], num_beams=2, num_return_sequences=2,
        suppress_tokens=[348, 349, 350],  # a text with a picture's token and no picture is refused
    )  # fmt: skip
    with torch.inference_mode():
        for new, score in zip(shared.new_tokens, shared.scores or [], strict=True):
            logits = model(torch.tensor([made.tokens + new]), **made.inputs)[0].log_softmax(-1)
            said = sum(float(logits[len(made.tokens) - 1 + i, token]) for i, token in enumerate(new))
            assert score == pytest.approx(said / 6, abs=1e-5)  # kept in float32
    drafted = zoo.generate(
        model, made.tokens, inputs=made.inputs, max_new_tokens=6, eos_token_id=[], draft="ngram"
    )  # fmt: skip
    assert drafted.new_tokens == out.new_tokens
    other = zoo.illustrate(model, " the town", pictures(folder, "dog", "cat"), tokenizer=tokenizer)
    with torch.inference_mode():
        found, swapped = (model(torch.tensor([m.tokens]), **m.inputs)[0, -1] for m in (made, other))
    assert (found - swapped).abs().max() > 1e-3  # the pictures are seen, each in its place


def test_the_command_says_what_the_function_does(folder: Path) -> None:
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    images = pictures(folder, "cat", "dog")
    made = zoo.illustrate(model, "it's", images, tokenizer=tokenizer)
    expected = zoo.generate(model, made.tokens, inputs=made.inputs, max_new_tokens=5, eos_token_id=[]).new_tokens[0]
    words = [word for image in images for word in ("--image", image)]
    done = run("generate", str(folder), *words, "-p", "it's", "--tokens", "5", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)[0]["tokens"] == expected
    assert run("generate", str(folder), *words, "-p", "it's", "--tokens", "5").exit_code == 0


def test_places_are_as_many_as_the_processors(folder: Path) -> None:
    """From the released processors: Gemma 3 between line breaks, Llama 4 and Qwen2-VL by size, Qwen-VL numbered."""
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    made = zoo.illustrate(model, "hi", pictures(folder, "cat", "dog"), tokenizer=tokenizer)
    row, tile = f"{SOFT * 4}{BESIDE}{SOFT * 4}", f"{SOFT * 4}"
    expected = {
        # 22 x 30 pixels are 2 x 3 tiles of 12, and 32 x 18 are 3 x 2, of 2 x 2 states each
        "llama4_vl": f"{START}{f'{row}{BESIDE}{tile}{BELOW}' * 2}{WHOLE}{tile}{END}"
        f"{START}{f'{row}{BELOW}' * 3}{WHOLE}{tile}{END}",
        "gemma3_vl": f"\n\n{START}{SOFT * 4}{END}\n\n" * 2,
        # 280 patches of 2 x 2 pixels: 22 x 30 are 7 x 9 squares of 4, and 32 x 18 are 11 x 6
        "gemma4_vl": f"{START}{SOFT * 63}{END}{START}{SOFT * 66}{END}",
        "qwen_vl": "".join(f"Picture {i}: {START}{END * 9}{SOFT}\n" for i in (1, 2)),
        # 22 x 30 pixels are 24 x 32, and 32 x 18 are 32 x 16: 3 x 4 and 4 x 2 squares of 8
        "qwen2_vl": f"{START}{SOFT * 12}{END}{START}{SOFT * 8}{END}",
    }
    text = expected[model.config.family.replace("2_5", "2").replace("qwen3", "qwen2")]
    assert made.tokens == tokenizer.encode(text + "hi")


def test_a_prompt_may_say_where_pictures_belong(folder: Path) -> None:
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    mark = MARKS.get(model.config.family, SOFT)
    made = zoo.illustrate(model, f"a{mark}b{mark}c", pictures(folder, "cat", "dog"), tokenizer=tokenizer)
    assert made.tokens[0] == tokenizer.encode("a")[0]
    with pytest.raises(UsageError, match="the prompt has 1 places for pictures, 2 are given"):
        zoo.illustrate(model, f"a{mark}b", pictures(folder, "cat", "dog"), tokenizer=tokenizer)


def test_a_chat_template_words_the_prompt(folder: Path, tmp_path: Path) -> None:
    chat = with_template(folder, tmp_path)
    model, tokenizer = zoo.load(chat), Tokenizer.from_folder(chat)
    mark = MARKS.get(model.config.family, SOFT)
    image = pictures(folder, "cat")
    made = zoo.illustrate(model, "hi", image, tokenizer=tokenizer)
    worded = zoo.illustrate(model, f"<s>user\n{mark}hi<|end|><s>model\n", image, tokenizer=tokenizer)
    assert made.tokens == worded.tokens
    done = run("chat", str(chat), "--image", image[0], "--tokens", "3", stdin="hi\nmore\n")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(" tok, ") == 2
    (chat / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}{% endfor %}")
    refused = run("generate", str(chat), "--image", image[0], "-p", "hi")
    assert (refused.exit_code, "0 places for pictures, 1 are given" in refused.stderr) == (2, True)
    assert run("chat", str(folder), "--image", image[0]).exit_code == 2


def test_a_cache_is_not_rewound_into_a_picture(folder: Path) -> None:
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    made = zoo.illustrate(model, "hi", pictures(folder, "cat"), tokenizer=tokenizer)
    if model.config.family in ("llama4_vl", "qwen_vl"):
        pytest.skip("its pictures are read from left to right like text")
    alone = {"gemma3_vl": {"local_per_global": 0}, "gemma4_vl": {"sliding_window": 512}}
    if (changes := alone.get(model.config.family)) is not None:  # a ring forgets on its own
        model = peaked(zoo.build(replace(model.config, **changes), device="cpu"))
    tokens, cache = torch.tensor([made.tokens]), model.new_cache(1, 96)
    with torch.inference_mode():
        model(tokens, cache=cache, **made.inputs)
        first = model(torch.tensor([[5, 6]]), cache=cache)
    with pytest.raises(UsageError, match=r"cannot be rewound to 3: some of its first"):
        cache.rewind(3)
    cache.rewind(tokens.shape[1])
    with torch.inference_mode():
        assert torch.equal(model(torch.tensor([[5, 6]]), cache=cache), first)
    cache.rewind(0)
    assert cache.settled == 0


def test_pictures_that_cannot_be_read_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "not.png").write_text("a letter")
    for name, message in (("not.png", "cannot be read as a picture"), ("nowhere.png", "nowhere.png")):
        done = run("generate", str(folder), "--image", str(tmp_path / name), "-p", "hi")
        assert done.exit_code == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    image = pictures(folder, "cat")[0]
    assert run("generate", str(folder), "--image", image, "-p", "hi", "-p", "ho").exit_code == 2
    assert run("generate", str(folder), "--image", image, "-p", "hi", "--tokens", "3", "--beams", "2").exit_code == 0


def test_a_model_of_text_alone_refuses_pictures(folder: Path) -> None:
    done = run("generate", "tiny", "--image", pictures(folder, "cat")[0], "-p", "hi")
    assert done.exit_code == 2
    assert "a llama does not read pictures" in done.stderr
    names = "gemma3_vl, gemma4_vl, llama4_vl, qwen2_5_vl, qwen2_vl, qwen3_vl, qwen3_vl_moe, qwen_vl"
    assert names in done.stderr


def test_absent_pillow_is_named_with_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    done = run("generate", str(folder), "--image", pictures(folder, "cat")[0], "-p", "hi")
    assert done.exit_code == 3
    assert "zoo-lm[vision]" in done.stderr


def test_settings_that_do_not_fit_the_model_are_refused(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    kinds = {"gemma3_vl": "Gemma3", "gemma4_vl": "Gemma4", "llama4_vl": "Llama4"}
    kind = kinds.get(model.config.family, "Qwen2VL")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": f"{kind}ImageProcessor"}))
    with pytest.raises((CheckpointError, UsageError), match=r"but the model is made for|settings for pictures"):
        zoo.illustrate(model, "hi", pictures(folder, "cat"), tokenizer=tokenizer, folder=tmp_path)


def test_a_tokenizer_without_a_token_of_tiles_is_refused(tmp_path: Path) -> None:
    """Whose letters would otherwise be read as text, and quietly."""
    model = zoo.build(config_of("llama4_vl"), device="cpu")
    for left in (WHOLE, BESIDE, BELOW):
        tokenizer = byte_level()
        special = [token for token in (START, SOFT, END, WHOLE, BESIDE, BELOW) if token != left]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        folder = tmp_path / left.strip("<|>")
        folder.mkdir()
        write(folder, tokenizer)
        with pytest.raises(UsageError, match=f"the tokenizer has no token '{re.escape(left)}'"):
            zoo.illustrate(model, "hi", [Image.new("RGB", (30, 9))], tokenizer=Tokenizer.from_folder(folder))


def test_bytes_are_no_pixels(folder: Path) -> None:
    """They were read as numbers hundreds of times as large as those of a picture."""
    model, tokenizer = zoo.load(folder), Tokenizer.from_folder(folder)
    made = zoo.illustrate(model, "hi", pictures(folder, "cat"), tokenizer=tokenizer)
    pixels = (made.inputs["pixels"] * 255).byte()
    with pytest.raises(UsageError, match="pixels are uint8, and not the numbers that are made of a picture's bytes"):
        model(torch.tensor([made.tokens]), **made.inputs | {"pixels": pixels})
