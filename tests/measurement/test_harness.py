"""Tasks of lm-evaluation-harness: the numbers are those of its own adapter for transformers, on the same checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.measurement.models import TINY, without_layer
from tests.measurement.tasks import write_tasks
from zoo.errors import UnknownName, UsageError

pytestmark = pytest.mark.slow

lm_eval = pytest.importorskip("lm_eval", reason="the extra eval is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def tasks(folder: Path) -> list[str]:
    return write_tasks(folder)


@pytest.fixture(autouse=True)
def _in_an_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets keeps what it has read under HF_HOME, and takes its path when it is first imported."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")


def scores(found: Any) -> dict[str, float]:
    return {f"{s.task} {s.metric}": s.value for s in found.scores}


def test_all_three_kinds_of_question_score_as_with_transformers(folder: Path, tasks: list[str]) -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    ours = scores(zoo.evaluate("tiny", tasks=tasks, include_path=folder, dtype="float32", batch_size=3))
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(TINY), dtype="float32", device="cpu", batch_size=4),
        tasks=tasks, task_manager=TaskManager(include_path=str(folder), include_defaults=False), log_samples=False,
    )["results"]  # fmt: skip
    assert len(ours) == 5
    for name, value in ours.items():
        task, metric = name.split()
        # Shares and characters are counted; only sums of float32 differ, in their last digits.
        assert value == pytest.approx(theirs[task][f"{metric},none"], rel=1e-5), name
    assert 0 < ours["zoo_choices acc"] < 1  # some right and some wrong, or it would prove little
    assert ours["zoo_questions chrf"] > 0


def test_a_model_without_one_of_its_layers_scores_worse(folder: Path, tasks: list[str], tmp_path: Path) -> None:
    texts = [name for name in tasks if name.endswith("texts")]
    whole = scores(zoo.evaluate("tiny", tasks=texts, include_path=folder, dtype="float32"))
    less = scores(zoo.evaluate(without_layer(tmp_path / "less", 2), tasks=texts, include_path=folder))
    assert less["zoo_texts bits_per_byte"] > 1.02 * whole["zoo_texts bits_per_byte"]


def test_a_batch_gives_what_each_gives_alone(folder: Path, tasks: list[str]) -> None:
    one, many = (scores(zoo.evaluate("tiny", tasks=tasks[:2], include_path=folder, batch_size=b)) for b in (1, 16))
    assert one == pytest.approx(many, rel=2e-2)  # in bfloat16, where other shapes are summed in another order


def test_limit_leaves_examples_out(folder: Path, tasks: list[str]) -> None:
    found = zoo.evaluate("tiny", tasks=tasks[:1], include_path=folder, limit=2)
    assert scores(found)["zoo_choices acc"] in (0.0, 0.5, 1.0)


def test_a_misspelt_task_is_told_with_the_nearest(folder: Path, tasks: list[str]) -> None:
    with pytest.raises(UnknownName, match="did you mean: zoo_choices"):
        zoo.evaluate("tiny", tasks=["zoo_choises"], include_path=folder)
    with pytest.raises(UsageError, match="is not a folder of tasks"):
        zoo.evaluate("tiny", tasks=tasks, include_path=folder / "nowhere")


def test_what_generation_does_not_know_is_refused() -> None:
    from zoo.measurement.harness import ZooLM
    from zoo.text import Tokenizer

    lm = ZooLM(zoo.load("tiny"), Tokenizer.from_folder(TINY))
    assert lm.settings({"until": ["\n", ""], "max_gen_toks": 7}).stop == ["\n"]
    assert lm.settings({"do_sample": True, "temperature": 0.5, "top_p": 0.9}).top_p == 0.9
    with pytest.raises(UsageError, match="asks for penalty_alpha"):
        lm.settings({"penalty_alpha": 0.6})
