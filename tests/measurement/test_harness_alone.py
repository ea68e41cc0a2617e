"""What zoo answers to the harness, by arithmetic on a table, where the harness itself is a stand-in of a few lines."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.generation.models import LetterTokenizer, TableModel
from zoo.errors import MissingExtra, UnknownName, UsageError
from zoo.generation import GenerationConfig
from zoo.measurement import evaluation

BOS, EOS = 1, 2


class Heard:
    """The harness' cache, which is told every answer."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Any, Any]] = []

    def add_partial(self, kind: str, words: Any, answer: Any) -> None:
        self.answers.append((kind, words, answer))


class TemplateLM:
    """Their base class, as far as it is used."""

    def __init__(self) -> None:
        self.cache_hook = Heard()


def rolling(tokens: list[int], prefix: int, longest: int, overlap: int) -> Iterator[tuple[list[int], list[int]]]:
    """Windows that predict each token once, with at least `overlap` before."""
    assert overlap == 1
    yield [prefix, *tokens[: min(longest, len(tokens)) - 1]], tokens[:longest]
    for start in range(longest, len(tokens), longest):
        end = min(start + longest, len(tokens))
        yield tokens[max(0, end - longest - 1) : end - 1], tokens[start:end]


def disjoint(pair: tuple[list[int], list[int]]) -> tuple[list[int], list[int]]:
    """The context without what the continuation brings itself."""
    context, continuation = pair
    return context[: len(context) - (len(continuation) - 1)], continuation


def normalized(asked: dict[str, Any], most: int) -> dict[str, Any]:
    known = {"until": [], "max_gen_toks": most, "do_sample": False, "temperature": 0.0} | asked
    return known


class TaskManager:
    """Their list of tasks: thousands of their own, or those of a folder."""

    def __init__(self, include_path: str | None = None, include_defaults: bool = True) -> None:
        self.all_tasks = ["arc", "hellaswag"] * include_defaults + ["mine"] * (include_path is not None)


def evaluated(**given: Any) -> dict[str, Any]:
    numbers = {"acc,none": 0.5, "acc_stderr,none": 0.1, "f1,strict": 1, "f1_stderr,strict": "N/A", "alias": "x"}
    assert given["log_samples"] is False
    return {"results": {task: numbers | {"limit,none": given["limit"]} for task in given["tasks"]}}


class Letters(LetterTokenizer):
    """With a token that begins texts."""

    bos_token_id: int | None = BOS
    eos_token_id: int | None = None
    file = "a/b"

    def encode(self, text: str, /, add_special_tokens: bool = False) -> list[int]:
        return [BOS] * add_special_tokens + super().encode(text)

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return super().decode([i for i in ids if not (skip_special_tokens and i == BOS)])


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    given = {
        "lm_eval": {"simple_evaluate": evaluated}, "lm_eval.api": {}, "lm_eval.tasks": {"TaskManager": TaskManager},
        "lm_eval.api.model": {"TemplateLM": TemplateLM}, "lm_eval.models": {},
        "lm_eval.models.utils": {"normalize_gen_kwargs": normalized},
        "lm_eval.utils": {"get_rolling_token_windows": rolling, "make_disjoint_window": disjoint},
    }  # fmt: skip
    for name, values in given.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "zoo.measurement.harness", raising=False)
    found = importlib.import_module("zoo.measurement.harness")
    monkeypatch.delitem(sys.modules, "zoo.measurement.harness")  # the next test that wants it imports the real one
    return found


def subject(harness: ModuleType, *, longest: int | None = 1000, **more: Any) -> Any:
    return harness.ZooLM(TableModel(scale=1.0, max_seq_len=longest), Letters(), **more)


