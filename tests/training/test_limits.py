"""Numbers that no run can mean are refused by name before its folder is there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import zoo
from tests.training.runs import job, jsonl, tiny, token_file
from zoo.errors import UsageError
from zoo.training.limits import within
from zoo.training.objectives import Ground, make_objective, masked
from zoo.training.optimizers import decayed
from zoo.training.running.beginning import begun
from zoo.training.settings import DataSettings, Recipe


@pytest.mark.parametrize(
    ("value", "limits", "told"),
    [
        (0, {"least": 1}, "a=0 is not at least 1"),
        (0.0, {"above": 0}, "a=0.0 is not above 0"),
        (1.0, {"least": 0, "below": 1}, "a=1.0 is not at least 0 and below 1"),
        (1.5, {"above": 0, "most": 1}, "a=1.5 is not above 0 and at most 1"),
        (math.inf, {"least": 0}, "a=inf is not at least 0"),
        (-math.inf, {}, "a=-inf is not finite"),
        (math.nan, {"least": 0}, "a=nan is not at least 0"),
    ],
)
def test_a_number_outside_its_limits_is_refused(value: float, limits: dict[str, float], told: str) -> None:
    with pytest.raises(UsageError) as error:
        within("a", value, **limits)
    assert str(error.value) == told


def test_a_number_on_a_limit_that_is_allowed_is_let_be() -> None:
    within("a", 0.0, least=0, below=1)
    within("a", 1.0, above=0, most=1)
    within("a", None, above=0)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("causal", "smoothing", 1.0), ("causal", "smoothing", -0.1), ("causal", "z", -1e-4), ("causal", "chunk", 0),
        ("dpo", "beta", 0.0), ("dpo", "smoothing", 0.5), ("grpo", "clip", 0.0), ("grpo", "beta", -0.1),
        ("grpo", "temperature", math.nan), ("grpo", "group", 1), ("distill", "temperature", math.nan),
        ("distill", "alpha", 1.1),
    ],
)  # fmt: skip
def test_an_objective_refuses_what_it_cannot_compute_with(tmp_path: Path, name: str, key: str, value: float) -> None:
    usual: dict[str, dict[str, Any]] = {
        "causal": {"smoothing": 0.0, "z": 0.0, "chunk": None},
        "dpo": {"kind": "dpo", "beta": 0.1, "smoothing": 0.0},
        "grpo": {"reward": "regex", "pattern": "a", "group": 2, "max_new_tokens": 4, "temperature": 1.0, "clip": 0.2}
        | {"beta": 0.0},
        "distill": {"teacher": "tiny", "temperature": 1.0, "alpha": 0.5, "reverse": False},
    }
    model = zoo.build(tiny(), device="cpu")
    file = jsonl(tmp_path, [{"prompt": [], "text": "a"}]) if name in ("dpo", "grpo") else token_file(tmp_path)
    settings = {"name": name, **usual[name], key: value}
    with pytest.raises(UsageError, match=rf"objective\.{key}={value}"):
        make_objective(Ground(settings, DataSettings(), [str(file)], model.config, model, None, None))


def test_ipo_has_no_smoothing() -> None:
    model = zoo.build(tiny(), device="cpu")
    settings = {"name": "dpo", "kind": "ipo", "beta": 0.1, "smoothing": 0.1}
    with pytest.raises(UsageError, match="ipo has none"):
        make_objective(Ground(settings, DataSettings(), ["a.jsonl"], model.config, model, None, None))


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("schedule", {"name": "cosin"}, "schedule.name='cosin' is not known\ndid you mean: cosine?"),
        ("optimizer", {"betas": [0.9]}, "optimizer.betas=[0.9] are not two numbers"),
        ("optimizer", {"weight_decay": math.nan}, "optimizer.weight_decay=nan is not at least 0"),
        ("data", {"separator": ""}, "data.separator is empty"),
    ],
)
def test_a_recipe_refuses_what_no_run_can_do(section: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        Recipe.of({section: values})
    assert str(error.value).startswith(told)


def test_what_a_rule_of_torch_refuses_is_told_by_the_rules_name(tmp_path: Path) -> None:
    made = job(tmp_path / "run", token_file(tmp_path), optimizer={"eps": -1.0})
    with pytest.raises(UsageError, match=r"optimizer=adamw: Invalid epsilon value: -1\.0"):
        begun(made, print)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("format", ["gguf", "dcp", "meta"])
def test_a_run_is_not_written_in_a_format_that_it_cannot_go_on_from(format: str, tmp_path: Path) -> None:
    config = tiny()
    config.head_dim = 4  # that Meta's format can store
    made = job(tmp_path / "run", token_file(tmp_path), format=format, config=config)
    with pytest.raises(UsageError, match=f"format={format} is not one"):
        begun(made, print)
    assert not (tmp_path / "run").exists()


def test_what_a_config_says_of_generation_stays(tmp_path: Path) -> None:
    source = zoo.save(zoo.build(tiny(), device="cpu", dtype="float64"), tmp_path / "source")
    raw = json.loads((config := source / "config.json").read_text())
    config.write_text(json.dumps(raw | {"temperature": 0.3, "top_k": 7}))
    (source / "zoo.json").unlink()
    begun(job(tmp_path / "run", token_file(tmp_path), source=str(source)), print)
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["temperature"], written["top_k"]) == (0.3, 7)


def test_a_file_of_one_token_has_no_row(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row to learn from"):
        begun(job(tmp_path / "run", token_file(tmp_path, count=1)), print)


@pytest.mark.parametrize("family", ["stablelm", "cohere"])
def test_norms_of_each_head_have_no_weight_decay(family: str) -> None:
    config = tiny(family)
    object.__setattr__(config, "has_qk_norm", True)
    model = zoo.build(config, device="meta")
    norms = {n: id(p) for n, p in model.named_parameters() if n.endswith(("q_norm.weight", "k_norm.weight"))}
    assert norms
    assert all(p.ndim == 2 for n, p in model.named_parameters() if n in norms)
    assert not decayed(model) & set(norms.values())
    assert id(model.get_parameter("layers.0.attn.q_proj.weight")) in decayed(model)


def test_spans_that_outnumber_the_sentinels_are_refused(tmp_path: Path) -> None:
    class Words:
        """Eight sentinels, 59 to 52, as T5 has a hundred."""

        eos_token_id = 1
        special_tokens: ClassVar[dict[str, str]] = {}

        def token_to_id(self, token: str) -> int | None:
            number = token.removeprefix("<extra_id_").removesuffix(">")
            return 59 - int(number) if number.isdigit() and int(number) < 8 else None

        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return [*range(2, 50)] * 4

    (file := tmp_path / "a.txt").write_text("x")
    model = zoo.build(tiny("t5"), device="meta")
    settings = {"name": "span", "share": 0.15, "mean_span": 3.0}

    def made(length: int) -> Any:
        words: Any = Words()
        data = DataSettings(length=length)
        return masked.hidden_spans(Ground(settings, data, [str(file)], model.config, model, words, None))

    batch = made(140).batch(model, [0], torch.Generator())  # 8 spans
    assert int(batch.args[0].max()) == 59
    assert [int(x) for x in batch.args[0][0] if x >= 50] == [*range(59, 51, -1)]
    with pytest.raises(UsageError, match="up to 9 spans in a row, and the tokenizer 8 sentinels"):
        made(160)
