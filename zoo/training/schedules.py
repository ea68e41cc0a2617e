"""The learning rate of each step, as a share of its peak. Steps count from 1."""

from __future__ import annotations

import math
from collections.abc import Callable

from zoo.training.settings import ScheduleSettings


def share(schedule: ScheduleSettings, step: int, steps: int) -> float:
    """The share at `step` of `steps`: up in a straight line over the warm-up, then the schedule's own course.

    cosine: half a wave down to `final` (arXiv:1608.03983, without restarts); linear: a straight line to it; wsd: level,
    then a straight line over the last `decay` of the steps (arXiv:2404.06395); constant: level.
    """
    if step <= schedule.warmup:
        return step / schedule.warmup
    return COURSES[schedule.name](schedule, step, steps)


def _cosine(s: ScheduleSettings, step: int, steps: int) -> float:
    return s.final + (1 - s.final) * 0.5 * (1 + math.cos(math.pi * _done(s, step, steps)))


def _linear(s: ScheduleSettings, step: int, steps: int) -> float:
    return 1 - (1 - s.final) * _done(s, step, steps)


def _wsd(s: ScheduleSettings, step: int, steps: int) -> float:
    falling = max(round(s.decay * steps), 1)
    return 1 - (1 - s.final) * max(step - (steps - falling), 0) / falling


def _constant(s: ScheduleSettings, step: int, steps: int) -> float:
    return 1.0


def _done(s: ScheduleSettings, step: int, steps: int) -> float:
    """How much of the way from the warm-up to the end is behind."""
    return (step - s.warmup) / max(steps - s.warmup, 1)


COURSES: dict[str, Callable[[ScheduleSettings, int, int], float]] = {
    "cosine": _cosine, "linear": _linear, "wsd": _wsd, "constant": _constant,
}  # fmt: skip
