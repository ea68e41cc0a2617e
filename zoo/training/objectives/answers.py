"""Supervised tuning: conversations, or prompts and answers, of which the answers alone are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from warnings import warn

import numpy as np

from zoo.errors import UsageError, ZooWarning, some
from zoo.text import Tokenizer
from zoo.training.corpus import Record, pieces, shared_rows, standing_at, text_corpus
from zoo.training.objectives.causal import NextToken, check_decoder, next_token
from zoo.training.objectives.ground import Ground
from zoo.training.objectives.pictured import PicturedAnswers, have_pictures, pictured_answers

Told = tuple[list[int], list[bool]]  # token ids, and whether each is to be predicted
ROWS = '{"prompt": "…", "answer": "…"} or {"messages": […]}'
ANSWERS = ("answer", "completion", "response", "output")


def answers(ground: Ground) -> NextToken | PicturedAnswers:
    """The next token of answers, over rows with `messages`, or with `prompt` and `answer`, and `images` where they are.

    Raises UsageError for a row without them, and where no row leaves anything to predict.
    """
    records = [*ground.records()]
    if have_pictures(records):
        return pictured_answers(ground, records, answer_field(records[0]))
    check_decoder(ground)
    rows = whole([told for record in records for told in answered(record, ground.words, ground.end)], ground)
    corpus = text_corpus(ids for ids, _ in rows)
    told = np.concatenate([np.asarray(wanted, dtype=bool) for _, wanted in rows])
    corpus = replace(corpus, is_predicted=told)
    if ground.data.packing == "plain":
        raise UsageError("data.packing=plain would let answers see other prompts", hint="data.packing=masked or none")
    cut = (shared_rows if ground.data.packing == "masked" else pieces)(corpus, ground.length)
    return next_token(ground, corpus, cut)


def whole(rows: Sequence[Told], ground: Ground) -> list[Told]:
    """The rows cut to `data.length`, without those of whose answer nothing is left; how many these are is told.

    Raises UsageError where no row is left.
    """
    most = ground.length + 1  # what is read, and the last token that is predicted
    kept = [(ids[:most], wanted[:most]) for ids, wanted in rows if any(wanted[1:most])]
    longer = sum(len(ids) > most for ids, _ in rows)
    if not kept:
        what = f"{some(ground.files)}: every label is ignored: no row has a token of an answer within {most} tokens"
        raise UsageError(what, hint=f"is data.length={ground.length} too small?")
    if longer or len(kept) < len(rows):
        left_out = f"; {len(rows) - len(kept)} have no answer there and are left out" if len(kept) < len(rows) else ""
        warn(f"{longer} of {len(rows)} rows are cut to {most} tokens{left_out}", ZooWarning, stacklevel=2)
    return kept


def answered(record: Record, tokenizer: Tokenizer, end: int | None) -> list[Told]:
    """Token ids of a row, and for each whether it is an answer's. Raises UsageError for a row that has none.

    A conversation in a family's own words has a row for each of its answers.
    """
    with standing_at(record.place):
        return _conversation(record, tokenizer) if "messages" in record.values else [_answer(record, tokenizer, end)]


def _answer(record: Record, tokenizer: Tokenizer, end: int | None) -> Told:
    prompt, answer = record.text("prompt", row=ROWS), record.text(answer_field(record), row=ROWS)
    before = tokenizer.encode(prompt)
    behind = tokenizer.encode(answer, add_special_tokens=False)
    if end is not None:
        before = before[:-1] if before[-1:] == [end] else before
        behind = [*behind, end]
    return _joined(before, behind)


def _joined(before: list[int], behind: list[int]) -> Told:
    return [*before, *behind], [False] * len(before) + [True] * len(behind)


def answer_field(record: Record) -> str:
    """Under which name the answer stands."""
    found = next((name for name in ANSWERS if name in record.values), None)
    if found is None:
        has = some([*record.values], 6) or "nothing"
        raise UsageError(
            f"{record.place} has no answer",
            why=f"it has: {has}",
            hint=f"give rows such as {ROWS}",
        )
    return found


def _conversation(record: Record, tokenizer: Tokenizer) -> list[Told]:
    messages = record.values["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) and "role" in m for m in messages):
        raise UsageError(f"{record.place}: messages are not a list of objects with a role")
    tools = record.tools()
    if tools and not tokenizer.chat_templates:
        raise UsageError(f"{record.place} has tools, and {tokenizer.file} has no chat template that words them")
    if not tokenizer.has_chat:
        hint = 'give {"prompt": "…", "answer": "…"}, or a model with a chat template'
        raise UsageError(f"{record.place} holds a conversation, and {tokenizer.file} has no chat template", hint=hint)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns:
        raise UsageError(f"{record.place} has no message of the assistant", why="nothing in it is predicted")
    if tokenizer.chat_templates:
        return [_templated(record, messages, tokenizer, tools)]
    # As in generation: texts between special tokens, so that none is found in what a message says.
    answers = {i: tokenizer.encode_answer(messages[i]) or [] for i in turns}
    return [_joined(tokenizer.encode_chat(messages[:i]), answers[i]) for i in turns]


def _templated(
    record: Record, messages: Sequence[Mapping[str, object]], tokenizer: Tokenizer, tools: list[dict[str, Any]] | None
) -> Told:
    ids: list[int] = []
    wanted: list[bool] = []
    before = ""
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            for count, is_prompt, is_wanted in ((i, True, False), (i + 1, False, True)):
                whole = tokenizer.render_chat(messages[:count], add_generation_prompt=is_prompt, tools=tools)
                # As in generation: the prompt's tokens do not depend on what is answered.
                found = tokenizer.encode(_behind(record, before, whole), add_special_tokens=False)
                ids += found
                wanted += [is_wanted] * len(found)
                before = whole
    return ids, wanted


def _behind(record: Record, before: str, after: str) -> str:
    """What a conversation adds. A template may word the past otherwise: then it is not known what is predicted."""
    if not after.startswith(before):
        what = f"{record.place}: the chat template words the beginning of a conversation otherwise once it goes on"
        raise UsageError(what, hint='give {"prompt": "…", "answer": "…"} in the words that you want')
    return after.removeprefix(before)
