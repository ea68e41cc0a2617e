"""How commands open, talk with and evaluate a model: each option arrives, each refusal is met."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from zoo import presets
from zoo.anatomy.size import Size
from zoo.cli import chat, datasheet, main, speaker, spoken
from zoo.comparison import compare, page, rows
from zoo.errors import UsageError, ZooWarning
from zoo.generation import GenerationConfig
from zoo.measurement import evaluation


def test_a_speaker_is_opened_with_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    checked: list[str] = []
    tokenizer = SimpleNamespace(notes=[])
    ledger = SimpleNamespace(
        check=lambda: checked.append("checked"), family=SimpleNamespace(name="f"), tokenizer=tokenizer,
        settings=lambda **more: asked.append(more) or (GenerationConfig(top_k=7), ["note"]),
        config=SimpleNamespace(family_in_words="f"),
    )  # fmt: skip
    model = SimpleNamespace(new_cache=1)
    monkeypatch.setattr(
        "zoo.checkpoint.inspection.inspect", lambda *given, **more: asked.append((given, more)) or ledger
    )
    monkeypatch.setattr("zoo.checkpoint.loading.realise", lambda *given, **more: asked.append((given, more)) or model)
    words = ("s", ("family=llama", "model.norm_eps=1"), ("x",), True, "meta", "float16")
    found = speaker.open_speaker(*words, ignore_settings=True)
    assert asked == [
        (("s", "model.norm_eps=1"), {"family": "llama", "allow": ("x",), "allow_pickle": True}),
        {"ignore": True},
        (
            (ledger,),
            {"dtype": "float16", "device": "meta", "quantize": None, "keep_packed": False, "mesh": None, "fit": None},
        ),
    ]
    assert checked == ["checked"]
    assert (found.model, found.tokenizer, found.config.top_k, found.notes, found.images) == (
        model, tokenizer, 7, ["note"], []
    )  # fmt: skip
    del model.new_cache
    with pytest.raises(UsageError, match="s is a f, which does not generate"):
        speaker.open_speaker(*words)


class Pieces(list):  # type: ignore[type-arg]
    """What a stream gives, and its tokens."""

    new_tokens = (1, 2, 3)


def talking(monkeypatch: pytest.MonkeyPatch, *, has_template: bool = True, images: tuple[str, ...] = ()) -> list[Any]:
    """A model that answers each prompt with two pieces."""
    asked: list[Any] = []
    tokenizer = SimpleNamespace(
        has_chat=has_template, chat_format=None, encode=lambda line: ["plain", line],
        encode_chat=lambda messages: [dict(m) for m in messages],
    )  # fmt: skip
    files = SimpleNamespace(folder=Path("there"), config_name="config.json")
    opened = SimpleNamespace(
        model="model", tokenizer=tokenizer, images=list(images), config=GenerationConfig(), notes=["odd"],
        ledger=SimpleNamespace(num_parameters=1500, checkpoint=files), ways={}, is_over_ranks=False, videos=[],
        sees=bool(images), is_compiled=False, words={},
    )  # fmt: skip

    def stream(model: str, tokens: Any, **more: Any) -> Pieces:
        asked.append((model, tokens, more))
        return Pieces(["a", "b"])

    def utterance(engine: Any, tokens: Any, config: Any, *, inputs: Any) -> Pieces:
        return stream(engine.model, tokens, config=config, inputs=inputs)

    monkeypatch.setattr("zoo.generation.stream", stream)
    monkeypatch.setattr("zoo.generation.batching.Utterance", utterance)
    monkeypatch.setattr(chat, "open_speaker", lambda *given, **more: asked.append(given) or opened)
    return asked


def test_a_conversation_repeats_all_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = talking(monkeypatch)
    lines = "hello\n\n/help\nmore\n/reset\nagain\n"
    done = CliRunner().invoke(main, ["chat", "s", "--system", "be", "--dtype", "float16", "--seed", "3"], input=lines)
    assert done.exit_code == 0, done.output
    assert done.stdout == "ab\nab\nab\n"
    assert done.stderr.count("[3 tok, ") == 3
    assert done.stderr.count(chat.HELP) == 2
    assert "note: config.json: odd" in done.stderr
    assert "s · 1.50k parameters · chat" in done.stderr
    opened, *turns = asked
    assert opened == ("s", (), (), False, "cpu", "float16", (), ())
    said = [[(m["role"], m["content"]) for m in tokens] for _, tokens, _ in turns]
    system = ("system", "be")
    assert said == [
        [system, ("user", "hello")], [system, ("user", "hello"), ("assistant", "ab"), ("user", "more")],
        [system, ("user", "again")],
    ]  # fmt: skip
    assert (turns[0][2]["config"].seed, turns[0][2]["inputs"]) == (3, {})


def test_without_a_template_the_text_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = talking(monkeypatch, has_template=False)
    done = CliRunner().invoke(main, ["chat"], input="hello\n")
    assert "no chat template" in done.stderr
    assert asked[1][1] == ["plain", "hello"]
    assert asked[0][0] == "tiny"
    for words in (["--system", "x"], ["--image", "x.png"], ["--video", "x.mp4"]):
        done = CliRunner().invoke(main, ["chat", *words], input="hello\n")
        assert done.exit_code == 2
        assert f"{words[0]} needs a chat template" in done.stderr


def test_pictures_stand_before_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = talking(monkeypatch, images=("p", "q"))
    made = SimpleNamespace(tokens=[9], inputs={"pixels": 1})
    shown: list[Any] = []

    def illustrate(model: Any, messages: Any, images: Any, *, videos: Any, tokenizer: Any, folder: Any) -> Any:
        shown.append(([dict(m) for m in messages], images, folder))
        return made

    monkeypatch.setattr("zoo.vision.illustration.illustrate", illustrate)
    CliRunner().invoke(main, ["chat"], input="what\nmore\n")
    pictures = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "what"}]
    assert [m["content"] for m in shown[1][0]] == [pictures, "ab", "more"]
    assert shown[0][1:] == (["p", "q"], Path("there"))
    assert (asked[1][1], asked[1][2]["inputs"]) == ([9], {"pixels": 1})


@pytest.mark.parametrize(
    ("also", "config", "is_served"),
    [
        ({}, {}, True), ({}, {"num_beams": 3}, False), ({}, {"guidance_scale": 1.5}, False),
        ({}, {"cache": "int8"}, False), ({"ways": {"draft": "ngram"}}, {}, False), ({"is_over_ranks": True}, {}, False),
    ],
    ids=str,
)  # fmt: skip
def test_texts_are_made_by_the_engine_where_that_can_be(monkeypatch, also, config, is_served) -> None:
    taken: list[str] = []
    rooms = {"zoo.generation": ["generate", "stream"], "zoo.generation.batching": ["generate_all", "Utterance"]}
    for name, place in [(name, f"{room}.{name}") for room, names in rooms.items() for name in names]:
        monkeypatch.setattr(place, lambda *given, name=name, **more: taken.append(name))
    one: Any = SimpleNamespace(**{"model": None, "tokenizer": None, "ways": {}, "is_over_ranks": False, **also})
    spoken.texts_of(one, ["a", "b"], GenerationConfig(**config), {})
    spoken.pieces_of(one, [1], GenerationConfig(**config), {})
    assert taken == rooms["zoo.generation.batching" if is_served else "zoo.generation"]


def test_an_evaluation_reads_each_text_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    subject: Any = SimpleNamespace(
        tokenizer="t", max_seq_len=100, ledger=SimpleNamespace(family=SimpleNamespace(name="f")),
        load=lambda **more: asked.append(more) or "model",
    )  # fmt: skip
    monkeypatch.setattr(evaluation, "open_source", lambda *given, **more: asked.append((given, more)) or subject)
    monkeypatch.setattr(evaluation, "read_text", lambda name: f"text of {name}")
    monkeypatch.setattr(evaluation, "encode", lambda tokenizer, text: (tokenizer, text))
    monkeypatch.setattr(
        evaluation,
        "read",
        lambda model, text, **more: asked.append((model, text, more)) or SimpleNamespace(to_dict=dict),
    )
    monkeypatch.setattr(evaluation, "main_dtype", lambda model: "float16")
    heard: list[str] = []
    found = evaluation.evaluate(
        "s", "a=1", text=["x", "y"], stride=3, dtype="float16", family="g",
        allow=["z"], allow_pickle=True, tell=heard.append,
    )  # fmt: skip
    assert asked[0][0] == ("s", "a=1")
    assert asked[0][1].items() >= {"family": "g", "allow": ["z"], "allow_pickle": True}.items()
    assert asked[1:] == [
        {"dtype": "float16", "device": "cpu", "quantize": None, "keep_packed": False, "mesh": None},
        *(("model", ("t", f"text of {name}"), {"window": 100, "stride": 3}) for name in "xy"),
    ]  # fmt: skip
    assert heard == ["loading s", "reading x", "reading y"]
    assert (found.source, found.family, found.dtype, list(found.texts), found.scores) == (
        "s",
        "f",
        "float16",
        ["x", "y"],
        [],
    )
    assert found.to_dict()["texts"] == {"x": {}, "y": {}}
    for longest, window, size in ((5000, None, 1024), (None, None, 1024), (None, 2000, 2000), (100, 100, 100)):
        subject.max_seq_len = longest
        evaluation.evaluate("s", text="x", window=window)
        assert asked[-1][2] == {"window": size, "stride": None}
    with pytest.warns(ZooWarning, match="windows of 101 tokens"):
        evaluation.evaluate("s", window=101)
    assert asked[-1][1] == ("t", "text of sample")
    monkeypatch.setattr(evaluation, "_manager", lambda tasks, folder: (tasks, folder))
    monkeypatch.setattr(evaluation, "run_tasks", lambda *given, **more: asked.append((given, more)) or ["score"])
    found = evaluation.evaluate("s", tasks=["q"], include_path="p", limit=3, num_fewshot=2, batch_size=5)
    given, more = asked[-1]
    assert given == ("model", subject, ["q"], (["q"], "p"))
    assert more == {"batch_size": 5, "options": {"limit": 3, "num_fewshot": 2}}
    assert (found.scores, found.texts) == (["score"], {})
    assert list(evaluation.evaluate("s", tasks=["q"], text="x").texts) == ["x"]
    assert evaluation.evaluate("s").scores == []


def test_scores_are_the_harness_numbers_with_their_errors() -> None:
    told = {
        "acc,none": 0.5,
        "acc_stderr,none": 0.1,
        "f1,strict": 1,
        "f1_stderr,strict": "N/A",
        "alias": "x",
        "n,x": "word",
    }
    assert [(s.metric, s.filter, s.value, s.stderr) for s in evaluation.scores_of("t", told)] == [
        ("acc", "none", 0.5, 0.1), ("f1", "strict", 1.0, None)
    ]  # fmt: skip


# data sheets and comparisons


def test_a_sheet_tells_shape_memory_and_training_by_arithmetic() -> None:
    config = presets.config("gpt2")
    told = dict(datasheet.rows(config))
    size = Size.of(config)
    assert told["Shape"].startswith(f"{config.num_layers} layers × ")  # type: ignore[attr-defined]
    assert ("active" in told["Parameters"]) == (size.active_parameters < size.parameters)
    assert datasheet._shape(SimpleNamespace(num_layers=2, hidden_size=10_000, num_heads=3, vocab_size=9_999)) == (
        "2 layers × 10,000 · heads 3 · vocab 9999"
    )
    assert datasheet._shape(SimpleNamespace(max_seq_len=5)) == "context 5"
    both = SimpleNamespace(text=SimpleNamespace(num_layers=2, hidden_size=3))
    assert datasheet._shapes(both) == [("Shape", "text: 2 layers × 3")]  # type: ignore[arg-type]
    assert datasheet._shapes(SimpleNamespace()) == []  # type: ignore[arg-type]
    small = {"big": 1000, "edge": 1, "tiny": 0}
    worded = datasheet._parameters(SimpleNamespace(active_parameters=500, parameters=1000, by_role=small))  # type: ignore[arg-type]
    assert worded.split() == ["1.00k", "(500", "active)", "big", "1.00k", "edge", "1"]


def spec(*, cached: bool = True, is_causal: bool = True, layers: int = 2) -> Any:
    return SimpleNamespace(cached=cached, is_causal=is_causal, layers=range(layers))


@pytest.mark.parametrize(
    ("attention", "states", "kind"),
    [
        ([spec(), spec(cached=False)], [], "encoder-decoder"),
        ([spec(), spec()], [], "causal, decoder-only"),
        ([spec(), spec(is_causal=False)], [], "prefix, decoder-only"),
        ([spec(), spec(is_causal=False, layers=0)], [], "causal, decoder-only"),
        ([spec(cached=False), spec(cached=False)], [], "encoder, causal"),
        ([spec(cached=False), spec(cached=False, is_causal=False)], [], "encoder, bidirectional"),
        ([spec(cached=False, layers=0)], [1], "causal, decoder-only"),
        ([], [], "encoder, bidirectional"),
        ([spec(is_causal=False)], [1], "causal, decoder-only"),
    ],
)
def test_what_sees_what_is_a_kind(attention: list[Any], states: list[Any], kind: str) -> None:
    assert rows.kind(SimpleNamespace(attention=attention, states=states)) == kind  # type: ignore[arg-type]


def test_a_page_repeats_the_options_and_says_what_was_read() -> None:
    plain, other = compare("gpt2", "llama3"), compare("gpt2", "llama3", length=1000, lora_rank=3, bytes_dtype="float32")
    title = "".join(map(str, page._title(plain)))
    assert "zoo compare gpt2 llama3 --html" in title
    assert "no weights needed" in title
    assert "zoo compare gpt2 llama3 --length 1000 --lora-rank 3 --bytes-dtype float32 --html" in "".join(
        map(str, page._title(other))
    )
    costs = {(row.section, row.label): row.values for row in other.rows}
    size = Size.of(presets.config("gpt2"))
    assert costs["memory", "weights"][0] == 4 * size.parameters
    (prefill,) = (v for (_, label), v in costs.items() if label.startswith("prefill"))
    (decode,) = (v for (_, label), v in costs.items() if label.startswith("decode"))
    assert (prefill[0], decode[0]) == (size.prefill_flops(1000), size.flops_per_token(999))
    assert page._kept("x" * 24) == {"class_": "nb"}
    assert page._kept("x" * 25) == {}
    experts = SimpleNamespace(
        weights=[SimpleNamespace(role="experts", layers=[1]), SimpleNamespace(role="mlp", layers=[0])]
    )
    model: Any = SimpleNamespace(config=SimpleNamespace(num_layers=2), size=SimpleNamespace(anatomy=experts))
    assert page._layers(model) == "2 layers, 1 with experts"
    experts.weights[0].layers = [0, 1]
    assert page._layers(model) == "2 layers"
    model.size = None
    assert page._layers(model) == "its layers"
    assert page._traits(model) == {}
