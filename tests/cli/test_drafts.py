"""A draft in the command line: which it is, and what it was good for."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from zoo.checkpoint import loading  # before a test puts something else in the place of what it imports
from zoo.cli import main, speaker


class Tokens:
    """A tokenizer that reads any text as one list."""

    def __init__(self, *ids: int) -> None:
        self.encode = lambda text: list(ids)


def test_a_draft_is_named_or_loaded_and_another_tokenizer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SimpleNamespace(
        parameters=lambda: iter([SimpleNamespace(device="here")]), ledger=SimpleNamespace(tokenizer=Tokens(1, 2))
    )
    small = SimpleNamespace(ledger=SimpleNamespace(tokenizer=Tokens(1, 2)))
    asked: list[Any] = []
    monkeypatch.setattr(loading, "load", lambda *given, **more: asked.append((given, more)) or small)
    assert speaker.open_draft(None, model) is None
    assert speaker.open_draft("ngram", model) == "ngram"
    assert speaker.open_draft("./small", model, dtype="float16") is small
    assert asked == [(("./small",), {"dtype": "float16", "device": "here"})]
    assert not capsys.readouterr().err
    small.ledger.tokenizer = Tokens(1, 3)
    speaker.open_draft("./small", model)
    assert "note: ./small has another tokenizer: few of its guesses will be right" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_draft_was_good_for_is_told_after_the_text() -> None:
    words = ["generate", "tiny", "-p", "She had been the friend", "--tokens", "30", "--draft"]
    plain = CliRunner().invoke(main, words[:-1]).stdout
    done = CliRunner().invoke(main, [*words, "ngram", "generation.num_draft_tokens=4"])
    assert done.stdout == plain
    assert re.search(r"\[draft: \d+ of \d+ guesses right \(\d+%\), \d+ passes for 30 \(\d\.\dx\)\]", done.stderr), (
        done.stderr
    )
    own = CliRunner().invoke(main, [*words, "tiny", "-p", "It was", "--json"])
    assert "(100%)" in own.stderr
