"""The memory that a run is told to need, against what the allocator gave out: within a tenth.

torch's profiler records every block that the CPU's allocator gives out and takes back in one update; the most that were
out at once, with the weights and the optimizer's state that were there before, is what is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.profiler import ProfilerActivity, profile

import zoo
from tests.training.runs import job, token_file
from zoo.parallel.estimate import activations
from zoo.parallel.layout import Layout
from zoo.training.loop import updates
from zoo.training.running.beginning import begun
from zoo.training.running.memory import needed

pytestmark = pytest.mark.slow  # the profiler takes its time

GPT2 = (
    "num_layers=2 hidden_size=128 intermediate_size=512 num_heads=4 vocab_size=2000 bos_token_id=null eos_token_id=[]"
)
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("tiny", "", {}),
    ("gpt2", GPT2, {}),
    ("tiny", "", {"accumulate": 2}),
    ("tiny", "", {"recompute": True}),
    ("gpt2", GPT2, {"recompute": True, "ema": 0.9}),
]


@pytest.mark.parametrize(("preset", "sizes", "settings"), CASES)
def test_memory_is_told_within_a_tenth(tmp_path: Path, preset: str, sizes: str, settings: dict[str, Any]) -> None:
    config = zoo.compose(preset, *(f"model.{word}" for word in sizes.split()))
    options = {"train": {"batch_size": 8, **settings}, "data": {"length": 64}}
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path, 3000), config=config, dtype="float32", **options), print)
    steps = updates(run.trainee, run.objective, run.recipe)
    next(steps)  # from here on the optimizer has its state
    run.trainee.optimizer.zero_grad()
    need = needed(run.trainee.model, run.recipe, 64)
    assert need is not None
    used = peak(steps) + need.weights + need.optimizer
    assert abs(need.peak / used - 1) < 0.1, (need, used)


@pytest.mark.parametrize("recompute", [False, True])
def test_states_that_are_parted_between_blocks_spare_what_zoo_show_says(tmp_path: Path, recompute: bool) -> None:
    options = {"train": {"batch_size": 1, "recompute": recompute}, "data": {"length": 64}}
    source = zoo.compose("tiny")
    run, _ = begun(job(tmp_path / "run", token_file(tmp_path, 3000), config=source, dtype="float32", **options), print)
    layouts = Layout(tp=2), Layout(tp=2, sp=True)
    needs = [needed(run.trainee.model, run.recipe, 64, layout=layout) for layout in layouts]
    shown = [activations(source.anatomy(), x, 64, "float32", is_recomputed=recompute) for x in layouts]
    spared = needs[0].activations - needs[1].activations
    assert spared > 0
    # of a layer that is computed again, the logits' gradients may be there in its place
    assert spared == shown[0] - shown[1] or (recompute and spared < shown[0] - shown[1])


def peak(steps: Iterator[Any]) -> int:
    """Bytes that were given out at most during the next update, and not yet taken back."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        next(steps)
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
