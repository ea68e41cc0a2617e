"""What is of a wrong type is refused in words, by every function that takes a model's name, a text or a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import UsageError

WRONG = [None, 3, 1.5, [], {}, b"tiny", np.zeros((1, 2)), torch.zeros(1, 2), object()]
CALLS: dict[str, Callable[[Any], object]] = {
    "load": lambda x: zoo.load(x),
    "inspect": lambda x: zoo.inspect(x),
    "build": lambda x: zoo.build(x),
    "override": lambda x: zoo.build("tiny", x),
    "compose": lambda x: zoo.compose(x),
    "compare": lambda x: zoo.compare(x, "llama3-8b"),
    "convert": lambda x: zoo.convert(x, "never"),
    "diff": lambda x: zoo.diff(x, "tiny"),
    "dtype": lambda x: zoo.build("tiny", dtype=x if x is not None else 1),
    "device": lambda x: zoo.build("tiny", device=None if isinstance(x, int) else x),
}


@pytest.mark.parametrize("call", CALLS)
def test_names_and_types_of_numbers(call: str) -> None:
    for value in WRONG:
        with pytest.raises(UsageError):
            CALLS[call](value)


def test_prompts() -> None:
    model: Any = zoo.load("tiny")
    for wrong in (None, 3, b"x", {1, 2}, np.zeros(2, int), (text for text in ["a", "b"])):  # a generator is read once
        for tokenizer in (None, model.tokenizer):
            with pytest.raises(UsageError, match=r"the prompt is of type \w+, not a text, token ids"):
                zoo.generate(model, wrong, tokenizer=tokenizer, max_new_tokens=1)
    with pytest.raises(UsageError, match=r"prompt 0 is dict.*\ntokenizer\.encode_chat\(messages\)"):
        zoo.generate(model, [{"role": "user", "content": "a"}], max_new_tokens=1)


@pytest.mark.parametrize(("word", "told"), [("do_sample", "temperature=0"), ("streamer", "zoo.stream")])
def test_words_of_other_libraries(word: str, told: str) -> None:
    with pytest.raises(UsageError, match=rf"no setting {word!r} of generation\n.*{told}"):
        zoo.generate(zoo.load("tiny"), "a", **{word: True})
