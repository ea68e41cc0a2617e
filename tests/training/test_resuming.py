"""What a run goes on with: the rows, the rule and the state that it had; anything else is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.training.runs import job, token_file
from zoo.errors import ZooError
from zoo.files.staging import held
from zoo.training.running.beginning import begun, train


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(ZooError) as error:
        action()
    return str(error.value)


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    train(job(tmp_path / "run", token_file(tmp_path), train={"stop": 1}))
    other = token_file(tmp_path, count=300)
    assert "was begun on other data" in refused(lambda: train(job(tmp_path / "run", other), resume=True))
    state = load_file(stored := tmp_path / "run" / "optimizer.safetensors")
    name = next(name for name in state if name.startswith("optimizer/exp_avg/"))
    same = job(tmp_path / "run", token_file(tmp_path))
    for changed, told in (
        ({n: x for n, x in state.items() if n != name}, "missing, or too many"),
        (state | {name: state[name].flatten()[:3]}, "[3] beside a parameter of"),
        (state | {"optimizer/exp_avg/mine": state[name].clone()}, "a parameter that does not learn"),
        (state | {f"mean/{name.rpartition('/')[2]}": state[name].clone()}, "is missing"),
        (state | {"notes/x": state[name].clone()}, "is nothing that a run holds"),
        ({n: x for n, x in state.items() if not n.endswith(name.rpartition("/")[2])}, "tensors, and the run wrote"),
    ):
        save_file(changed, stored)
        assert told in refused(lambda: train(same, resume=True))


def test_a_run_that_is_at_its_end_says_what_goes_on(tmp_path: Path) -> None:
    file, told = token_file(tmp_path), []
    train(job(tmp_path / "run", file, train={"steps": 2, "stop": 1}))
    train(job(tmp_path / "run", file, train={"steps": 2, "stop": 1}), resume=True, tell=told.append)
    assert "going on after step 1: train.stop=1 leaves no more; train.stop=null goes on to step 2" in told
    train(job(tmp_path / "run", file, train={"steps": 2}), resume=True, tell=told.append)
    assert told.count("going on after step 1") == 1
    train(job(tmp_path / "run", file, train={"steps": 2}), resume=True, tell=told.append)
    assert "going on after step 2: train.steps=2 leaves no more; a larger number goes on" in told


RESUMED = {
    "data.length": {"data": {"length": 8}},
    "data.packing": {"data": {"packing": "plain"}},
    "seed": {"seed": 1},
    "train.batch_size": {"train": {"batch_size": 4}},
    "train.accumulate": {"train": {"accumulate": 2}},
    "train.ema": {"train": {"ema": 0.5}},
}


def test_a_run_does_not_go_on_with_other_rows_or_another_mean(tmp_path: Path) -> None:
    begun(job(tmp_path / "run", file := token_file(tmp_path)), print)
    for name, sections in RESUMED.items():
        told = refused(lambda sections=sections: train(job(tmp_path / "run", file, **sections), resume=True))
        assert f"was begun with {name}=" in told, name


def test_a_folder_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    """Two runs would write their checkpoints over one another's, and their records into one file."""
    asked = job(tmp_path / "run", token_file(tmp_path), train={"steps": 2})
    with held(Path(asked.save)):
        assert "another zoo process is writing it" in refused(lambda: train(asked))
    assert not Path(asked.save).exists()
    train(asked)
    with held(Path(asked.save)):
        assert "another zoo process is writing it" in refused(lambda: train(asked, resume=True))
    train(asked, resume=True)


def test_a_line_that_was_cut_off_is_of_a_step_that_is_taken_again(tmp_path: Path) -> None:
    made = job(tmp_path / "run", token_file(tmp_path), train={"steps": 3, "stop": 2})
    train(made)
    (metrics := tmp_path / "run" / "metrics.jsonl").write_text(metrics.read_text() + '{"step": 3, "lo')
    run, _ = train(job(tmp_path / "run", token_file(tmp_path), train={"steps": 3}), resume=True)
    assert [record["step"] for record in run.folder.records()] == [1, 2, 3]
    metrics.write_text('{"step": 1\n' + metrics.read_text())
    assert f"{metrics}: line 1: is not JSON" in refused(run.folder.records)


def test_a_folder_that_is_not_whole_is_refused_by_its_file(tmp_path: Path) -> None:
    made = job(tmp_path / "run", token_file(tmp_path), train={"stop": 1})
    train(made)
    state = (stored := tmp_path / "run" / "optimizer.safetensors").read_bytes()
    stored.write_bytes(state[:-10])
    assert f"{stored}: cannot be read" in refused(lambda: train(made, resume=True))
    stored.unlink()
    assert f"{stored}: cannot be read" in refused(lambda: train(made, resume=True))
    stored.write_bytes(state)
    facts = json.loads((told := tmp_path / "run" / "training.json").read_text())
    for changed, what in (([], "is not an object"), ({"step": 1}, "lacks words, recipe, data and 3 more")):
        told.write_text(json.dumps(changed))
        assert f"{told}: {what}" in refused(lambda: train(made, resume=True))
    told.write_text(json.dumps(facts))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    longer = job(tmp_path / "run", token_file(tmp_path))
    assert "contains files that zoo did not write: notes.txt" in refused(lambda: train(longer, resume=True))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before  # refused before a step was taken


def test_a_disk_that_refuses_a_record_is_told(tmp_path: Path) -> None:
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path)), print)
    (tmp_path / "run" / "metrics.jsonl").mkdir()
    assert "metrics.jsonl was not written: Is a directory\nthe last checkpoint" in refused(
        lambda: run.folder.record({})
    )


def test_a_look_at_a_stop_decides_nothing(tmp_path: Path) -> None:
    """The best weights are those of the looks that a run without the stop takes, too: after steps 4 and 8."""
    file = token_file(tmp_path)

    def made(name: str, **more: Any) -> Any:
        options = {"steps": 8, "evaluate_every": 4, "patience": 5, **more}
        return job(tmp_path / name, file, train=options, data={"validation": str(file)}, optimizer={"lr": 1e-2})

    train(made("a", stop=2))
    again, _ = train(made("a"), resume=True)
    whole, _ = train(made("b"))
    assert again.best == whole.best
    parted, _ = train(made("c", stop=2))
    assert parted.best is None
    assert "validation" in parted.folder.records()[-1]