def nats(model: Any, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """By the chain rule, one token after the other."""
    total, is_greedy = 0.0, True
    for i, token in enumerate(continuation):
        scores = model(torch.tensor([context + continuation[:i]]))[0, -1].log_softmax(-1)
        total, is_greedy = total + scores[token].item(), is_greedy and scores.argmax().item() == token
    return total, is_greedy


def greedy(model: Any, context: list[int]) -> list[int]:
    return [model(torch.tensor([context]))[0, -1].argmax().item()]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_continuations_are_scored_whatever_their_neighbours(harness: ModuleType, batch_size: int) -> None:
    lm = subject(harness, batch_size=batch_size)
    contexts = [[3], [3, 4, 5, 6], [7, 8], [9, 10, 11]]
    pairs = [(c, n) for c, n in zip(contexts, [[4, 5], [6], [7, 8, 9], [10]], strict=True)]
    pairs += [(c, greedy(lm.model, c)) for c in contexts]
    found = lm._loglikelihood_tokens([(("a", str(i)), *pair) for i, pair in enumerate(pairs)])
    for pair, (total, is_greedy) in zip(pairs, found, strict=True):
        expected, expected_greedy = nats(lm.model, *pair)
        assert total == pytest.approx(expected, abs=1e-4)  # sums of float32
        assert is_greedy == expected_greedy
    assert [flag for _, flag in found[4:]] == [True] * 4
    assert [answer for _, _, answer in lm.cache_hook.answers] == found
    assert lm._loglikelihood_tokens([(None, *pairs[0])])[0][1] == found[0][1]
    assert len(lm.cache_hook.answers) == len(pairs)


def test_a_context_beyond_the_models_is_cut_on_the_left(harness: ModuleType) -> None:
    lm = subject(harness, longest=4)
    (found,) = lm.score([([3, 4, 5, 6, 7, 8], [9, 10])])
    assert found[0] == pytest.approx(nats(lm.model, [6, 7, 8], [9, 10])[0], abs=1e-4)
    (whole,) = lm.score([([3], [4, 5, 6, 7, 8, 9])])
    assert whole[0] == pytest.approx(nats(lm.model, [5], [6, 7, 8, 9])[0], abs=1e-4)


def test_a_whole_text_is_scored_in_windows(harness: ModuleType) -> None:
    lm = subject(harness, longest=5)
    short, long = SimpleNamespace(args=("abc",)), SimpleNamespace(args=("abcdefghijkl",))
    found = lm.loglikelihood_rolling([short, long])
    ids = lm.tok_encode("abcdefghijkl")
    expected = sum(nats(lm.model, *disjoint(pair))[0] for pair in rolling(ids, BOS, 5, 1))
    short_expected = nats(lm.model, [BOS], lm.tok_encode("abc"))[0]
    assert found == [pytest.approx(short_expected, abs=1e-4), pytest.approx(expected, abs=1e-4)]
    assert [(kind, words) for kind, words, _ in lm.cache_hook.answers] == [
        ("loglikelihood_rolling", ("abc",)), ("loglikelihood_rolling", ("abcdefghijkl",)),
    ]  # fmt: skip


def test_texts_begin_with_the_special_token_unless_they_spell_it(harness: ModuleType) -> None:
    lm = subject(harness)
    assert lm.tok_encode("ab") == [BOS, 3, 4]
    assert lm.tok_encode(" ab") == [BOS, 3, 4]  # the letter of the first token is a space here
    assert lm.tok_encode("ab", add_special_tokens=False) == [3, 4]
    assert lm.tok_encode(" ab", add_special_tokens=True) == [BOS, BOS, 3, 4]
    assert (lm.prefix_token_id, lm.eot_token_id, lm.tokenizer_name, lm.backend) == (BOS, EOS, "a__b", "causal")


def test_an_end_is_the_tokenizers_or_the_configs_and_an_empty_context_one_of_them(harness: ModuleType) -> None:
    lm = subject(harness)
    lm.zoo_tokenizer.eos_token_id = 9
    assert lm.eot_token_id == 9
    lm.zoo_tokenizer.bos_token_id = None
    assert lm.prefix_token_id == 9
    lm.zoo_tokenizer.eos_token_id, lm.model.config.eos_token_id = None, []
    with pytest.raises(UsageError, match="has a token that ends a text"):
        _ = lm.eot_token_id


def test_a_length_is_the_configs_or_the_harness_own(harness: ModuleType) -> None:
    assert subject(harness, longest=7).max_length == 7
    assert subject(harness, longest=None).max_length == 2048


def test_answers_are_generated_up_to_a_stop_text(harness: ModuleType) -> None:
    lm = subject(harness)
    lm.model.config.eos_token_id = []
    free = lm.generate_until([SimpleNamespace(args=("ab", {"max_gen_toks": 6}))])[0]
    assert len(free) >= 4
    stop = free[2:4]
    cut = lm.generate_until([SimpleNamespace(args=("ab", {"max_gen_toks": 6, "until": [stop, ""]}))])[0]
    assert cut == free[: free.index(stop)]
    assert [kind for kind, _, _ in lm.cache_hook.answers] == ["generate_until"] * 2


def test_an_answer_longer_than_the_context_is_refused_and_a_prompt_cut(harness: ModuleType) -> None:
    lm = subject(harness, longest=8)
    lm.model.config.eos_token_id = []
    with pytest.raises(UsageError, match="asks for 8 tokens, but the model holds 8"):
        lm.generate_until([SimpleNamespace(args=("ab", {"max_gen_toks": 8}))])
    long, short = (
        lm.generate_until([SimpleNamespace(args=(text, {"max_gen_toks": 7}))])[0] for text in ("abcdef", "f")
    )
    lm.zoo_tokenizer.bos_token_id, lm.zoo_tokenizer.eos_token_id = None, EOS
    assert len(long) == len(short) == 7


def test_what_a_task_asks_for_goes_before_what_the_checkpoint_sets(harness: ModuleType) -> None:
    base = GenerationConfig(repetition_penalty=1.5, top_k=3, max_new_tokens=9)
    lm = subject(harness, settings=base)
    assert lm.settings({}) == base.updated(max_new_tokens=256)
    asked = lm.settings({"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1, "until": ["x"]})
    assert (asked.temperature, asked.top_k, asked.top_p, asked.min_p, asked.stop) == (0.5, 7, 0.9, 0.1, ["x"])
    assert asked.repetition_penalty == 1.5
    assert lm.settings({"do_sample": True}).temperature == 1.0
    assert lm.settings({"temperature": 0.7}).temperature == 0.0
    assert lm.settings({"repetition_penalty": 1.1}).repetition_penalty == 1.1
    assert lm.settings({"num_beams": 2, "length_penalty": 0.5}).num_beams == 2
    with pytest.raises(UsageError, match="asks for swoop, swoosh, which"):
        lm.settings({"swoosh": 1, "swoop": 2})


def test_rows_are_padded_on_the_right_and_parted(harness: ModuleType) -> None:
    tokens, mask = harness.padded([[3, 4, 5], [6]], torch.device("cpu"))
    assert tokens.tolist() == [[3, 4, 5], [6, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert harness.padded([[3], [4]], torch.device("cpu"))[1] is None
    assert list(harness.batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(harness.batched(range(4), 2)) == [[0, 1], [2, 3]]


def test_a_task_is_the_harness_or_of_the_folder_that_is_named(
    harness: ModuleType, monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.setattr(evaluation, "find_spec", lambda name: name)
    assert evaluation._manager(["arc"], None).all_tasks == ["arc", "hellaswag"]
    assert evaluation._manager(["mine"], tmp_path).all_tasks == ["mine"]
    assert evaluation._manager(["mine", "arc"], tmp_path).all_tasks == ["arc", "hellaswag", "mine"]
    with pytest.raises(UnknownName, match="no task 'arcs'"):
        evaluation._manager(["arc", "arcs"], None)
    with pytest.raises(UsageError, match="not a folder of tasks"):
        evaluation._manager(["mine"], tmp_path / "nowhere")
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="eval"):
        evaluation._manager(["arc"], None)


def test_scores_are_what_the_harness_tells_with_their_errors(harness: ModuleType, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "zoo.measurement.harness", harness)
    subject = SimpleNamespace(tokenizer=Letters(), settings=GenerationConfig())
    found = evaluation.run_tasks(
        TableModel(),
        subject,
        ["a", "b"],
        None,
        batch_size=2,
        options={"limit": 3},  # type: ignore[arg-type]
    )
    expected = [("acc", "none", 0.5, 0.1), ("f1", "strict", 1.0, None), ("limit", "none", 3.0, None)]
    assert [(s.task, s.metric, s.filter, s.value, s.stderr) for s in found] == [
        (task, *row) for task in ("a", "b") for row in expected
    ]
