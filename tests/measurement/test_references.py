"""What a model says against what it should: the file, the scores by their definitions, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zoo.measurement.references.scores
from zoo.cli import main
from zoo.errors import MissingExtra, UnknownName, UsageError, ZooWarning
from zoo.measurement import evaluate
from zoo.measurement.references import Example, compare, read_examples


def written(folder: Path, *lines: str) -> Path:
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_examples_are_read_line_by_line(tmp_path: Path) -> None:
    file = written(
        tmp_path, '\ufeff{"prompt": "a", "reference": "b"}', "", '{"prompt": "c", "references": ["d", "e"], "id": 3}'
    )
    assert read_examples(file) == [Example("a", ["b"]), Example("c", ["d", "e"])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"', "line 2 is not JSON: Expecting"),
        ("[" * 100_000, "line 2 is not JSON: it is nested too deep"),
        ('["a", "b"]', "line 2 is not an object"),
        ('{"prompt": "a"}', "line 2 has neither reference nor references"),
        ('{"prompt": "a", "reference": "b", "references": ["c"]}', "line 2 has both reference and references"),
        ('{"reference": "b"}', "line 2: prompt is missing, not a text"),
        ('{"prompt": 3, "reference": "b"}', "line 2: prompt is 3, not a text"),
        ('{"prompt": "", "reference": "b"}', "line 2: prompt is empty, not a text"),
        ('{"prompt": "a", "reference": ["b"]}', "line 2: reference is .*'b'.*, not a text"),
        ('{"prompt": "a", "reference": null}', "line 2: reference is missing, not a text"),
        ('{"prompt": "a", "references": "b"}', "line 2: references is 'b', not a list of texts"),
        ('{"prompt": "a", "references": []}', "line 2: references is empty, not a list of texts"),
        ('{"prompt": "a", "references": ["b", " "]}', "line 2: references is empty, not a text"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_examples(written(tmp_path, '{"prompt": "a", "reference": "b"}', line))


def test_a_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no example"):
        read_examples(written(tmp_path, "", " "))
    with pytest.raises(UsageError, match="No such file"):
        read_examples(tmp_path / "none.jsonl")
    (tmp_path / "latin").write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_examples(tmp_path / "latin")


EXAMPLES = [Example("p", ["the cat sat on the mat", "x"]), Example("q", ["a b c"])]
SAID = ["the cat sat on a mat", " a b c\n"]


def test_bleu_and_exact_matches_are_those_of_their_definitions() -> None:
    """By arithmetic: of 9 words 8 are right, of 7 pairs 5, of 5 triples 3, of 3 fours 1; as long as the nearest."""
    found = compare(SAID, EXAMPLES, ["bleu", "exact"])
    expected = 100 * math.exp(sum(map(math.log, (8 / 9, 5 / 7, 3 / 5, 1 / 3))) / 4)
    assert found.scores["bleu"] == pytest.approx(expected)
    assert found.scores["exact"] == 0.5
    assert "tok:13a" in found.signature
    assert "rouge1" not in found.scores


@pytest.mark.slow  # rouge-score imports nltk, and that what it finds
def test_rouge_is_that_of_its_definition() -> None:
    found = compare(SAID, EXAMPLES)
    # Words in common 5 of 6 and 3 of 3; pairs 3 of 5 and 2 of 2; the longest common subsequence has 5 and 3.
    assert found.scores["rouge1"] == pytest.approx((5 / 6 + 1) / 2)
    assert found.scores["rouge2"] == pytest.approx((3 / 5 + 1) / 2)
    assert found.scores["rougeL"] == pytest.approx((5 / 6 + 1) / 2)


@pytest.mark.slow
def test_the_best_of_several_references_counts() -> None:
    found = compare(["a b c d"], [Example("p", ["z", "a b c d"])])
    assert found.scores == pytest.approx({"bleu": 100, "rouge1": 1, "rouge2": 1, "rougeL": 1, "exact": 1})


@pytest.mark.slow
def test_what_a_score_cannot_see_is_told() -> None:
    chinese = [Example("p", ["今天天气很好"])]
    with pytest.warns(ZooWarning, match="ROUGE counts words of a-z and digits: 1 of 1 examples have none"):
        found = compare(["今天天气很好"], chinese, bleu_tokens="zh")
    assert found.scores["bleu"] == pytest.approx(100)
    assert "tok:zh" in found.signature


def test_unknown_metrics_and_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="there is no metric 'blue'\ndid you mean: bleu"):
        compare(["a"], [Example("p", ["a"])], ["blue"])
    with pytest.raises(UnknownName, match="there are no tokens of BLEU 'flores200'"):
        compare(["a"], [Example("p", ["a"])], bleu_tokens="flores200")
    monkeypatch.setattr(zoo.measurement.references.scores, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"the metric rouge needs the package rouge-score\npip install 'zoo-lm\[eval\]'"
    ):
        compare(["a"], [Example("p", ["a"])], ["exact", "rouge"])


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", "tiny", *words])


@pytest.mark.slow
def test_the_command_says_what_the_model_said_and_how_near_it_came(tmp_path: Path) -> None:
    model = zoo.load("tiny")
    prompts, limit = ["One day", "She said"], "generation.max_new_tokens=6"
    said = [model.generate(prompt, max_new_tokens=6).text for prompt in prompts]
    lines = [json.dumps({"prompt": p, "reference": r}) for p, r in zip(prompts, [said[0], "no"], strict=True)]
    file = str(written(tmp_path, *lines))
    told = json.loads(run("--references", file, limit, "--metrics", "exact", "--json").stdout)["references"][file]
    assert (told["exact"], told["examples"], told["texts"]) == (0.5, 2, said)
    table = run("--references", file, limit, "--metrics", "exact,bleu").stdout
    header, row = [line.split("\t") for line in table.splitlines()]
    assert header == ["references", "examples", "exact", "bleu"]
    assert row[:2] == [file, "2"]
    beams = evaluate("tiny", references=file, metrics=["exact"], settings={"max_new_tokens": 6, "num_beams": 3})
    assert beams.references[file].texts == [model.generate(p, max_new_tokens=6, num_beams=3).text for p in prompts]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--metrics", "bleu"], "--metrics and generation.SETTING=VALUE need --references"),
        (["generation.top_k=3"], "--metrics and generation.SETTING=VALUE need --references"),
        (["--references", "F", "--metrics", ","], "--metrics names none\n--metrics bleu,rouge,exact"),
        (["--references", "F", "--metrics", "exact", "generation.top_kk=3"],
         "there is no setting 'top_kk' of generation\ndid you mean: top_k, top_p, top_h?"),
        (["--references", "F", "--metrics", "exact", "generation.num_beams=2", "generation.num_return_sequences=2"],
         "num_return_sequences=2: one text of each prompt is compared\ngeneration.num_return_sequences=1"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(tmp_path: Path, words: list[str], printed: str) -> None:
    file = str(written(tmp_path, '{"prompt": "a", "reference": "b"}'))
    result = run(*[file if word == "F" else word for word in words])
    assert (result.exit_code, result.stderr) == (2, f"error: {printed}\n")
